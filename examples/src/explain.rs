//! `--explain`: which kernel each op of a model would run, and how, without running it.

use crate::Error;
use crate::backend::{KilnProgram, Place};
use crate::model::{Files, Loaded};
use burn_kiln::{Engine, Kiln};
use qwen3_vl_burn::optimized::explain;

/// The text of [`explain`] for a checkpoint on the backend of `place`, for inputs of so many `rows`: 1 is a step of
/// decoding, more is a prompt.
///
/// # Errors
/// [`Error::NoKernels`] for a backend without Kiln, [`Error::Model`] for a checkpoint that cannot be loaded, and those
/// of [`Place::run_kiln`].
pub fn explain_model(files: &Files, place: &Place, rows: &[usize]) -> Result<String, Error> {
    place.run_kiln(Explaining { files, place, rows })
}

struct Explaining<'a> {
    files: &'a Files,
    place: &'a Place,
    rows: &'a [usize],
}

impl KilnProgram for Explaining<'_> {
    type Out = String;

    fn run<B: Engine>(self) -> Result<String, Error> {
        let Loaded { model, .. } = Loaded::<Kiln<B>>::load(self.files, self.place)?;
        Ok(explain(&model, self.rows).to_string())
    }
}
