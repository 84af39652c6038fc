//! The tokenizer: a small byte-level BPE of the texts of scenes, with everything else as Qwen's: normal form,
//! splitting, special tokens and their order behind the vocabulary.

use kiln_scenes::{Options, Samples};
use qwen3_vl_burn::prompt::CHATML_TEMPLATE;
use serde_json::{Value, json};
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer, TokenizerBuilder};

/// What Qwen's tokenizer splits texts at: words with the space or mark before them, single digits, marks, lines.
const WORDS: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Qwen's special tokens in their order, and whether `skip_special_tokens` leaves them out.
const SPECIAL: [(&str, bool); 26] = [
    ("<|endoftext|>", true),
    ("<|im_start|>", true),
    ("<|im_end|>", true),
    ("<|object_ref_start|>", true),
    ("<|object_ref_end|>", true),
    ("<|box_start|>", true),
    ("<|box_end|>", true),
    ("<|quad_start|>", true),
    ("<|quad_end|>", true),
    ("<|vision_start|>", true),
    ("<|vision_end|>", true),
    ("<|vision_pad|>", true),
    ("<|image_pad|>", true),
    ("<|video_pad|>", true),
    ("<tool_call>", false),
    ("</tool_call>", false),
    ("<|fim_prefix|>", false),
    ("<|fim_middle|>", false),
    ("<|fim_suffix|>", false),
    ("<|fim_pad|>", false),
    ("<|repo_name|>", false),
    ("<|file_sep|>", false),
    ("<tool_response>", false),
    ("</tool_response>", false),
    ("<think>", false),
    ("</think>", false),
];

/// General English, so that questions in other words than ours are more than letters. A file of its own: the same seed
/// gives the same vocabulary whatever becomes of the pages that it was copied from.
const ENGLISH: &str = include_str!("english.txt");

/// A tokenizer and the ids that a configuration names.
pub struct Vocabulary {
    tokenizer: Tokenizer,
}

impl Vocabulary {
    /// Learns `size` tokens beside the special ones, from so many samples.
    ///
    /// # Errors
    /// Those of `tokenizers`, for a `size` below 256.
    pub fn learn(size: usize, seed: u64, samples: usize) -> tokenizers::Result<Self> {
        let bytes = tokenizers::pre_tokenizers::byte_level::ByteLevel::new(false, false, false);
        let split = Split::new(SplitPattern::Regex(WORDS.into()), SplitDelimiterBehavior::Isolated, false)?;
        let mut tokenizer = TokenizerBuilder::<BPE, _, _, _, _>::default()
            .with_model(BPE::default())
            .with_normalizer(Some(NFC))
            .with_pre_tokenizer(Some(Sequence::new(vec![split.into(), bytes.into()])))
            .with_post_processor(Some(ByteLevel::new(false, false, false)))
            .with_decoder(Some(ByteLevel::new(false, false, false)))
            .build()?;
        let mut trainer = BpeTrainerBuilder::new()
            .vocab_size(size)
            .min_frequency(2)
            .show_progress(false)
            .initial_alphabet(tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect())
            .build();
        let samples = Samples::new(seed, Options::default()).take(samples);
        let texts = samples.flat_map(|sample| [sample.dialogue.question, sample.dialogue.answer]);
        // As often as it takes for words of the language to be learnt beside those of scenes.
        let english = (0..4).flat_map(|_| ENGLISH.lines().map(str::to_owned));
        tokenizer.train(&mut trainer, texts.chain(english))?;
        let special = SPECIAL.map(|(text, special)| AddedToken::from(text, special).normalized(false));
        tokenizer.add_tokens(&special);
        Ok(Self { tokenizer: tokenizer.into() })
    }

    /// Tokens, special ones too.
    pub fn len(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The id of a special token.
    pub fn id(&self, token: &str) -> u32 {
        self.tokenizer.token_to_id(token).expect("it was added")
    }

    /// `tokenizer.json`.
    pub fn tokenizer_json(&self) -> tokenizers::Result<String> {
        self.tokenizer.to_string(false)
    }

    /// `tokenizer_config.json`, as released ones are.
    pub fn config_json(&self) -> Value {
        let added = |&(text, special): &(&str, bool)| {
            let token = json!({ "content": text, "lstrip": false, "normalized": false, "rstrip": false,
                "single_word": false, "special": special });
            (self.id(text).to_string(), token)
        };
        let marks: Vec<&str> = SPECIAL.iter().skip(1).filter(|(_, special)| *special).map(|(text, _)| *text).collect();
        json!({
            "add_bos_token": false,
            "add_prefix_space": false,
            "added_tokens_decoder": SPECIAL.iter().map(added).collect::<serde_json::Map<_, _>>(),
            "additional_special_tokens": marks,
            "bos_token": null,
            "chat_template": CHATML_TEMPLATE,
            "clean_up_tokenization_spaces": false,
            "eos_token": "<|im_end|>",
            "errors": "replace",
            "model_max_length": 4096,
            "pad_token": "<|endoftext|>",
            "split_special_tokens": false,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": null,
        })
    }
}
