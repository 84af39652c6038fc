//! A run from its options to its end.

use crate::args::FinetuneArgs;
use crate::recipe::Recipe;
use crate::resume::Place;
use crate::{data, nodes, report, resume};
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use burn_kiln::{Kiln, OptimizationConfig};
use kiln_examples::backend::{self, Backend};
use kiln_examples::interrupt::Interrupt;
use kiln_examples::model::ModelArgs;
use kiln_examples::{Error, note};
use qwen3_vl_burn::checkpoint::progress_bar as loading_bar;
use qwen3_vl_burn::{LoadOptions, Qwen3Vl, Qwen3VlProcessor};
use qwen3_vl_train::lora::{attach, load_adapter_with_seed};
use qwen3_vl_train::run::{Output, RunError, Trainer, checkpoint_prints, progress_bar};
use std::path::Path;

/// What it trains on.
type Inner = Kiln<Flex>;
type Model = Qwen3Vl<Autodiff<Inner>>;

/// Trains, or checks data.
///
/// # Errors
/// Those of every part, each with a status of its own ([`Error::exit_code`]).
pub fn run(args: &FinetuneArgs) -> Result<(), Error> {
    if args.run.out.is_none() && !args.data.data.is_empty() && !args.data.check {
        return Err(Error::Finetune {
            reason: "--data needs --out FOLDER, where the result is kept, or --check".into(),
        });
    }
    for (given, option, needs) in [
        (args.run.patience.is_some() && args.data.eval.is_none() && !args.run.resume, "--patience", "--eval FILE"),
        (args.run.eval_every.is_some() && args.data.eval.is_none() && !args.run.resume, "--eval-every", "--eval FILE"),
        (args.run.save_every.is_some() && args.run.out.is_none(), "--save-every", "--out FOLDER"),
        (args.run.keep.is_some() && args.run.out.is_none(), "--keep", "--out FOLDER"),
    ] {
        if given && !args.data.check {
            return Err(Error::Finetune { reason: format!("{option} needs {needs}: without it, it does nothing") });
        }
    }
    let place = backend::Place {
        threads: args.machine.threads,
        config: args.machine.config.clone(),
        ..backend::Place::on(Backend::Kiln)
    };
    place.install(|| train(args, &place))
}

fn train(args: &FinetuneArgs, place: &backend::Place) -> Result<(), Error> {
    let mut recipe = Recipe::new(args, resume::read_recipe(args)?.as_ref())?;
    let base = ModelArgs {
        model: recipe.model.path.clone().map(Into::into),
        revision: args.model.revision.clone(),
        offline: args.model.offline,
        adapter: None, // that of a run is not merged into the weights
    };
    let files = base.open()?;
    let data = data::open(&mut recipe.data)?;
    let encoder = data::encoder(&recipe.data, Qwen3VlProcessor::load(&files.dir)?)?;
    if args.data.check {
        return data::report(&data, &encoder);
    }
    recipe.model.files = checkpoint_prints(&files.dir)?;
    let at = args.run.out.as_deref().map(|out| resume::open(out, &recipe, args.run.resume)).transpose()?;
    let (training, evaluation) = data::measure(&recipe, data, &encoder)?;
    let records = training.lengths().len() - training.lengths().bad();

    let mut config = place.optimization()?.unwrap_or_default();
    config.deterministic |= recipe.deterministic;
    config.apply_to_process();
    let checkpoint = at.as_ref().and_then(|at| at.checkpoint.as_deref());
    let model = load(&recipe, &files.dir, checkpoint, &config)?;
    let mut trainer = Trainer::new(model, &recipe.selection, training, recipe.options.clone())?;
    if let Some(evaluation) = evaluation {
        trainer = trainer.with_evaluation(evaluation);
    }
    let output = match &recipe.lora {
        Some(lora) => Output::Adapter(lora.clone()),
        None => Output::Weights { base: files.dir.clone() },
    };
    trainer = match at {
        Some(Place { folder, checkpoint: Some(_) }) => trainer.resume(folder, output.clone())?,
        Some(Place { folder, checkpoint: None }) => trainer.with_folder(folder, output.clone())?,
        None => trainer,
    };
    trainer = nodes::join(trainer, &args.nodes, &recipe)?;
    report::begin(&trainer, &recipe, records);
    note!("{}", trainer.plan_memory(recipe.memory_limit)?);
    let summary = Interrupt::install()?.watch(|cancel| trainer.run(&mut progress_bar(), &cancel))?;
    let out = args.run.out.as_deref();
    report::end(&summary, out, &output, recipe.model.path.as_deref());
    match (summary.interrupted, out) {
        (false, _) => Ok(()),
        (true, Some(out)) => {
            Err(Error::Interrupted { kept: format!("go on with: finetune --out {} --resume", out.display()) })
        }
        (true, None) => Err(Error::Interrupted { kept: "nothing was kept, for there was no --out".to_owned() }),
    }
}

/// The model at its beginning, or as it is in `checkpoint`.
fn load(recipe: &Recipe, base: &Path, checkpoint: Option<&Path>, config: &OptimizationConfig) -> Result<Model, Error> {
    let dtype = recipe.model.bf16.map(|bf16| if bf16 { backend::Dtype::Bf16 } else { backend::Dtype::F32 }.burn());
    let weights = if recipe.lora.is_some() { base } else { checkpoint.unwrap_or(base) };
    let options = LoadOptions { dtype, ..LoadOptions::default() }.with_progress(loading_bar());
    let model = Model::load(weights, &Default::default(), options)?.with_kernel_config(config.kernels());
    let Some(lora) = &recipe.lora else { return Ok(model) };
    match checkpoint.or(recipe.adapter.as_deref()) {
        Some(adapter) => Ok(load_adapter_with_seed(model, adapter, lora.seed).map_err(RunError::from)?),
        None => {
            let (model, report) = attach(model, lora).map_err(RunError::from)?;
            note!("{report}");
            Ok(model)
        }
    }
}
