//! What an answer holds besides its text: boxes and points, and the JSON object that `describe --json` prints.

use crate::memory::format_bytes;
use crate::{Error, note};
use qwen3_vl_burn::Reply;
use qwen3_vl_burn::generate::{FinishReason, Generation, Logprobs, Timings};
use qwen3_vl_burn::grounding::{Detection, Grounding, GroundingError, PixelDetection, Point, Shape, parse};
use qwen3_vl_burn::processor::{DecodeLimits, ImageSource};
use qwen3_vl_burn::streaming::{CardReport, StreamReport};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Boxes and points in an answer.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// As the model said them, 0 to 1000 along each side.
    pub relative: Vec<Detection>,
    /// In pixels of the picture; empty unless there is exactly one picture.
    pub detections: Vec<PixelDetection>,
    /// What is wrong with those that cannot be read.
    pub problems: Vec<GroundingError>,
}

/// Reads the boxes and points in an answer about these pictures. An answer without any is none of this function's
/// errors.
///
/// # Errors
/// [`Error::Model`] where the picture's size cannot be read any more.
pub fn find_detections(answer: &str, images: &[ImageSource]) -> Result<Findings, Error> {
    let Grounding { detections: relative, problems, .. } = match parse(answer) {
        Ok(found) => found,
        Err(GroundingError::NotFound) => return Ok(Findings::default()),
        Err(error) => return Ok(Findings { problems: vec![error], ..Findings::default() }),
    };
    let detections = match images {
        [picture] if !relative.is_empty() => {
            let picture = picture.decode(&DecodeLimits::default())?;
            let (width, height) = picture.dimensions();
            relative.iter().map(|detection| detection.to_pixels(width, height)).collect()
        }
        _ => Vec::new(),
    };
    Ok(Findings { relative, detections, problems })
}

impl Findings {
    /// What is wrong with boxes and points that cannot be read, in a sentence; `None` where all can.
    pub fn describe_problems(&self) -> Option<String> {
        const TOLD: usize = 3;
        let told: Vec<String> = self.problems.iter().take(TOLD).map(ToString::to_string).collect();
        let more = self.problems.len().saturating_sub(TOLD);
        let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
        (!told.is_empty()).then(|| told.join("; ") + &rest)
    }
}

/// How long the parts took.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Loading the checkpoint.
    pub load: Duration,
    /// Decoding and resampling pictures and videos.
    pub pictures: Duration,
    /// The model.
    pub generation: Timings,
}

/// Everything about an answer, as one JSON object.
pub struct Output<'a> {
    reply: &'a Reply,
    findings: &'a Findings,
    times: &'a Times,
}

impl<'a> Output<'a> {
    /// Puts it together.
    pub fn new(reply: &'a Reply, findings: &'a Findings, times: &'a Times) -> Self {
        Self { reply, findings, times }
    }

    /// The object, on one line.
    pub fn to_json(&self) -> String {
        let Reply { answer, tools, generation } = self.reply;
        let calls: Vec<Value> = (tools.calls.iter())
            .map(|call| match call {
                Ok(call) => json!({ "name": call.name, "arguments": call.arguments }),
                Err(error) => json!({ "error": error.to_string() }),
            })
            .collect();
        let mut object = json!({
            "answer": answer.content,
            "thinking": answer.thinking,
            "tool_calls": calls,
            "detections": self.list_detections(),
            "finish": name_finish(generation.finish),
            "tokens": generation.tokens.len(),
            "prompt_tokens": generation.prompt_tokens,
            "seed": generation.seed,
            "milliseconds": self.list_times(),
        });
        if let Some(problems) = self.findings.describe_problems() {
            object["detections_error"] = json!(problems);
        }
        if let Some(logprobs) = &generation.logprobs {
            object["logprobs"] = logprobs.iter().map(write_logprobs).collect();
        }
        object.to_string()
    }

    fn list_detections(&self) -> Vec<Value> {
        let Findings { relative, detections, .. } = self.findings;
        let mut list: Vec<Value> = relative.iter().map(write_relative).collect();
        for (object, pixels) in list.iter_mut().zip(detections) {
            object["pixels"] = write_shape(pixels.shape).1;
        }
        list
    }

    fn list_times(&self) -> Value {
        let Times { load, pictures, generation: Timings { prepare, prefill, decode } } = *self.times;
        let milliseconds = |time: Duration| (time.as_secs_f64() * 1e4).round() / 10.0;
        json!({
            "load": milliseconds(load),
            "pictures": milliseconds(pictures),
            "vision": milliseconds(prepare),
            "prefill": milliseconds(prefill),
            "decode": milliseconds(decode),
        })
    }
}

/// `{"label": .., "bbox_2d": [..]}` or `{"label": .., "point_2d": [..]}`, with whatever else the model said.
fn write_relative(detection: &Detection) -> Value {
    let mut object: Map<String, Value> = (*detection.extra).clone();
    object.insert("label".to_owned(), json!(detection.label.as_deref()));
    let (key, numbers) = write_shape(detection.shape);
    object.insert(key.to_owned(), numbers);
    Value::Object(object)
}

fn write_shape(shape: Shape) -> (&'static str, Value) {
    match shape {
        Shape::Box(b) => ("bbox_2d", json!([b.x1, b.y1, b.x2, b.y2])),
        Shape::Point(Point { x, y }) => ("point_2d", json!([x, y])),
    }
}

fn write_logprobs(logprobs: &Logprobs) -> Value {
    let top = logprobs.top.iter().map(|other| json!({ "token": other.token, "logprob": other.logprob }));
    json!({ "logprob": logprobs.chosen, "top": top.collect::<Vec<_>>() })
}

fn name_finish(finish: FinishReason) -> &'static str {
    match finish {
        FinishReason::Stop => "stop",
        FinishReason::StopString(_) => "stop_string",
        FinishReason::Length => "length",
        FinishReason::Cancelled => "cancelled",
    }
}

/// Lines about times and memory, for standard error.
pub fn report(answer: &Generation, times: &Times, streaming: Option<&StreamReport>) {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    note!("");
    note!("load     {:9.1} ms", milliseconds(times.load));
    note!("pictures {:9.1} ms", milliseconds(times.pictures));
    note!("vision   {:9.1} ms", milliseconds(times.generation.prepare));
    note!(
        "prefill  {:9.1} ms  {:8.1} tokens/s  ({} tokens)",
        milliseconds(times.generation.prefill),
        answer.prefill_rate(),
        answer.prompt_tokens
    );
    if let Some(rate) = answer.decode_rate() {
        let time = milliseconds(times.generation.decode);
        note!("decode   {time:9.1} ms  {rate:8.1} tokens/s  ({} tokens)", answer.tokens.len());
    }
    if let Some(CardReport { limit, high_water, stats, .. }) = streaming.and_then(|report| report.card) {
        let [most, limit, sent] = [high_water, limit, stats.bytes_sent].map(format_bytes);
        let ahead = stats.hit_rate() * 100.0;
        note!("card     {most} of weights at most, of {limit}; {sent} sent, {ahead:.0} % of parts ahead of use");
    }
    if let Some(peak) = crate::memory::peak() {
        note!("memory   {} at most", format_bytes(peak));
    }
}
