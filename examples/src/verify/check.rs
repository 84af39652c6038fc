//! The stages of a case, each compared with its reference.

use super::pixels::compare_pixels;
use super::routing::read_routers;
use super::{Case, Report, Routing, Row, Verdict, compare_routing};
use crate::Error;
use burn_kiln_fusion::FusedOps;
use burn_tensor::{DType, Tensor};
use qwen3_vl_burn::generate::{GenerateOptions, generate};
use qwen3_vl_burn::processor::{DecodeLimits, ImageProcessor, ProcessedImages, decode_path};
use qwen3_vl_burn::{Logits, Qwen3Vl};

/// Largest error of the tower, relative to the stage's largest value, in f32. Sums of up to 1536 products in another
/// order than PyTorch's differ by about `√1536 · 2⁻²⁴ = 2.3e-6` a layer.
const VISION_TOLERANCE: f64 = 2e-5;
/// The same for logits, after the decoder's layers.
const LOGITS_TOLERANCE: f64 = 5e-5;
/// In bf16, what the logits may lose against f32, as a multiple of what HF's own bf16 model loses.
const BF16_FACTOR: f64 = 1.5;
/// In bf16 there is no reference for the tower: eight bits of mantissa, `2⁻⁸` a rounding, over tens of roundings in
/// sequence.
const BF16_VISION_TOLERANCE: f64 = 5e-2;
/// In bf16, the same for the logits of routers, and half of the margin at which a token may go to another expert.
const BF16_ROUTER_TOLERANCE: f64 = 5e-2;
/// In bf16, what attention to tokens that other experts saw may do to the logits of the rest. Weights that are read in
/// the wrong order make it 1.
const BF16_BEHIND_TOLERANCE: f64 = 0.25;
/// In what the model holds its weights, which decides the tolerances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Against HF's f32, to rounding.
    F32,
    /// Against HF's f32, no worse than HF's bf16.
    Bf16,
}

/// A model, the image processor of its checkpoint, and what has been found so far.
pub struct Checks<'a, B: FusedOps> {
    /// The model.
    pub model: &'a Qwen3Vl<B>,
    /// The same weights in f32, for the routing of a mixture of experts in bf16.
    pub exact: Option<&'a Qwen3Vl<B>>,
    /// The image processor.
    pub processor: &'a ImageProcessor,
    /// Which tolerances.
    pub precision: Precision,
    /// What has been found.
    pub report: Report,
}

impl<B: FusedOps> Checks<'_, B> {
    /// Runs every stage that the case has a reference for.
    ///
    /// # Errors
    /// Files that cannot be read and inputs that don't fit the model; a wrong number is a row of the report.
    pub fn run(&mut self, case: &Case) -> Result<(), Error> {
        self.check_pixels(case)?;
        self.check_positions(case)?;
        self.check_vision(case)?;
        self.check_logits(case)?;
        self.check_greedy(case)
    }

    fn push(&mut self, case: &Case, stage: &str, found: String, allowed: impl Into<String>, pass: bool) {
        let verdict = if pass { Verdict::Pass } else { Verdict::Fail };
        self.report.push(Row { case: case.name.clone(), stage: stage.into(), found, allowed: allowed.into(), verdict });
    }

    fn push_error(&mut self, case: &Case, stage: &str, error: f64, allowed: f64) {
        self.push(case, stage, format!("{error:.2e}"), format!("{allowed:.2e}"), error <= allowed);
    }

    /// The pictures beside the case through the processor, against the pixels given.
    fn check_pixels(&mut self, case: &Case) -> Result<(), Error> {
        let inputs = case.inputs()?;
        let (pictures, frames) = (case.pictures(), case.frames());
        if !pictures.is_empty() {
            let processed = pictures.iter().map(|path| self.processor.process_path(path));
            let processed: ProcessedImages = processed.collect::<Result<Vec<_>, _>>()?.into_iter().collect();
            self.report.push(compare_pixels(&case.name, "pixels", &processed, &inputs.images));
        }
        if !frames.is_empty() && !inputs.videos.grids.is_empty() {
            let limits = DecodeLimits::default();
            let frames = frames.iter().map(|path| decode_path(path, &limits)).collect::<Result<Vec<_>, _>>()?;
            let videos = self.processor.process_video(&frames)?;
            let processed = [videos].into_iter().collect();
            self.report.push(compare_pixels(&case.name, "video pixels", &processed, &inputs.videos));
        }
        Ok(())
    }

    fn check_positions(&mut self, case: &Case) -> Result<(), Error> {
        let Some(expected) = case.integers("expect.position_ids")? else { return Ok(()) };
        let layout = case.inputs()?.validate(self.model.config())?;
        let found = layout.positions.ids.concat();
        let wrong = found.iter().zip(&expected).filter(|(a, b)| a != b).count() + found.len().abs_diff(expected.len());
        self.push(case, "positions", format!("{wrong} wrong"), "0 wrong", wrong == 0);
        if let Some(expected) = case.integers("expect.rope_delta")? {
            let found = vec![layout.positions.rope_delta];
            self.push(case, "rope delta", format!("{found:?}"), format!("{expected:?}"), found == expected);
        }
        Ok(())
    }

    fn check_vision(&mut self, case: &Case) -> Result<(), Error> {
        let inputs = case.inputs()?;
        let images = self.model.encode(&inputs.images)?;
        let output = if images.is_some() { images } else { self.model.encode(&inputs.videos)? };
        let Some(output) = output else { return Ok(()) };
        let allowed = match self.precision {
            Precision::F32 => VISION_TOLERANCE,
            Precision::Bf16 => BF16_VISION_TOLERANCE,
        };
        let features = [("vision".to_owned(), output.features)];
        let taps = output.deepstack.into_iter().enumerate().map(|(i, tap)| (format!("deepstack.{i}"), tap));
        for (stage, found) in features.into_iter().chain(taps) {
            if let Some(expected) = case.floats(&format!("expect.{stage}"))? {
                let error = relative_error(&read(found), &expected);
                self.push_error(case, &stage, error, allowed);
            }
        }
        Ok(())
    }

    fn check_logits(&mut self, case: &Case) -> Result<(), Error> {
        let Some(expected) = case.floats("expect.logits")? else { return Ok(()) };
        let inputs = case.inputs()?;
        let tokens = inputs.input_ids.len();
        let (compared, alike) = match self.exact {
            Some(exact) => {
                let routing = self.check_routing(case, exact, &expected)?;
                (routing.equal_tokens, routing.alike)
            }
            None => (tokens, Vec::new()),
        };
        // Rows behind a token that went elsewhere are other ones.
        let vocab = expected.len().checked_div(tokens).unwrap_or(0);
        let end = vocab * compared;
        let allowed = match (self.precision, case.floats("expect.logits_bf16")?) {
            (Precision::F32, _) => LOGITS_TOLERANCE,
            (Precision::Bf16, Some(hf)) if hf.len() == expected.len() => {
                BF16_FACTOR * relative_error(&hf[..end], &expected[..end])
            }
            (Precision::Bf16, _) => BF16_VISION_TOLERANCE,
        };
        let found = read(self.model.forward(&inputs, Logits::All)?);
        let whole = found.len() == expected.len() && found.iter().all(|logit| logit.is_finite());
        // Nothing compared is nothing shown.
        let shown = compared > 0 || !alike.is_empty();
        let error = if whole && shown { relative_error(&found[..end], &expected[..end]) } else { f64::INFINITY };
        let rows = if compared < tokens { format!(" ({compared} of {tokens} rows)") } else { String::new() };
        self.push(case, "logits", format!("{error:.2e}{rows}"), format!("{allowed:.2e}"), error <= allowed);
        if !alike.is_empty() {
            let pick = |all: &[f32]| -> Vec<f32> {
                alike
                    .iter()
                    .flat_map(|row| all.get(row * vocab..(row + 1) * vocab).unwrap_or_default())
                    .copied()
                    .collect()
            };
            let error = relative_error(&pick(&found), &pick(&expected));
            let (found, allowed) = (format!("{error:.2e} ({} rows)", alike.len()), BF16_BEHIND_TOLERANCE);
            self.push(case, "logits behind", found, format!("{allowed:.2e}"), error <= allowed);
        }
        Ok(())
    }

    /// The routers of the model beside those of the same weights in f32, which must give HF's logits.
    fn check_routing(&mut self, case: &Case, exact: &Qwen3Vl<B>, expected: &[f32]) -> Result<Routing, Error> {
        let inputs = case.inputs()?;
        let error = relative_error(&read(exact.forward(&inputs, Logits::All)?), expected);
        self.push_error(case, "logits in f32", error, LOGITS_TOLERANCE);
        let (exact, rounded) = (read_routers(exact.route(&inputs)?), read_routers(self.model.route(&inputs)?));
        let routing = compare_routing(&exact, &rounded);
        self.push_error(case, "routers", routing.error, BF16_ROUTER_TOLERANCE);
        let widest = routing.flips.iter().map(|flip| flip.margin).fold(0.0, f64::max);
        let allowed = 2.0 * BF16_ROUTER_TOLERANCE;
        let found = match routing.flips.len() {
            0 => "no flip".to_owned(),
            1 => format!("1 flip, margin {widest:.1e}"),
            count => format!("{count} flips, margin {widest:.1e}"),
        };
        self.push(case, "routing", found, format!("margin {allowed:.1e}"), widest <= allowed);
        Ok(routing)
    }

    fn check_greedy(&mut self, case: &Case) -> Result<(), Error> {
        let Some(expected) = case.greedy()? else { return Ok(()) };
        let mut answers = Vec::new();
        for (stage, cache) in [("greedy", true), ("greedy uncached", false)] {
            let options = GenerateOptions::new(expected.len()).with_cache(cache);
            let answer = generate(self.model, &case.inputs()?, &options)?;
            let equal = answer.tokens.iter().zip(&expected).take_while(|(a, b)| a == b).count();
            let found = format!("{equal} of {} equal", expected.len());
            if self.precision == Precision::F32 {
                self.push(case, stage, found, "all equal", answer.tokens == expected);
            }
            answers.push(answer.tokens);
        }
        if self.precision == Precision::Bf16 {
            // Rounding may turn a near tie; that there are as many tokens, and that each exists, it may not.
            let vocab = self.model.config().text.vocab_size as u32;
            let whole =
                answers.iter().all(|tokens| tokens.len() == expected.len() && tokens.iter().all(|&id| id < vocab));
            let equal = answers[0].iter().zip(&expected).take_while(|(a, b)| a == b).count();
            self.push(case, "greedy", format!("{equal} of {} equal", expected.len()), "near ties may turn", whole);
        }
        Ok(())
    }
}

fn read<B: FusedOps, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    let data = tensor.into_data().convert_dtype(DType::F32);
    data.iter::<f32>().collect()
}

fn errors<'a>(found: &'a [f32], expected: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
    found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs())
}

/// Largest error relative to the largest expected value; infinite for another length, and where one is no number.
pub(super) fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    if found.len() != expected.len() || found.iter().any(|x| !x.is_finite()) {
        return f64::INFINITY;
    }
    let largest = expected.iter().map(|x| f64::from(x.abs())).fold(f64::MIN_POSITIVE, f64::max);
    errors(found, expected).fold(0.0, f64::max) / largest
}
