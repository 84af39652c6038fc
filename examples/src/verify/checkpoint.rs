//! Every case beside a checkpoint, on the backend that the command line names.

use super::{Checks, Precision, Report, list_cases};
use crate::backend::{Place, Program};
use crate::{Error, say};
use burn_kiln::OptimizationConfig;
use burn_kiln::config::Technique;
use burn_kiln_fusion::TrainingOps;
use burn_tensor::DType;
use qwen3_vl_burn::processor::ImageProcessor;
use qwen3_vl_burn::{LoadOptions, Qwen3Vl};
use std::path::Path;

/// The most memory that the weights in f32 may take, bytes, to which those of a mixture of experts in bf16 are
/// compared: beyond it, or beyond --memory-limit, they are read from the checkpoint at each pass.
const EXACT_BYTES: u64 = 8 << 30;

/// Runs every case in `dir` through the checkpoint there, with an adapter merged into it where one is given: the cases
/// must have been made with it.
///
/// # Errors
/// [`Error::NoCases`], [`Error::File`], [`Error::Case`], and [`Error::Model`] for a checkpoint that cannot be loaded; a
/// wrong number is a row of the report.
pub fn check_checkpoint(dir: &Path, adapter: Option<&Path>, place: &Place) -> Result<Report, Error> {
    place.run(Verify { dir, adapter, place })
}

/// [`check_checkpoint`] under every configuration that a technique can be in: all of them, none, each left out, each
/// alone. Calls `done` with the name of each and its report.
///
/// # Errors
/// [`Error::NoTechniques`] for a backend without Kiln, and those of [`check_checkpoint`] and of `done`.
pub fn check_techniques(
    dir: &Path,
    adapter: Option<&Path>,
    place: &Place,
    mut done: impl FnMut(&str, &Report) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some(whole) = place.optimization()? else {
        return Err(Error::NoTechniques { backend: place.backend.name() });
    };
    let mut configs =
        vec![("all techniques".to_owned(), whole.clone()), ("none".to_owned(), OptimizationConfig::none())];
    for technique in Technique::ALL {
        configs.push((format!("without {technique}"), whole.clone().without(technique)));
        configs.push((format!("{technique} alone"), OptimizationConfig::only(technique)));
    }
    for (name, config) in configs {
        let place = Place { optimization: Some(config), ..place.clone() };
        done(&name, &check_checkpoint(dir, adapter, &place)?)?;
    }
    Ok(())
}

struct Verify<'a> {
    dir: &'a Path,
    adapter: Option<&'a Path>,
    place: &'a Place,
}

impl Program for Verify<'_> {
    type Out = Report;

    fn run<B: TrainingOps>(self) -> Result<Report, Error> {
        let Self { dir, adapter, place } = self;
        let adapted = |options: LoadOptions<'static>| match adapter {
            Some(adapter) => options.with_adapter(adapter),
            None => options,
        };
        let device = Default::default();
        say!("{} on {}", dir.display(), B::name(&device))?;
        let cases = list_cases(dir)?;
        let config = place.optimization()?;
        let mut model = Qwen3Vl::<B>::load(dir, &device, adapted(place.load_options(config.as_ref())))?;
        if let Some(config) = &config {
            model = model.optimize(config)?;
        }
        let processor = ImageProcessor::load(dir)?;
        // Checkpoints may be stored in bf16, and are bf16 then without being asked to.
        let precision = if model.cache_dtype() == DType::BF16 { Precision::Bf16 } else { Precision::F32 };
        let exact = match precision == Precision::Bf16 && model.config().text.moe.is_some() {
            true => {
                let mut options = place.load_options(config.as_ref()).with_dtype(DType::F32);
                if !place.backend.is_card() {
                    options.memory_limit =
                        Some(options.memory_limit.map_or(EXACT_BYTES, |limit| limit.min(EXACT_BYTES)));
                }
                Some(Qwen3Vl::<B>::load(dir, &device, adapted(options))?)
            }
            false => None,
        };
        let report = Report::default();
        let mut checks = Checks { model: &model, exact: exact.as_ref(), processor: &processor, precision, report };
        for case in &cases {
            checks.run(case)?;
        }
        Ok(checks.report)
    }
}
