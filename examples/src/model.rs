//! `--model`: where a checkpoint comes from, and loading it.

use crate::backend::Place;
use crate::{Error, embedded, note};
use burn_kiln_fusion::FusedOps;
use clap::Args;
use qwen3_vl_burn::checkpoint::{AdapterConfig, progress_bar};
use qwen3_vl_burn::generate::GenerationConfig;
use qwen3_vl_burn::hub::{HubOptions, download_bar, resolve};
use qwen3_vl_burn::{Qwen3Vl, Qwen3VlProcessor};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Which checkpoint.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// Folder of a Qwen3-VL checkpoint, or its Hugging Face id (Qwen/Qwen3-VL-2B-Instruct), which is downloaded once.
    /// Without it, a small checkpoint inside the program is used: its weights are random, and so are its answers
    #[arg(long, value_name = "FOLDER|ID")]
    pub model: Option<OsString>,
    /// Branch, tag or commit of a Hugging Face id
    #[arg(long, value_name = "NAME", requires = "model")]
    pub revision: Option<String>,
    /// Download nothing: use what was downloaded before
    #[arg(long)]
    pub offline: bool,
    /// Folder of a PEFT LoRA adapter, which is merged into the weights as they are loaded. Without --model, the base
    /// model that it names is used, if it is a folder or was downloaded before
    #[arg(long, value_name = "FOLDER")]
    pub adapter: Option<PathBuf>,
}

/// A checkpoint on disk.
#[derive(Debug)]
pub struct Files {
    /// Its folder.
    pub dir: PathBuf,
    /// Whether it is the embedded one.
    embedded: bool,
    /// Of an adapter that is merged into it.
    pub adapter: Option<PathBuf>,
}

impl Files {
    /// The picture that comes with the embedded checkpoint.
    pub fn picture(&self) -> Option<PathBuf> {
        self.embedded.then(|| self.dir.join("picture.png"))
    }
}

impl ModelArgs {
    /// Finds the checkpoint, downloads it, or unpacks the embedded one.
    ///
    /// # Errors
    /// [`Error::Model`] for an id that cannot be downloaded, a folder that isn't there, and settings of an adapter that
    /// cannot be used; [`Error::BaseModel`] where an adapter's base model is not given and cannot be found.
    pub fn open(&self) -> Result<Files, Error> {
        let settings = self.adapter.as_ref().map(AdapterConfig::from_dir).transpose();
        let settings = settings.map_err(qwen3_vl_burn::Error::from)?;
        if let (None, Some(adapter), Some(settings)) = (&self.model, &self.adapter, settings) {
            return Ok(Files { dir: find_base(adapter, settings)?, embedded: false, adapter: Some(adapter.clone()) });
        }
        let Some(model) = &self.model else {
            let dir = embedded::unpack()?;
            note!("note: this is the embedded checkpoint; its weights are random, so the answer means nothing.");
            note!("      Give --model a folder or an id (Qwen/Qwen3-VL-2B-Instruct) for a real one.");
            return Ok(Files { dir, embedded: true, adapter: None });
        };
        let mut options = HubOptions::from_env().with_progress(download_bar());
        if let Some(revision) = &self.revision {
            options.revision = revision.clone();
        }
        options.offline |= self.offline;
        Ok(Files { dir: resolve(model, &options)?, embedded: false, adapter: self.adapter.clone() })
    }
}

/// The folder of the base model that an adapter names: a folder, or one that was downloaded before.
fn find_base(adapter: &Path, settings: AdapterConfig) -> Result<PathBuf, Error> {
    let failed = |reason: String| Error::BaseModel { adapter: adapter.to_owned(), reason };
    let base = settings.base_model.ok_or_else(|| failed("it names none".to_owned()))?;
    let mut options = HubOptions::from_env();
    options.offline = true;
    let dir = resolve(&base, &options).map_err(|error| failed(format!("it names {base}: {error}")))?;
    note!("base model: {base}, as the adapter says");
    Ok(dir)
}

/// A checkpoint in memory.
pub struct Loaded<B: FusedOps> {
    /// The model.
    pub model: Qwen3Vl<B>,
    /// Messages to inputs.
    pub processor: Qwen3VlProcessor,
    /// How the checkpoint wants its tokens chosen.
    pub generation: GenerationConfig,
    /// How long it took.
    pub time: Duration,
}

impl<B: FusedOps> Loaded<B> {
    /// Loads a checkpoint onto `B`'s default device, with a progress bar.
    ///
    /// # Errors
    /// [`Error::Model`] for files that are missing or damaged.
    pub fn load(files: &Files, place: &Place) -> Result<Self, Error> {
        let began = Instant::now();
        let device = Default::default();
        // The small files first: what is wrong with them shows before gigabytes are read.
        let processor = Qwen3VlProcessor::load(&files.dir)?;
        let generation = GenerationConfig::load(&files.dir)?;
        let config = place.optimization()?;
        let mut options = place.load_options(config.as_ref()).with_progress(progress_bar());
        options.adapter = files.adapter.clone();
        let mut model = Qwen3Vl::load(&files.dir, &device, options)?;
        if let Some(config) = &config {
            model = model.optimize_with_progress(config, &mut progress_bar())?;
        }
        Ok(Self { model, processor, generation, time: began.elapsed() })
    }
}
