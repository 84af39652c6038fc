//! Kiln, and the backend that it decorates.

use super::args::Args;
use super::runner::{Runner, Times};
use super::{Result, workload::Workload};
use burn::tensor::Tensor;
use burn_kiln::{Engine, Kiln, OptimizationConfig};
use burn_kiln_fusion::FusedOps;
use bytesize::ByteSize;
use kiln_kernels::prefetch::Keep;
use qwen3_vl_burn::{LoadOptions, Logits, ModelInputs, Qwen3Vl, apply_low_level_optimizations};
use std::path::Path;
use std::time::Instant;

/// A model on a backend as it is.
pub(super) struct PlainRunner<B: FusedOps> {
    model: Qwen3Vl<B>,
}

impl<B: FusedOps> PlainRunner<B> {
    pub(super) fn load(args: &Args, dir: &Path) -> Result<Self> {
        Ok(Self { model: load(args, dir, None)? })
    }
}

impl<B: FusedOps> Runner for PlainRunner<B> {
    fn run(&mut self, workload: &Workload) -> Result<Times> {
        run(&self.model, workload)
    }

    fn run_text(&mut self, workload: &Workload) -> Result<f64> {
        run_text(&self.model, workload)
    }
}

/// A model on Kiln.
pub(super) struct KilnRunner<B: Engine + FusedOps> {
    /// Taken out while its configuration changes.
    model: Option<Qwen3Vl<Kiln<B>>>,
    /// The part of the configuration that the command line sets.
    isa: Option<burn_kiln_fusion::config::IsaChoice>,
}

impl<B: Engine + FusedOps> KilnRunner<B> {
    pub(super) fn load(args: &Args, dir: &Path) -> Result<Self> {
        let mut config = match &args.config {
            Some(path) => OptimizationConfig::from_file(path)?,
            None => OptimizationConfig::from_env()?,
        };
        let isa = args.isa.as_ref().map(|name| serde_json::from_value(name.as_str().into())).transpose()?;
        config.simd.isa = isa.unwrap_or(config.simd.isa);
        let model = apply_low_level_optimizations(load::<B>(args, dir, args.gpu_memory)?, &config)?;
        Ok(Self { model: Some(model), isa })
    }

    fn model(&self) -> Result<&Qwen3Vl<Kiln<B>>> {
        Ok(self.model.as_ref().ok_or("the last configuration failed")?)
    }
}

impl<B: Engine + FusedOps> Runner for KilnRunner<B> {
    fn run(&mut self, workload: &Workload) -> Result<Times> {
        run(self.model()?, workload)
    }

    fn run_text(&mut self, workload: &Workload) -> Result<f64> {
        run_text(self.model()?, workload)
    }

    fn configure(&mut self, toml: &str) -> Result<()> {
        let mut config = OptimizationConfig::from_toml(toml)?;
        config.simd.isa = self.isa.unwrap_or(config.simd.isa);
        let model = self.model.take().ok_or("the last configuration failed")?;
        self.model = Some(model.optimize(&config)?);
        Ok(())
    }
}

fn load<B: FusedOps>(args: &Args, dir: &Path, gpu_memory: Option<ByteSize>) -> Result<Qwen3Vl<B>> {
    let keep = if args.keep_lru { Keep::Lru } else { Keep::default() };
    let [memory_limit, gpu_memory] = [args.memory_limit, gpu_memory].map(|limit| limit.map(|limit| limit.as_u64()));
    let options =
        LoadOptions { memory_limit, gpu_memory, keep, ..LoadOptions::default() }.with_dtype(args.dtype.burn());
    Ok(Qwen3Vl::load(dir, &Default::default(), options)?)
}

fn run<B: FusedOps>(model: &Qwen3Vl<B>, workload: &Workload) -> Result<Times> {
    let inputs = workload.inputs();
    let mut times = Times::default();
    if workload.side > 0 {
        let began = Instant::now();
        let features = model.encode(&inputs.images)?.ok_or("the prompt has a picture")?.features;
        read(features);
        times.vision_s = began.elapsed().as_secs_f64();
    }
    let began = Instant::now();
    let mut cache = model.new_cache(workload.prompt_tokens() + workload.new);
    let (mut token, mut position) = prefill(model, &inputs, &mut cache)?;
    times.prefill_s = began.elapsed().as_secs_f64();
    let began = Instant::now();
    for _ in 0..workload.new {
        token = choose(model.decode(&[(token, position)], &mut [&mut cache])?);
        position += 1;
    }
    times.decode_s = began.elapsed().as_secs_f64();
    Ok(times)
}

fn run_text<B: FusedOps>(model: &Qwen3Vl<B>, workload: &Workload) -> Result<f64> {
    let inputs = workload.text_inputs();
    let began = Instant::now();
    let mut cache = model.new_cache(workload.prompt_tokens());
    prefill(model, &inputs, &mut cache)?;
    Ok(began.elapsed().as_secs_f64())
}

/// The first token, and its position.
fn prefill<B: FusedOps>(
    model: &Qwen3Vl<B>,
    inputs: &ModelInputs,
    cache: &mut qwen3_vl_burn::text::Cache<B>,
) -> Result<(u32, i64)> {
    let prompt = model.prepare(inputs)?;
    let position = prompt.next_position();
    Ok((choose(model.prefill(vec![prompt], &mut [cache], Logits::Last)?), position))
}

/// The likeliest token.
fn choose<B: FusedOps>(logits: Tensor<B, 3>) -> u32 {
    let logits = read(logits);
    (0..logits.len()).max_by(|&i, &j| logits[i].total_cmp(&logits[j])).unwrap_or(0) as u32
}

/// The numbers of a tensor: whatever was still to be computed is computed now.
fn read<B: FusedOps, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().to_vec().unwrap_or_default()
}
