//! What is said before and behind a run.

use crate::recipe::Recipe;
use burn_kiln_fusion::TrainingOps;
use kiln_examples::note;
use qwen3_vl_train::parameters::Trainable;
use qwen3_vl_train::run::{Output, RunSummary, Trainer};
use std::collections::BTreeMap;
use std::path::Path;

/// Says what trains, on what, and for how long.
pub fn begin<B: TrainingOps>(trainer: &Trainer<B>, recipe: &Recipe, records: usize) {
    let mut parts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for Trainable { parameter, .. } in trainer.trainables() {
        let (tensors, elements) = parts.entry(parameter.part.name()).or_default();
        *tensors += 1;
        *elements += parameter.len();
    }
    let what = if recipe.lora.is_some() { "adapters of " } else { "" };
    let parts: Vec<String> = parts
        .iter()
        .map(|(part, (tensors, elements))| format!("{what}{part} ({tensors} tensors, {elements} parameters)"))
        .collect();
    note!("trains: {}", parts.join(", "));
    let rate = recipe.selection.learning_rate;
    note!("data: {records} records; {} steps at a learning rate of {rate:e}", trainer.last_step());
    if trainer.state().step > 0 {
        note!("goes on behind step {}", trainer.state().step);
    }
}

/// Says how it went, and what to do with the result.
pub fn end(summary: &RunSummary, out: Option<&Path>, output: &Output, model: Option<&str>) {
    if let (Some(first), Some(last)) = (summary.first_loss, summary.final_loss) {
        note!("loss: {first:.4} at first, {last:.4} at the end");
    }
    if let Some(best) = summary.state.best {
        let early = if summary.early { "; it did not get better, so the run ended" } else { "" };
        note!("best evaluation: {:.4}, behind step {}{early}", best.loss, best.step);
    }
    let (steps, seconds) = (summary.state.step, summary.time.as_secs_f64());
    note!("{steps} of {} steps, {} tokens; {seconds:.1} s in this process", summary.last, summary.state.tokens);
    let Some(out) = out else {
        note!("nothing was kept: give --out FOLDER");
        return;
    };
    let result = out.join(output.folder());
    if summary.interrupted || !result.exists() {
        return;
    }
    let result = result.display();
    // An adapter of the checkpoint inside the program names no base: its folder in the repository serves.
    let base = format!("--model {} ", model.unwrap_or("examples/assets/tiny"));
    match output {
        Output::Adapter(_) => note!("the adapter is in {result}: describe {base}--adapter {result}"),
        Output::Weights { .. } => note!("the model is in {result}: describe --model {result}"),
    }
}
