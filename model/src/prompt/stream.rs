//! Text from ids that arrive one at a time.

use super::Tokenizer;

/// Decodes ids as they are generated and never splits a character: bytes of an unfinished one wait for the next token.
///
/// The pieces joined, with [`Self::finish`], equal [`Tokenizer::decode`] of all ids.
#[derive(Clone, Debug)]
pub struct TokenStream<'a> {
    tokenizer: &'a Tokenizer,
    skip_special: bool,
    /// At most three bytes of an unfinished character, between calls.
    pending: Vec<u8>,
}

impl Tokenizer {
    /// Starts decoding ids one at a time.
    pub fn stream(&self, skip_special: bool) -> TokenStream<'_> {
        TokenStream { tokenizer: self, skip_special, pending: Vec::new() }
    }
}

impl TokenStream<'_> {
    /// Takes the next id; returns the text that it completes, which may be empty.
    pub fn push(&mut self, id: u32) -> String {
        self.tokenizer.append_token(id, self.skip_special, &mut self.pending);
        let waiting = count_unfinished(&self.pending);
        let complete = self.pending.len() - waiting;
        let text = String::from_utf8_lossy(&self.pending[..complete]).into_owned();
        self.pending.drain(..complete);
        text
    }

    /// Ends the text: an unfinished character becomes U+FFFD.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

/// Bytes at the end of `bytes` that begin a character and don't finish it.
fn count_unfinished(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    loop {
        match std::str::from_utf8(rest) {
            Ok(_) => return 0,
            Err(error) => match error.error_len() {
                // Bytes that can't continue to a character: not waiting for anything.
                Some(invalid) => rest = &rest[error.valid_up_to() + invalid..],
                None => return rest.len() - error.valid_up_to(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::count_unfinished;

    #[test]
    fn only_a_beginning_waits() {
        let smile = "🙂".as_bytes();
        assert_eq!(count_unfinished(b"abc"), 0);
        assert_eq!(count_unfinished(smile), 0);
        for cut in 1..4 {
            assert_eq!(count_unfinished(&[b"ab", &smile[..cut]].concat()), cut);
            // After invalid bytes too.
            assert_eq!(count_unfinished(&[b"\xFFa\x80", &smile[..cut]].concat()), cut);
        }
        assert_eq!(count_unfinished(b"a\xFF"), 0);
    }
}
