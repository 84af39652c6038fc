//! Text to token ids and back.

use std::path::Path;

use tokenizers::DecoderWrapper;

use super::PromptError;
use super::byte_level::append_bytes;
use crate::json::{FETCH_LFS, LFS_POINTER, strip_mark};

/// Bytes of a text that are encoded at one time where only the number of tokens is asked for.
const PIECE_BYTES: usize = 1 << 16;
/// Tokens that a text may have more for having been cut: what stands at a cut is encoded otherwise. Cutting prompts,
/// Markdown, runs of one character and random letters, Hangul and Han at 2000 places made 7 more at most, inside of a
/// special token.
const CUT_TOKENS: usize = 32;

/// A byte-level BPE tokenizer as Qwen's, read from `tokenizer.json`.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// Reads `tokenizer.json` from the folder of a checkpoint.
    ///
    /// # Errors
    /// As [`Self::from_file`].
    pub fn load(folder: impl AsRef<Path>) -> Result<Self, PromptError> {
        Self::from_file(folder.as_ref().join("tokenizer.json"))
    }

    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`PromptError::Read`], and those of [`Self::from_bytes`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, PromptError> {
        let path = path.as_ref();
        let data = std::fs::read(path).map_err(|source| PromptError::Read { path: path.to_owned(), source })?;
        Self::from_bytes(&data, path)
    }

    /// Takes the contents of a `tokenizer.json`; `origin` names it in errors.
    ///
    /// # Errors
    /// [`PromptError::Tokenizer`] for damaged contents, [`PromptError::Decoder`] for a tokenizer that isn't byte-level.
    pub fn from_bytes(data: &[u8], origin: impl AsRef<Path>) -> Result<Self, PromptError> {
        let path = origin.as_ref();
        let damaged = |reason| PromptError::Tokenizer { path: path.to_owned(), reason };
        if data.starts_with(LFS_POINTER) {
            return Err(damaged(format!("it is a Git LFS pointer: {FETCH_LFS}")));
        }
        let text = std::str::from_utf8(strip_mark(data)).map_err(|error| damaged(error.to_string()))?;
        // `parse` and not the library's own `from_bytes`, which is generic: it would compile every model's reader here
        // once more.
        let inner: tokenizers::Tokenizer =
            text.parse().map_err(|error: tokenizers::Error| damaged(error.to_string()))?;
        match inner.get_decoder() {
            Some(DecoderWrapper::ByteLevel(_)) => Ok(Self { inner }),
            other => Err(PromptError::Decoder { path: path.to_owned(), found: name_decoder(other).to_owned() }),
        }
    }

    /// Encodes `text`; special tokens that are spelled out in it become their ids, none are added.
    ///
    /// # Errors
    /// [`PromptError::Encode`] if the tokenizer library refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, PromptError> {
        let encoding = self.inner.encode_fast(text, false);
        match encoding {
            Ok(encoding) => Ok(encoding.get_ids().to_vec()),
            Err(error) => Err(PromptError::Encode { bytes: text.len(), reason: error.to_string() }),
        }
    }

    /// How many tokens `text` has, if it is more than `limit`: counted piece by piece, and no further than that is
    /// certain, so that a text far beyond what a model takes costs no more than one at its limit. The number is then as
    /// many as were counted.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn count_beyond(&self, text: &str, limit: usize) -> Result<Option<usize>, PromptError> {
        // A token has a byte at least, though a character may become shorter before it is encoded.
        if text.len() <= limit {
            return Ok(None);
        }
        let (mut count, mut cuts, mut rest) = (0, 0, text);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
            count += self.encode(piece)?.len();
            cuts += usize::from(!after.is_empty());
            if count > limit + cuts * CUT_TOKENS {
                return Ok(Some(count));
            }
            rest = after;
        }
        Ok(None)
    }

    /// Decodes `ids`; bytes that are no UTF-8 become U+FFFD, ids outside the vocabulary become nothing (as in HF;
    /// models have more output rows than the tokenizer has tokens).
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let mut bytes = Vec::new();
        for &id in ids {
            self.append_token(id, skip_special, &mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The id of a token given by its spelling.
    pub fn find_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Number of tokens, with the added ones.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Whether `id` is a special token (an end of turn, a mark around a picture).
    pub fn is_special(&self, id: u32) -> bool {
        self.inner.get_added_vocabulary().get_added_tokens_decoder().get(&id).is_some_and(|token| token.special)
    }

    /// Appends the bytes of one token.
    pub(super) fn append_token(&self, id: u32, skip_special: bool, bytes: &mut Vec<u8>) {
        if skip_special && self.is_special(id) {
            return;
        }
        if let Some(spelling) = self.inner.id_to_token(id) {
            append_bytes(&spelling, bytes);
        }
    }
}

fn name_decoder(decoder: Option<&DecoderWrapper>) -> &'static str {
    match decoder {
        None => "nothing",
        Some(DecoderWrapper::BPE(_)) => "BPE",
        Some(DecoderWrapper::ByteLevel(_)) => "ByteLevel",
        Some(DecoderWrapper::WordPiece(_)) => "WordPiece",
        Some(DecoderWrapper::Metaspace(_)) => "Metaspace",
        Some(DecoderWrapper::CTC(_)) => "CTC",
        Some(DecoderWrapper::Sequence(_)) => "a sequence",
        Some(DecoderWrapper::Replace(_)) => "Replace",
        Some(DecoderWrapper::Fuse(_)) => "Fuse",
        Some(DecoderWrapper::Strip(_)) => "Strip",
        Some(DecoderWrapper::ByteFallback(_)) => "ByteFallback",
    }
}
