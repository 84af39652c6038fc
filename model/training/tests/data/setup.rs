//! What the tests share: processors of the fixtures, data sets in temporary folders.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use burn::data::dataset::{Dataset, InMemDataset};
use image::RgbImage;
use qwen3_vl_burn::Qwen3VlProcessor;
use qwen3_vl_burn::processor::{ImageProcessor, PreprocessorConfig, VideoConfig};
use qwen3_vl_burn::prompt::{CHAT_TOKENS, ChatTemplate, Tokenizer, byte_level_tokenizer};
use qwen3_vl_train::data::{
    Conversations, DataError, EncodeOptions, Encoder, Problem, ReadOptions, Record, RecordResult, Sound,
};
use serde_json::Value;
use tempfile::TempDir;

/// A file of the model's fixtures.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

/// The real Qwen tokenizer.
static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let mut data = Vec::new();
    let file = std::fs::File::open(fixture("tokenizer.json.gz")).unwrap();
    flate2::read::GzDecoder::new(file).read_to_end(&mut data).unwrap();
    Tokenizer::from_bytes(&data, "tokenizer.json").unwrap()
});

fn pictures() -> ImageProcessor {
    let pictures = PreprocessorConfig { min_pixels: 4096, max_pixels: 65536, ..Default::default() };
    let videos = VideoConfig::beside(&pictures);
    ImageProcessor::new(pictures, videos).unwrap()
}

/// The real tokenizer and the released template, or the built-in one.
pub fn real_processor(template: &str) -> Qwen3VlProcessor {
    let template = match template {
        "released" => ChatTemplate::load(fixture("processor")).unwrap(),
        _ => ChatTemplate::chatml().unwrap(),
    };
    Qwen3VlProcessor { tokenizer: TOKENIZER.clone(), template, images: pictures() }
}

/// A token a byte, and the built-in template: as the embedded checkpoint.
pub fn byte_processor() -> Qwen3VlProcessor {
    let special: Vec<(&str, u32)> = CHAT_TOKENS.iter().zip(0..).map(|(token, id)| (*token, id)).collect();
    let json = byte_level_tokenizer(320, &special).unwrap();
    Qwen3VlProcessor {
        tokenizer: Tokenizer::from_bytes(json.as_bytes(), "test").unwrap(),
        template: ChatTemplate::chatml().unwrap(),
        images: pictures(),
    }
}

/// An encoder whose tokens are bytes.
pub fn byte_encoder(options: EncodeOptions) -> Encoder {
    Encoder::new(byte_processor(), options).unwrap()
}

/// A folder with a data file in it.
pub struct Folder {
    pub dir: TempDir,
}

impl Folder {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), contents).unwrap();
        self.path(name)
    }

    /// A picture of one colour.
    pub fn draw(&self, name: &str, width: u32, height: u32) -> PathBuf {
        RgbImage::from_pixel(width, height, image::Rgb([200, 30, 40])).save(self.path(name)).unwrap();
        self.path(name)
    }

    pub fn open(&self, contents: impl AsRef<[u8]>) -> Result<Conversations, DataError> {
        Conversations::open(&[self.write("data", contents)], &ReadOptions::default())
    }
}

/// Reads one record out of a JSONL file beside the pictures in `folder`.
pub fn read_in(folder: &Folder, record: &Value) -> RecordResult {
    folder.open(record.to_string()).unwrap().get(0).unwrap()
}

/// Reads one record whose files don't exist.
pub fn read(record: &Value) -> RecordResult {
    read_in(&Folder::new(), record)
}

/// What is wrong with a record.
#[track_caller]
pub fn problem<T: std::fmt::Debug>(result: Result<T, DataError>) -> Problem {
    match result {
        Err(DataError::Record { problem, .. }) => *problem,
        other => panic!("{other:?}"),
    }
}

/// Records in memory.
pub fn in_memory(records: Vec<Record>) -> Arc<dyn Dataset<RecordResult>> {
    Arc::new(Sound(InMemDataset::new(records)))
}

/// Records of text, whose answers have these lengths in bytes.
pub fn texts(lengths: &[usize]) -> Vec<Record> {
    let source = |record| qwen3_vl_train::data::Source { file: Arc::new("memory".into()), record, line: record };
    let message = |role: &str, text: String| qwen3_vl_burn::prompt::Message::text(role, text);
    let record = |(number, length): (usize, &usize)| {
        let turns = vec![message("user", format!("{number}")), message("assistant", "x".repeat(*length))];
        Record::new(turns, source(number + 1))
    };
    lengths.iter().enumerate().map(record).collect()
}
