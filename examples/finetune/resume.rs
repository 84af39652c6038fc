//! The folder of a run: a new one, or one to go on in.

use crate::args::FinetuneArgs;
use crate::recipe::{FREE, Recipe};
use kiln_examples::Error;
use qwen3_vl_train::run::{RunError, RunFolder, read_manifest};
use std::path::{Path, PathBuf};

/// What the run in the folder of `--resume` began as.
///
/// # Errors
/// [`Error::Run`] where there is none.
pub fn read_recipe(args: &FinetuneArgs) -> Result<Option<Recipe>, Error> {
    match &args.run.out {
        Some(out) if args.run.resume => Ok(Some(read_manifest(out)?)),
        _ => Ok(None),
    }
}

/// A run's folder, and the checkpoint to go on from.
pub struct Place {
    pub folder: RunFolder,
    pub checkpoint: Option<PathBuf>,
}

/// Opens or makes the folder of a run.
///
/// # Errors
/// [`Error::Run`] for a folder that is something else, is in use, has another run, or a run that began as something
/// else than `recipe`.
pub fn open(out: &Path, recipe: &Recipe, resume: bool) -> Result<Place, Error> {
    if !resume {
        return Ok(Place { folder: RunFolder::create(out, recipe)?, checkpoint: None });
    }
    let folder = RunFolder::open(out)?;
    folder.check_unchanged(recipe, &FREE)?;
    let Some((_, checkpoint)) = folder.checkpoints()?.pop() else {
        return Err(RunError::NothingToResume { path: out.to_owned() }.into());
    };
    Ok(Place { folder, checkpoint: Some(checkpoint) })
}
