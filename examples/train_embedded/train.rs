//! Stages of training one behind the other, each a run that can go on where it stopped.

use crate::stages::{STAGES, Stage};
use crate::{Arguments, start};
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use burn_kiln::{Kiln, OptimizationConfig};
use kiln_examples::interrupt::Interrupt;
use kiln_examples::scenes::Scenes;
use kiln_examples::{Error, note};
use kiln_scenes::Split;
use qwen3_vl_burn::{LoadOptions, Qwen3Vl, Qwen3VlProcessor};
use qwen3_vl_train::data::{EncodeOptions, Encoder, LoaderOptions, Sound};
use qwen3_vl_train::optim::AdamWConfig;
use qwen3_vl_train::parameters::Selection;
use qwen3_vl_train::run::{
    BatchLimit, Output, RunError, RunFolder, TrainOptions, Trainer, TrainingData, progress_bar, write_weights,
};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

type Inner = Kiln<Flex>;
type Model = Qwen3Vl<Autodiff<Inner>>;

/// Weight decay of matrices.
const WEIGHT_DECAY: f64 = 0.05;

/// Samples of a stage at least.
const FEWEST: usize = 64;

/// Samples of an evaluation.
const EVALUATED: usize = 512;

/// What may be otherwise when a run goes on: it changes no step.
const FREE: [&str; 2] = ["options.save_every", "options.eval_every"];

/// Seeds of a stage begin where this many of the stage before end, whatever its length.
const SEEDS: u64 = 1 << 32;

/// What `run.json` of a stage holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Recipe {
    seed: u64,
    stage: String,
    samples: usize,
    options: TrainOptions,
    selection: Selection,
}

/// Trains all stages, and writes the model as bf16.
///
/// # Errors
/// Those of every part.
pub fn run(arguments: &Arguments) -> Result<(), Error> {
    OptimizationConfig::detect().apply_to_process();
    let mut from = arguments.out.join("0-start");
    if !from.join("config.json").exists() {
        note!("the vocabulary and random weights: {}", from.display());
        start::write(&from, arguments.seed, arguments.scale)?;
    }
    for (number, stage) in STAGES.iter().enumerate() {
        from = train(arguments, number, stage, &from)?;
    }
    let out = arguments.out.join("model");
    fs::create_dir_all(&out).map_err(|source| Error::File { path: out.clone(), source })?;
    let rounded = LoadOptions { dtype: Some(burn_tensor::DType::BF16), ..LoadOptions::default() };
    write_weights(&Model::load(&from, &Default::default(), rounded)?, &from, &out)?;
    note!("the model is in {}: describe --model {0} --image PICTURE", out.display());
    Ok(())
}

/// Trains a stage from the weights in `from`, and returns the folder of its result.
fn train(arguments: &Arguments, number: usize, stage: &Stage, from: &Path) -> Result<PathBuf, Error> {
    let dir = arguments.out.join(stage.name);
    let output = Output::Weights { base: from.to_owned() };
    let result = dir.join(output.folder());
    let samples = ((stage.samples as f64 * arguments.scale).ceil() as usize).max(FEWEST);
    let options = TrainOptions {
        batch: BatchLimit::Tokens(stage.batch_tokens),
        warmup: 0.04,
        optimizer: AdamWConfig { beta_2: 0.98, ..AdamWConfig::default() },
        seed: arguments.seed,
        eval_every: Some(arguments.eval_every),
        save_every: arguments.save_every,
        keep: 1,
        ..TrainOptions::default()
    };
    let selection = Selection::all(stage.rate).with_weight_decay(WEIGHT_DECAY);
    let recipe =
        Recipe { seed: arguments.seed, stage: stage.name.into(), samples, options: options.clone(), selection };
    if result.join("config.json").exists() {
        RunFolder::open(&dir)?.check_unchanged(&recipe, &FREE)?;
        note!("{}: done before", stage.name);
        return Ok(result);
    }

    let encoder = Encoder::new(Qwen3VlProcessor::load(from)?, EncodeOptions::default()).map_err(RunError::from)?;
    let drawn = (stage.options)();
    let evaluated = kiln_scenes::Options { split: Split::Seeds, ..drawn.clone() };
    let first = arguments.seed.wrapping_mul(1000).wrapping_add(number as u64).wrapping_mul(SEEDS);
    note!("{}: drawing {samples} samples once, to know how long they are", stage.name);
    let open = |options, count| {
        let scenes = Sound(Scenes { options, first, count });
        TrainingData::with_loader(scenes, encoder.clone(), LoaderOptions::default(), &mut |_| {})
    };
    let (training, evaluation) = (
        open(drawn, samples).map_err(RunError::from)?,
        open(evaluated, EVALUATED.min(samples)).map_err(RunError::from)?,
    );

    // A run that has a checkpoint goes on from it; one without begins anew.
    let before = RunFolder::open(&dir).ok().filter(|folder| folder.checkpoints().is_ok_and(|all| !all.is_empty()));
    let (folder, checkpoint) = match before {
        Some(folder) => {
            folder.check_unchanged(&recipe, &FREE)?;
            let checkpoint = folder.checkpoints()?.pop().map(|(_, path)| path);
            (folder, checkpoint)
        }
        None => (RunFolder::create(&dir, &recipe)?, None),
    };
    let weights = checkpoint.as_deref().unwrap_or(from);
    let model = Model::load(weights, &Default::default(), LoadOptions::default())?;
    let trainer = Trainer::new(model, &recipe.selection, training, options)?.with_evaluation(evaluation);
    let mut trainer = match checkpoint {
        Some(_) => trainer.resume(folder, output)?,
        None => trainer.with_folder(folder, output)?,
    };
    note!("{}: {} steps, from step {}", stage.name, trainer.last_step(), trainer.state().step);
    let summary = Interrupt::install()?.watch(|cancel| trainer.run(&mut progress_bar(), &cancel))?;
    if summary.interrupted {
        return Err(Error::Interrupted { kept: "the same command goes on where it stopped".into() });
    }
    let evaluation =
        summary.state.best.map_or(String::new(), |best| format!(", {:.4} on samples that it never saw", best.loss));
    note!(
        "{}: loss {:.4}{evaluation}; {:.0} s",
        stage.name,
        summary.final_loss.unwrap_or(f64::NAN),
        summary.time.as_secs_f64()
    );
    Ok(result)
}
