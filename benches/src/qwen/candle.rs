//! candle's own Qwen3-VL, f32.
//!
//! Its layers keep their cache and cannot forget it, so each prompt begins with a model made anew from the mapped
//! checkpoint: that is not timed.

use super::args::Args;
use super::runner::{Runner, Times};
use super::{Result, workload::Workload};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::qwen3_vl::{Config, Qwen3VLModel};
use qwen3_vl_burn::ModelInputs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A checkpoint for candle.
pub(super) struct CandleRunner {
    config: Config,
    files: Vec<PathBuf>,
}

impl CandleRunner {
    pub(super) fn load(_: &Args, dir: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(dir.join("config.json"))?;
        let mut config: serde_json::Value = serde_json::from_str(&text)?;
        // Names that candle reads differently from the released files.
        let vision = &mut config["vision_config"];
        vision["in_chans"] = vision["in_channels"].clone();
        let tie = config["tie_word_embeddings"].clone();
        let text = &mut config["text_config"];
        if text["tie_word_embeddings"].is_null() {
            text["tie_word_embeddings"] = tie;
        }
        if text["rope_theta"].is_null() {
            text["rope_theta"] = text["rope_parameters"]["rope_theta"].clone();
        }
        let mut files: Vec<PathBuf> = std::fs::read_dir(dir)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
        files.sort();
        Ok(Self { config: serde_json::from_value(config)?, files })
    }

    fn make(&self) -> Result<Qwen3VLModel> {
        // SAFETY: the files must not change while they are mapped: the bench's checkpoint does not.
        let weights = unsafe { VarBuilder::from_mmaped_safetensors(&self.files, DType::F32, &Device::Cpu)? };
        Ok(Qwen3VLModel::new(&self.config, weights)?)
    }

    /// Logits of the last of `ids`, which follow `offset` tokens.
    fn step(model: &Qwen3VLModel, ids: &[u32], offset: usize, inputs: Option<&ModelInputs>) -> Result<u32> {
        let device = Device::Cpu;
        let tokens = Tensor::from_slice(ids, (1, ids.len()), &device)?;
        let grid = inputs.and_then(|inputs| inputs.images.grids.first().copied());
        let (pixels, grids, spans) = match (inputs, grid) {
            (Some(inputs), Some(grid)) => {
                let pixels = &inputs.images.pixel_values;
                let rows = grid.h * grid.w;
                let pad = ids.iter().position(|&id| id == ids[1]).unwrap_or(1);
                let end = pad + ids[pad..].iter().take_while(|&&id| id == ids[pad]).count();
                (
                    Some(Tensor::from_slice(pixels, (rows, pixels.len() / rows), &device)?),
                    Some(Tensor::from_slice(&[1u32, grid.h as u32, grid.w as u32], (1, 3), &device)?),
                    vec![vec![(pad, end)]],
                )
            }
            _ => (None, None, vec![vec![]]),
        };
        let lengths = vec![offset + ids.len()];
        let logits = model.forward(&tokens, pixels, None, grids, None, lengths, spans, vec![vec![]], &[offset])?;
        let logits: Vec<f32> = logits.flatten_all()?.to_vec1()?;
        Ok((0..logits.len()).max_by(|&i, &j| logits[i].total_cmp(&logits[j])).unwrap_or(0) as u32)
    }
}

impl Runner for CandleRunner {
    fn run(&mut self, workload: &Workload) -> Result<Times> {
        let model = self.make()?;
        let inputs = workload.inputs();
        let ids = &inputs.input_ids;
        let began = Instant::now();
        let mut token = Self::step(&model, ids, 0, Some(&inputs))?;
        let prefill_s = began.elapsed().as_secs_f64();
        let began = Instant::now();
        for i in 0..workload.new {
            token = Self::step(&model, &[token], ids.len() + i, None)?;
        }
        // Its tower cannot be run alone.
        Ok(Times { vision_s: f64::NAN, prefill_s, decode_s: began.elapsed().as_secs_f64() })
    }

    fn run_text(&mut self, workload: &Workload) -> Result<f64> {
        let model = self.make()?;
        let inputs = workload.text_inputs();
        let began = Instant::now();
        Self::step(&model, &inputs.input_ids, 0, None)?;
        Ok(began.elapsed().as_secs_f64())
    }
}
