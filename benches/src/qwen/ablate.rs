//! Each technique off in turn, and on alone.

use super::args::{Args, Worker};
use super::client::Client;
use super::report::Figures;
use super::session::Runs;
use super::{Result, workload::Workload};
use burn_kiln::OptimizationConfig;
use burn_kiln::config::Technique;
use qwen3_vl_burn::Qwen3VlConfig;
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

/// One configuration's figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ablation {
    /// The setting: small, large, memory-constrained.
    pub setting: String,
    /// "all", "none", "without X", "X alone"; under a memory limit also "without reading ahead", where layers are kept
    /// as LRU keeps them.
    pub variant: String,
    /// What it reached.
    #[serde(flatten)]
    pub figures: Figures,
}

/// The configurations, everything first.
pub fn list_variants(base: &OptimizationConfig) -> Vec<(String, OptimizationConfig)> {
    let mut variants = vec![("all".to_owned(), base.clone()), ("none".to_owned(), OptimizationConfig::none())];
    variants.extend(Technique::ALL.map(|technique| (format!("without {technique}"), base.clone().without(technique))));
    let alone = Technique::ALL.iter().filter(|technique| **technique != Technique::Threads);
    variants.extend(alone.map(|&technique| (format!("{technique} alone"), OptimizationConfig::only(technique))));
    variants
}

/// A prompt of another size.
fn settings(args: &Args) -> Vec<(String, Args)> {
    let small = Args { image_px: args.image_px.min(224), text_tokens: args.text_tokens.min(32), ..args.clone() };
    let large = args.clone();
    let mut all = vec![("small".to_owned(), small), ("large".to_owned(), large)];
    if args.memory_limit.is_none() {
        return all;
    }
    for (_, args) in &mut all {
        args.memory_limit = None;
    }
    all.push(("memory-constrained".to_owned(), args.clone()));
    all
}

/// Runs every variant in every setting.
///
/// # Errors
/// Kiln's own.
pub fn run(args: &Args, dir: &Path, tell: &mut dyn FnMut(&str)) -> Result<Vec<Ablation>> {
    let base = match &args.config {
        Some(path) => OptimizationConfig::from_file(path)?,
        None => OptimizationConfig::from_env()?,
    };
    let mut results = Vec::new();
    for (setting, args) in settings(args) {
        tell(&format!("{setting}: kiln loads"));
        let workload = Workload::new(&args, &Qwen3VlConfig::from_dir(dir)?);
        let mut measure = |args: &Args, variants: Vec<(String, OptimizationConfig)>| -> Result<()> {
            let mut kiln = Client::start(Worker::Kiln, args, dir)?;
            for (variant, config) in variants {
                tell(&format!("{setting}: {variant}"));
                kiln.configure(&config.to_toml())?;
                let mut runs = Runs::default();
                kiln.run()?;
                for _ in 1..args.rounds {
                    runs.round(&mut kiln, None)?;
                }
                let figures = runs.figures(&workload, kiln.peak_bytes());
                results.push(Ablation { setting: setting.clone(), variant, figures });
            }
            Ok(())
        };
        measure(&args, list_variants(&base))?;
        if args.memory_limit.is_some() {
            // What is kept is decided when the model is loaded: no configuration changes it.
            let lru = Args { keep_lru: true, ..args.clone() };
            measure(&lru, vec![("without reading ahead".to_owned(), base.clone())])?;
        }
    }
    Ok(results)
}

/// The first of a setting: everything on.
fn whole<'a>(results: &'a [Ablation], setting: &str) -> Option<&'a Ablation> {
    results.iter().find(|result| result.setting == setting && result.variant == "all")
}

/// How often the speed of everything a variant has: prefill and decode.
pub fn relative(results: &[Ablation], result: &Ablation) -> Option<(f64, f64)> {
    let whole = &whole(results, &result.setting)?.figures;
    let figures = &result.figures;
    Some((figures.prefill_tok_s / whole.prefill_tok_s, figures.decode_tok_s / whole.decode_tok_s))
}

/// As a table of Markdown.
pub fn render(results: &[Ablation]) -> String {
    let mut text = String::from(
        "| setting | variant | vision s | prefill tok/s | of all | decode tok/s | of all |\n| --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for result in results {
        let Figures { vision_s, prefill_tok_s, decode_tok_s, .. } = result.figures;
        let (prefill, decode) = relative(results, result).unwrap_or((f64::NAN, f64::NAN));
        writeln!(
            text,
            "| {} | {} | {vision_s:.3} | {prefill_tok_s:.1} | {prefill:.2} | {decode_tok_s:.2} | {decode:.2} |",
            result.setting, result.variant
        )
        .expect("a string takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_technique_is_left_out_and_alone() {
        let names: Vec<String> =
            list_variants(&OptimizationConfig::detect()).into_iter().map(|(name, _)| name).collect();
        for technique in Technique::ALL {
            assert!(names.contains(&format!("without {technique}")));
        }
        assert_eq!(names[..2], ["all", "none"]);
        assert!(names.contains(&"tiling alone".into()));
    }
}
