//! Files of conversations, and those inside the program.

use crate::recipe::{DataRecipe, Recipe};
use kiln_examples::{Error, note, say, scratch};
use qwen3_vl_burn::Qwen3VlProcessor;
use qwen3_vl_burn::processor::{ImageOptions, VideoOptions};
use qwen3_vl_train::data::{BadRecords, Conversations, EncodeOptions, Encoder, LoaderOptions, ReadOptions, check};
use qwen3_vl_train::run::{RunError, TrainingData};
use std::path::{Path, PathBuf};

/// Name and bytes of a file of the data set inside the program.
macro_rules! asset {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../assets/finetune/", $name)))
    };
}

/// The data set inside the program: questions about coloured shapes.
const FILES: [(&str, &[u8]); 18] = [
    asset!("train.jsonl"),
    asset!("eval.jsonl"),
    asset!("red-circle.png"),
    asset!("red-square.png"),
    asset!("red-triangle.png"),
    asset!("green-circle.png"),
    asset!("green-square.png"),
    asset!("green-triangle.png"),
    asset!("blue-circle.png"),
    asset!("blue-square.png"),
    asset!("blue-triangle.png"),
    asset!("yellow-circle.png"),
    asset!("yellow-square.png"),
    asset!("yellow-triangle.png"),
    asset!("eval-red-circle.png"),
    asset!("eval-green-square.png"),
    asset!("eval-blue-triangle.png"),
    asset!("eval-yellow-circle.png"),
];

/// Opened files.
pub struct Data {
    pub train: Conversations,
    pub evaluation: Option<Conversations>,
}

/// Opens the files of a recipe, and notes what they are in it.
///
/// # Errors
/// [`Error::Run`] for files that cannot be read, or have no record.
pub fn open(recipe: &mut DataRecipe) -> Result<Data, Error> {
    let (mut files, mut evaluation) = (recipe.files.clone(), recipe.evaluation_file.clone());
    if files.is_empty() {
        let dir = unpack()?;
        files.push(dir.join("train.jsonl"));
        evaluation.get_or_insert(dir.join("eval.jsonl"));
    }
    let options = ReadOptions { media_root: recipe.media_root.clone(), ..ReadOptions::default() };
    let open =
        |files: &[PathBuf]| Conversations::open(files, &options).map_err(|error| Error::from(RunError::from(error)));
    let train = open(&files)?;
    let evaluation = evaluation.map(|file| open(&[file])).transpose()?;
    recipe.fingerprint = print(&train);
    recipe.evaluation_fingerprint = evaluation.as_ref().map(print);
    Ok(Data { train, evaluation })
}

/// Writes the data set inside the program to a folder that goes away when it ends.
fn unpack() -> Result<PathBuf, Error> {
    let dir = scratch::open()?.join("data");
    let failed = |path: &Path, source| Error::File { path: path.to_owned(), source };
    std::fs::create_dir_all(&dir).map_err(|error| failed(&dir, error))?;
    for (name, bytes) in FILES {
        let path = dir.join(name);
        std::fs::write(&path, bytes).map_err(|error| failed(&path, error))?;
    }
    Ok(dir)
}

/// What makes samples of records.
///
/// # Errors
/// [`Error::Run`] for limits that cannot work.
pub fn encoder(recipe: &DataRecipe, processor: Qwen3VlProcessor) -> Result<Encoder, Error> {
    let pixels = Some(recipe.max_pixels);
    let options = EncodeOptions {
        max_tokens: recipe.max_tokens,
        images: ImageOptions { max_pixels: pixels, ..ImageOptions::default() },
        videos: VideoOptions { max_pixels: pixels, ..VideoOptions::default() },
        ..EncodeOptions::default()
    };
    Ok(Encoder::new(processor, options).map_err(RunError::from)?)
}

/// Measures the records that a run trains on, and those that it is evaluated on.
///
/// # Errors
/// [`Error::Run`] for the first bad record, unless bad ones are left out.
pub fn measure(recipe: &Recipe, data: Data, encoder: &Encoder) -> Result<(TrainingData, Option<TrainingData>), Error> {
    let bad = if recipe.data.skip_bad { BadRecords::Skip } else { BadRecords::Stop };
    let loader = LoaderOptions { bad, ..LoaderOptions::default() };
    let measure = |conversations: Conversations| {
        TrainingData::with_loader(conversations, encoder.clone(), loader, &mut |_| {}).map_err(RunError::from)
    };
    let train = measure(data.train)?;
    let evaluation = data.evaluation.map(measure).transpose()?;
    let bad = train.lengths().bad();
    if bad > 0 {
        note!("{bad} of {} records are left out", train.lengths().len());
    }
    Ok((train, evaluation))
}

/// Reads all data and prints what they are like.
///
/// # Errors
/// [`Error::BadRecords`] for one bad record or more.
pub fn report(data: &Data, encoder: &Encoder) -> Result<(), Error> {
    let (mut bad, mut records) = (0, 0);
    for (name, conversations) in [("training", Some(&data.train)), ("evaluation", data.evaluation.as_ref())] {
        let Some(conversations) = conversations else { continue };
        let report = check(conversations, encoder, &mut |_| {}).map_err(RunError::from)?;
        bad += report.bad;
        records += report.records;
        say!("{name} data\n{report}")?;
    }
    if bad > 0 { Err(Error::BadRecords { bad, records }) } else { Ok(()) }
}

/// The fingerprint of data as `run.json` has it.
fn print(data: &Conversations) -> String {
    format!("{:016x}", data.fingerprint())
}
