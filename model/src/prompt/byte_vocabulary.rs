//! A tokenizer without merges: one token a byte. For checkpoints with random weights, which have none of their own.

use serde_json::{Map, Value, json};

/// The special tokens of Qwen3-VL that prompts are made of.
pub const CHAT_TOKENS: [&str; 7] = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
];

/// The `tokenizer.json` of a byte-level tokenizer: `special` tokens have the ids given, bytes the lowest ids left, and
/// the rest of the vocabulary is filled with tokens that no text gives. `None` if `vocab_size` has no room for 256
/// bytes.
pub fn byte_level_tokenizer(vocab_size: usize, special: &[(&str, u32)]) -> Option<String> {
    let mut names: Vec<Option<String>> = vec![None; vocab_size];
    for (token, id) in special {
        *names.get_mut(*id as usize)? = Some((*token).to_owned());
    }
    let mut bytes = (0..=255u8).map(|byte| spell(byte).to_string());
    for name in names.iter_mut().filter(|name| name.is_none()) {
        match bytes.next() {
            Some(byte) => *name = Some(byte),
            None => break,
        }
    }
    if bytes.next().is_some() {
        return None;
    }
    let mut vocab = Map::new();
    for (id, name) in names.into_iter().enumerate() {
        vocab.insert(name.unwrap_or_else(|| format!("<|unused_{id}|>")), json!(id));
    }
    let added: Vec<Value> = (special.iter())
        .map(|(token, id)| {
            json!({ "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true })
        })
        .collect();
    let byte_level =
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false });
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": byte_level,
        "post_processor": null,
        "decoder": byte_level,
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
                   "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": [] },
    });
    Some(tokenizer.to_string())
}

/// The visible character that stands for a byte in byte-level vocabularies: itself where it is one, else the next of
/// those from U+0100 on (Radford et al. 2019, `bytes_to_unicode`).
fn spell(byte: u8) -> char {
    let visible = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if visible(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&b| !visible(b)).count() as u32;
    char::from_u32(0x100 + before).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::Tokenizer;

    #[test]
    fn text_comes_back_and_special_tokens_have_their_ids() {
        let special: Vec<(&str, u32)> = CHAT_TOKENS.iter().zip(0..).map(|(token, id)| (*token, id)).collect();
        let json = byte_level_tokenizer(320, &special).unwrap();
        let tokenizer = Tokenizer::from_bytes(json.as_bytes(), "test").unwrap();
        let text = "Ä haiku, 漢字 🙂\n\t 12";
        let ids = tokenizer.encode(text).unwrap();
        assert_eq!(ids.len(), text.len());
        assert_eq!(tokenizer.decode(&ids, true), text);
        assert_eq!(tokenizer.encode("<|im_start|>a").unwrap()[0], 1);
        assert_eq!(tokenizer.vocab_size(), 320);
        assert!(byte_level_tokenizer(200, &special).is_none());
    }
}
