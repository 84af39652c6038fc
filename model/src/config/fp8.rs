//! `quantization_config`: how a checkpoint's FP8 weights are scaled.
//!
//! Two ways of writing it are read. The released `-FP8` checkpoints have `quant_method` `fp8`, with one scale for each
//! block of 128 by 128 weights. `compressed-tensors` describes groups of layers; those whose weights are 8-bit floats
//! are the same thing with other names. What activations are quantised to doesn't matter: weights are dequantised when
//! they are loaded.

use super::ConfigError;
use super::error::shorten;
use super::section::Section;
use burn::config::Config;

/// The scales of FP8 (e4m3) weights. Which weights are FP8 the checkpoint itself says, by their dtype.
#[derive(Config, Debug, PartialEq, Eq)]
pub struct Fp8Config {
    /// Outputs and inputs that share a scale; `None`, where a scale is for one output, one expert or a whole tensor.
    pub block: Option<[usize; 2]>,
}

/// Reads the quantisation of `section`, which is the top of the JSON or `text_config`.
///
/// # Errors
/// [`ConfigError::Quantized`] for a method that is not read, [`ConfigError::Unsupported`] for a variant of FP8 that
/// isn't.
pub(super) fn parse_quantization(section: &Section) -> Result<Option<Fp8Config>, ConfigError> {
    for key in ["quantization_config", "compression_config"] {
        let Some(quantization) = section.section(key)? else { continue };
        let method = quantization.text("quant_method")?.unwrap_or("unknown");
        return match method {
            "fp8" => parse_fp8(&quantization).map(Some),
            "compressed-tensors" => parse_compressed(section.path(key), &quantization).map(Some),
            other => Err(refuse(section.path(key), other)),
        };
    }
    Ok(None)
}

fn refuse(field: String, method: &str) -> ConfigError {
    ConfigError::Quantized { field, method: shorten(method.to_owned()) }
}

fn parse_fp8(fp8: &Section) -> Result<Fp8Config, ConfigError> {
    for (key, supported) in [("fmt", "e4m3"), ("scale_fmt", "float"), ("expert_dtype", "fp8")] {
        if let Some(found) = fp8.text(key)?.filter(|&found| found != supported) {
            return Err(ConfigError::unsupported(fp8.path(key), found, supported));
        }
    }
    Ok(Fp8Config { block: parse_block(fp8, "weight_block_size")? })
}

/// The pair of sizes at `key`.
fn parse_block(section: &Section, key: &str) -> Result<Option<[usize; 2]>, ConfigError> {
    let Some(block) = section.counts(key)? else { return Ok(None) };
    match <[usize; 2]>::try_from(block) {
        Ok(block) if block.iter().all(|&size| size > 0) => Ok(Some(block)),
        Ok(block) => Err(ConfigError::invalid(section.path(key), format!("{block:?}"), "two sizes above 0")),
        Err(block) => Err(ConfigError::invalid(section.path(key), format!("{block:?}"), "two sizes above 0")),
    }
}

/// All groups of `compressed-tensors` must be 8-bit floats, with the same blocks.
fn parse_compressed(field: String, compressed: &Section) -> Result<Fp8Config, ConfigError> {
    let groups = compressed.require("config_groups", compressed.section("config_groups")?)?;
    let mut block = None;
    for group in groups.sections()? {
        let weights = group.require("weights", group.section("weights")?)?;
        let kind = weights.require("type", weights.text("type")?)?;
        let bits = weights.require("num_bits", weights.count("num_bits")?)?;
        if (kind, bits) != ("float", 8) {
            return Err(refuse(field, &format!("compressed-tensors, {bits}-bit {kind}")));
        }
        let found = match weights.require("strategy", weights.text("strategy")?)? {
            "tensor" | "channel" => None,
            "block" => Some(weights.require("block_structure", parse_block(&weights, "block_structure")?)?),
            other => {
                return Err(ConfigError::unsupported(weights.path("strategy"), other, "tensor, channel, block"));
            }
        };
        if *block.get_or_insert(found) != found {
            let shown = format!("{found:?} beside {:?}", block.flatten());
            return Err(ConfigError::unsupported(weights.path("strategy"), shown, "the same in all groups"));
        }
    }
    let block = block.ok_or_else(|| ConfigError::Missing { field: compressed.path("config_groups.*") })?;
    Ok(Fp8Config { block })
}
