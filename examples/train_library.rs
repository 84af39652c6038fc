//! Training in a program of one's own: a data set made in memory, an adapter, a few steps; and the same loop by hand,
//! on Burn's `Dataset` and `Optimizer`.
//!
//! ```sh
//! cargo run --release --example train_library
//! ```

use burn_autodiff::Autodiff;
use burn_core::data::dataset::{Dataset, InMemDataset};
use burn_flex::Flex;
use burn_kiln::Kiln;
use burn_optim::Optimizer;
use kiln_examples::embedded;
use qwen3_vl_burn::generate::CancelToken;
use qwen3_vl_burn::prompt::{Content, Message};
use qwen3_vl_burn::{LoadOptions, Qwen3Vl, Qwen3VlProcessor};
use qwen3_vl_train::data::{Batch, EncodeOptions, Encoder, Record, Sound, Source};
use qwen3_vl_train::lora::{LoraConfig, attach};
use qwen3_vl_train::optim::{AdamW, AdamWConfig, clip_gradients};
use qwen3_vl_train::parameters::Selection;
use qwen3_vl_train::run::{BatchLimit, RunLength, TrainOptions, Trainer, TrainingData, progress_bar};
use qwen3_vl_train::step::{Gradients, Keep, LayerPlan, differentiate};
use std::error::Error;
use std::path::Path;

type Backend = Autodiff<Kiln<Flex>>;

/// Conversations can come from anywhere: this data set is made here.
fn conversations(picture: &Path) -> InMemDataset<Record> {
    let ask = |question: Vec<Content>, answer: &str| {
        let source = Source { file: Default::default(), record: 1, line: 1 };
        Record::new(vec![Message::new("user", question), Message::text("assistant", answer)], source)
    };
    InMemDataset::new(vec![
        ask(vec![Content::image(picture), Content::text("What is it?")], "A picture."),
        ask(vec![Content::text("1+1")], "2"),
        ask(vec![Content::text("Good morning")], "Good morning to you"),
    ])
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = embedded::unpack()?;
    let encoder = Encoder::new(Qwen3VlProcessor::load(&dir)?, EncodeOptions::default())?;
    let picture = dir.join("picture.png");

    // An adapter, and the trainer of this crate.
    let model = Qwen3Vl::<Backend>::load(&dir, &Default::default(), LoadOptions::default())?;
    let (model, report) = attach(model, &LoraConfig::new(8, 32.0))?;
    println!("{report}");
    let adapters = Selection::of(["*.lora.*".parse()?], 1e-2);
    let options =
        TrainOptions { length: RunLength::Steps(12), batch: BatchLimit::Records(3), ..TrainOptions::default() };
    let prepared = TrainingData::new(Sound(conversations(&picture)), encoder.clone(), &mut |_| {})?;
    let mut trainer = Trainer::new(model, &adapters, prepared, options)?;
    let summary = trainer.run(&mut progress_bar(), &CancelToken::new())?;
    println!("loss: {:?} at first, {:?} at the end", summary.first_loss, summary.final_loss);

    // All weights of the decoder, with a loop of one's own.
    let model = Qwen3Vl::<Backend>::load(&dir, &Default::default(), LoadOptions::default())?;
    let (mut model, trainables) = Selection::of(["text".parse()?], 1e-3).apply(model)?;
    let mut optimizer = AdamW::new(AdamWConfig::default(), model.kernel_config()).with_parameters(&trainables);
    let plan = LayerPlan::uniform(model.config(), Keep::Tape);
    let samples = conversations(&picture).iter().map(|record| encoder.encode(&record)).collect::<Result<_, _>>()?;
    let batch = Batch { samples };
    for step in 1..=5 {
        let mut gradients = Gradients::new();
        let loss = differentiate(&model, &batch, batch.targets(), &plan, &mut gradients)?;
        clip_gradients(&model, &mut gradients, Some(1.0), model.kernel_config())?;
        model = optimizer.step(1e-3, model, gradients.params);
        println!("step {step}: loss {:.4}", loss.mean());
    }
    Ok(())
}
