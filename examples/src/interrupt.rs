//! Ctrl-C ends the answer under way; without one, the program.

use crate::Error;
use qwen3_vl_burn::generate::CancelToken;
use std::sync::{Arc, Mutex, PoisonError};

/// What a shell expects of a program that Ctrl-C ended: 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// Passes Ctrl-C on to the answer under way.
#[derive(Debug, Clone)]
pub struct Interrupt {
    running: Arc<Mutex<Option<CancelToken>>>,
}

impl Interrupt {
    /// Takes Ctrl-C over for this process; once.
    ///
    /// # Errors
    /// [`Error::Terminal`] where the system or an earlier handler refuses.
    pub fn install() -> Result<Self, Error> {
        let running = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&running);
        ctrlc::set_handler(move || {
            let running: Option<CancelToken> = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
            match running {
                Some(token) => token.cancel(),
                // Nothing is under way, or it was told before and goes on (a long prompt): the program ends.
                None => std::process::exit(INTERRUPTED),
            }
        })
        .map_err(|error| Error::Terminal { reason: error.to_string() })?;
        Ok(Self { running })
    }

    /// Runs `answer` with a token that Ctrl-C sets.
    pub fn watch<T>(&self, answer: impl FnOnce(CancelToken) -> T) -> T {
        let set = |token| *self.running.lock().unwrap_or_else(PoisonError::into_inner) = token;
        let token = CancelToken::new();
        set(Some(token.clone()));
        let out = answer(token);
        set(None);
        out
    }
}
