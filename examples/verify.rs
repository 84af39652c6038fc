//! Runs a checkpoint against reference outputs of HF transformers.

use burn_kiln_fusion::FusedOps;
use clap::Parser;
use kiln_examples::Error;
use kiln_examples::backend::{Dtype, Place, Program};
use kiln_examples::verify::{Checks, Precision, Report, list_cases};
use qwen3_vl_burn::processor::ImageProcessor;
use qwen3_vl_burn::{LoadOptions, Qwen3Vl};
use std::path::PathBuf;
use std::process::ExitCode;

/// Compare a Qwen3-VL checkpoint with what HF transformers computes
///
/// DIR holds a checkpoint and, for each case, CASE.safetensors with input_ids, pixel values, grids and expect.* tensors, and the
/// pictures it was made from. The exit status is 1 when a stage fails, 2 when something cannot be run.
#[derive(Parser)]
struct Arguments {
    /// Folder of the checkpoint and its cases
    dir: PathBuf,
    #[command(flatten)]
    place: Place,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let place = arguments.place.clone();
    match place.run(Verify { arguments }) {
        Ok(report) => {
            println!("{report}");
            if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

struct Verify {
    arguments: Arguments,
}

impl Program for Verify {
    type Out = Report;

    fn run<B: FusedOps>(self) -> Result<Report, Error> {
        let Arguments { dir, place } = self.arguments;
        let device = Default::default();
        println!("{} on {}", dir.display(), B::name(&device));
        let cases = list_cases(&dir)?;
        let options = LoadOptions { dtype: place.dtype.map(Dtype::burn), ..LoadOptions::default() };
        let model = Qwen3Vl::<B>::load(&dir, &device, options)?;
        let processor = ImageProcessor::load(&dir)?;
        let precision = if place.dtype == Some(Dtype::Bf16) { Precision::Bf16 } else { Precision::F32 };
        let mut checks = Checks { model: &model, processor: &processor, precision, report: Report::default() };
        for case in &cases {
            checks.run(case)?;
        }
        Ok(checks.report)
    }
}
