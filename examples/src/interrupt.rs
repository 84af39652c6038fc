//! Ctrl-C ends the answer under way; without one, the program.

use crate::{Error, scratch};
use qwen3_vl_burn::generate::CancelToken;
use std::sync::{Mutex, OnceLock, PoisonError};

/// What a shell expects of a program that Ctrl-C ended: 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// The answer under way.
static RUNNING: Mutex<Option<CancelToken>> = Mutex::new(None);

/// Passes Ctrl-C on to the answer under way.
#[derive(Debug, Clone, Copy)]
pub struct Interrupt(());

impl Interrupt {
    /// Takes Ctrl-C over for this process, at the first call.
    ///
    /// # Errors
    /// [`Error::Terminal`] where the system or an earlier handler refuses.
    pub fn install() -> Result<Self, Error> {
        static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
        let installed = INSTALLED.get_or_init(|| {
            ctrlc::set_handler(|| {
                let running: Option<CancelToken> = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).take();
                match running {
                    Some(token) => token.cancel(),
                    // Nothing is under way, or it was told before and goes on (a long prompt): the program ends.
                    None => {
                        scratch::remove();
                        std::process::exit(INTERRUPTED)
                    }
                }
            })
            .map_err(|error| error.to_string())
        });
        match installed {
            Ok(()) => Ok(Self(())),
            Err(reason) => Err(Error::Terminal { reason: reason.clone() }),
        }
    }

    /// Runs `answer` with a token that Ctrl-C sets.
    pub fn watch<T>(&self, answer: impl FnOnce(CancelToken) -> T) -> T {
        let set = |token| *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = token;
        let token = CancelToken::new();
        set(Some(token.clone()));
        let out = answer(token);
        set(None);
        out
    }
}
