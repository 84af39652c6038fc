//! Every case beside a checkpoint, on the backend that the command line names.

use super::{Checks, Precision, Report, list_cases};
use crate::Error;
use crate::backend::{Dtype, Place, Program};
use burn_kiln_fusion::FusedOps;
use qwen3_vl_burn::Qwen3Vl;
use qwen3_vl_burn::processor::ImageProcessor;
use std::path::Path;

/// Runs every case in `dir` through the checkpoint there.
///
/// # Errors
/// [`Error::NoCases`], [`Error::File`], [`Error::Case`], and [`Error::Model`] for a checkpoint that cannot be loaded; a wrong
/// number is a row of the report.
pub fn check_checkpoint(dir: &Path, place: &Place) -> Result<Report, Error> {
    place.run(Verify { dir, place })
}

struct Verify<'a> {
    dir: &'a Path,
    place: &'a Place,
}

impl Program for Verify<'_> {
    type Out = Report;

    fn run<B: FusedOps>(self) -> Result<Report, Error> {
        let Self { dir, place } = self;
        let device = Default::default();
        println!("{} on {}", dir.display(), B::name(&device));
        let cases = list_cases(dir)?;
        let model = Qwen3Vl::<B>::load(dir, &device, place.load_options())?;
        let processor = ImageProcessor::load(dir)?;
        let precision = if place.dtype == Some(Dtype::Bf16) { Precision::Bf16 } else { Precision::F32 };
        let mut checks = Checks { model: &model, processor: &processor, precision, report: Report::default() };
        for case in &cases {
            checks.run(case)?;
        }
        Ok(checks.report)
    }
}
