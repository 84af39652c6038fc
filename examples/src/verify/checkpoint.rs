//! Every case beside a checkpoint, on the backend that the command line names.

use super::{Checks, Precision, Report, list_cases};
use crate::Error;
use crate::backend::{Dtype, Place, Program};
use burn_kiln::OptimizationConfig;
use burn_kiln::config::Technique;
use burn_kiln_fusion::FusedOps;
use qwen3_vl_burn::Qwen3Vl;
use qwen3_vl_burn::processor::ImageProcessor;
use std::path::Path;

/// Runs every case in `dir` through the checkpoint there.
///
/// # Errors
/// [`Error::NoCases`], [`Error::File`], [`Error::Case`], and [`Error::Model`] for a checkpoint that cannot be loaded; a
/// wrong number is a row of the report.
pub fn check_checkpoint(dir: &Path, place: &Place) -> Result<Report, Error> {
    place.run(Verify { dir, place })
}

/// [`check_checkpoint`] under every configuration that a technique can be in: all of them, none, each left out, each
/// alone. Calls `done` with the name of each and its report.
///
/// # Errors
/// As [`check_checkpoint`].
pub fn check_techniques(dir: &Path, place: &Place, mut done: impl FnMut(&str, &Report)) -> Result<(), Error> {
    let Some(whole) = place.optimization()? else { return Ok(()) };
    let mut configs =
        vec![("all techniques".to_owned(), whole.clone()), ("none".to_owned(), OptimizationConfig::none())];
    for technique in Technique::ALL {
        configs.push((format!("without {technique}"), whole.clone().without(technique)));
        configs.push((format!("{technique} alone"), OptimizationConfig::only(technique)));
    }
    for (name, config) in configs {
        let place = Place { optimization: Some(config), ..place.clone() };
        done(&name, &check_checkpoint(dir, &place)?);
    }
    Ok(())
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
        let config = place.optimization()?;
        let mut model = Qwen3Vl::<B>::load(dir, &device, place.load_options(config.as_ref()))?;
        if let Some(config) = &config {
            model = model.optimize(config)?;
        }
        let processor = ImageProcessor::load(dir)?;
        let precision = if place.dtype == Some(Dtype::Bf16) { Precision::Bf16 } else { Precision::F32 };
        let mut checks = Checks { model: &model, processor: &processor, precision, report: Report::default() };
        for case in &cases {
            checks.run(case)?;
        }
        Ok(checks.report)
    }
}
