//! Kiln and one peer at a time, A B A B, and what decoding can reach at most.

use super::args::{Args, Backend, Dtype, Peer, Worker};
use super::client::Client;
use super::report::{Figures, Ratios, Row};
use super::runner::Times;
use super::{Result, external, workload::Workload};
use crate::peaks::{Memory, REGION, Way};
use crate::state::{Span, Watch, part_alone, ratio_of_near};
use qwen3_vl_burn::Qwen3VlConfig;
use qwen3_vl_burn::checkpoint::Checkpoint;
use rayon::ThreadPool;
use std::path::Path;
use std::time::{Duration, Instant};

/// Everything that one engine did.
#[derive(Debug, Clone, Default)]
pub struct Runs {
    times: Vec<Times>,
    texts: Vec<f64>,
    /// What the cores were in the vision tower, in the prompt, in new tokens, and in the prompt of text.
    spans: Vec<[Span; 4]>,
}

impl Runs {
    /// One round: the whole prompt, and one of text.
    ///
    /// # Errors
    /// The engine's own.
    pub fn round(&mut self, client: &mut Client, watch: Option<&Watch>) -> Result<Times> {
        let began = Instant::now();
        let times = client.run()?;
        let prompt = (began, Instant::now());
        let text_s = client.run_text()?;
        let text = (prompt.1, Instant::now());
        // An engine's answer comes right behind its last token, and what comes first is timed first.
        let back = |end: Instant, seconds: f64| {
            let span = Duration::try_from_secs_f64(seconds).unwrap_or_default();
            end.checked_sub(span).map_or(began, |begin| begin.max(began))
        };
        let decode = back(prompt.1, times.decode_s);
        let prefill = back(decode, times.prefill_s);
        let phases = [(back(prefill, times.vision_s), prefill), (prefill, decode), (decode, prompt.1), text];
        let span = |(begin, end)| watch.map_or(Span::default(), |watch| watch.between(begin, end));
        self.add(times, text_s, phases.map(span));
        Ok(times)
    }

    /// One round, measured elsewhere: the prompt and the new tokens, and seconds of a prompt of text.
    fn add(&mut self, times: Times, text_s: f64, spans: [Span; 4]) {
        self.times.push(times);
        self.texts.push(text_s);
        self.spans.push(spans);
    }

    /// Adds the rounds of another.
    fn extend(&mut self, other: &Self) {
        self.times.extend(&other.times);
        self.texts.extend(&other.texts);
        self.spans.extend(&other.spans);
    }

    /// Forgets the first round, which warmed up.
    fn forget_first(&mut self) {
        if self.times.len() > 1 {
            self.times.remove(0);
            self.texts.remove(0);
            self.spans.remove(0);
        }
    }

    /// Medians.
    pub fn figures(&self, workload: &Workload, peak_bytes: Option<u64>) -> Figures {
        let of = |field: fn(&Times) -> f64| median(self.times.iter().map(field).collect());
        let alone = |phase: usize| part_alone(self.spans.iter().map(|spans| &spans[phase]));
        let tokens = workload.prompt_tokens() as f64;
        let prefill_s = of(|times| times.prefill_s);
        Figures {
            vision_s: of(|times| times.vision_s),
            prefill_tok_s: tokens / prefill_s,
            prefill_text_tok_s: tokens / median(self.texts.clone()),
            decode_tok_s: workload.new as f64 / of(|times| times.decode_s),
            first_token_s: prefill_s,
            peak_bytes,
            alone: [0, 1, 3, 2].map(alone),
        }
    }

    /// Medians of this engine's times over `kiln`'s, over the rounds in which the cores were in about the same state.
    fn ratios(&self, kiln: &Self) -> Ratios {
        let of = |phase: usize, seconds: fn(&Self, usize) -> f64| {
            let list = |runs: &Self| -> Vec<(f64, Span)> {
                (0..runs.times.len()).map(|round| (seconds(runs, round), runs.spans[round][phase])).collect()
            };
            ratio_of_near(&list(kiln), &list(self)).unwrap_or(f64::NAN)
        };
        Ratios {
            vision: of(0, |runs, round| runs.times[round].vision_s),
            prefill: of(1, |runs, round| runs.times[round].prefill_s),
            prefill_text: of(3, |runs, round| runs.texts[round]),
            decode: of(2, |runs, round| runs.times[round].decode_s),
        }
    }
}

/// The middle one; NaN of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// Bytes of weights and cache that a decoded token reads: the decoder's layers (of a mixture, the experts that a token
/// goes to), the head, and the keys and values, half way through the new tokens.
pub fn bytes_of_a_token(config: &Qwen3VlConfig, checkpoint: &Checkpoint, args: &Args, workload: &Workload) -> u64 {
    let text = &config.text;
    let share = text.moe.as_ref().map_or(1.0, |moe| moe.num_experts_per_tok as f64 / moe.num_experts as f64);
    let tied = text.tie_word_embeddings;
    let size = args.dtype.burn().size() as f64;
    let is_read = |name: &&str| {
        let is_head = if tied { name.contains("embed_tokens") } else { name.starts_with("lm_head") };
        name.contains("language_model.layers") || is_head
    };
    let elements = |name: &str| {
        let elements = checkpoint.shape(name).map_or(0, |shape| shape.iter().product::<usize>());
        elements as f64 * if name.contains(".experts.") { share } else { 1.0 }
    };
    let weights: f64 = checkpoint.names().filter(is_read).map(elements).sum();
    let positions = workload.prompt_tokens() + workload.new / 2;
    let cache = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * positions;
    ((weights + cache as f64) * size) as u64
}

/// What memory gives on the CPU.
struct Gauge {
    pool: ThreadPool,
    memory: Memory,
}

impl Gauge {
    /// Bytes a second of the best of a few passes, as what takes longer was held up.
    fn read(&mut self) -> f64 {
        let mut pass = || {
            let began = Instant::now();
            self.pool.install(|| self.memory.pass(Way::Read));
            REGION as f64 / began.elapsed().as_secs_f64()
        };
        (0..4).map(|_| pass()).fold(0.0, f64::max)
    }
}

/// Peers that are asked request by request, and the ways in which each runs: a name, and what the peer calls it.
const FORMS: [(Peer, &[(&str, &str)]); 3] = [
    (Peer::Flex, &[("flex", "")]),
    (Peer::Torch, &[("torch", "conv"), ("torch, linear patches", "linear")]),
    (Peer::Candle, &[("candle", "")]),
];

/// Peers that run by their own benches.
const EXTERNALS: [(Peer, &str); 2] = [(Peer::LlamaCpp, "llama.cpp"), (Peer::MistralRs, "mistral.rs")];

/// One round of a peer, added to its others.
type Round<'r> = dyn FnMut(&mut Runs, Option<&Watch>) -> Result<()> + 'r;

/// The peers, one after the other, and Kiln beside each.
pub struct Session<'a> {
    args: &'a Args,
    dir: &'a Path,
    workload: Workload,
    /// The state of the cores; `None` on a card.
    watch: Option<Watch>,
    /// `None` on a card.
    gauge: Option<Gauge>,
    /// Bytes a second that reading reached: before all rounds, and beside each.
    bandwidths: Vec<f64>,
    /// Bytes of a token.
    bytes: u64,
}

impl<'a> Session<'a> {
    /// Measures what memory gives.
    ///
    /// # Errors
    /// For a checkpoint that cannot be read.
    pub fn new(args: &'a Args, dir: &'a Path) -> Result<Self> {
        let config = Qwen3VlConfig::from_dir(dir)?;
        let workload = Workload::new(args, &config);
        let (mut watch, mut gauge, mut bandwidths) = (None, None, Vec::new());
        if args.backend == Backend::Cpu {
            watch = Some(Watch::start(args.thread_count()));
            let pool = rayon::ThreadPoolBuilder::new().num_threads(args.thread_count()).build()?;
            let mut memory = Memory::new(&pool);
            bandwidths.push(memory.measure(&pool).read * 1e9);
            gauge = Some(Gauge { pool, memory });
        }
        let bytes = bytes_of_a_token(&config, &Checkpoint::open(dir)?, args, &workload);
        Ok(Self { args, dir, workload, watch, gauge, bandwidths, bytes })
    }

    /// The prompt.
    pub fn workload(&self) -> &Workload {
        &self.workload
    }

    /// Reads memory once more, beside the engines: a shared machine gives different bandwidth at different times.
    fn gauge(&mut self) {
        self.bandwidths.extend(self.gauge.as_mut().map(Gauge::read));
    }

    /// Runs everything that is there; a row for Kiln, and one for each peer. `tell` hears what is done next.
    ///
    /// # Errors
    /// Kiln's own: a peer's failure is its row.
    pub fn run(&mut self, tell: &mut dyn FnMut(&str)) -> Result<Vec<Row>> {
        tell("kiln loads");
        let mut kiln = Client::start(Worker::Kiln, self.args, self.dir)?;
        let mut all = Runs::default();
        for _ in 0..self.args.rounds {
            tell("kiln runs");
            all.round(&mut kiln, self.watch.as_ref())?;
            self.gauge();
        }
        all.forget_first();
        let peak = kiln.peak_bytes();
        let mut peers = Vec::new();
        let forms = FORMS.map(|(peer, forms)| match (peer, self.args.backend) {
            (Peer::Flex, Backend::Wgpu | Backend::Cuda) => (peer, &[("burn", "")][..]),
            _ => (peer, forms),
        });
        for (peer, forms) in forms {
            if self.args.wants(peer) {
                tell(&format!("{} loads", forms[0].0));
                peers.extend(self.run_peer(peer, forms, &mut kiln, &mut all, tell));
            }
        }
        for (peer, name) in EXTERNALS {
            if self.args.wants(peer) {
                tell(&format!("kiln and {name} run in turn"));
                peers.push(self.run_external(peer, name, &mut kiln, &mut all));
            }
        }
        drop(kiln);
        let figures = all.figures(&self.workload, peak);
        // A median, as Kiln's figure is: a moment in which the machine was idle is no limit for the rest of the run.
        let limit = Some(median(self.bandwidths.clone()) / self.bytes as f64).filter(|limit| limit.is_finite());
        let mut rows = vec![Row::of_kiln(self.args, figures, limit, &peers)];
        rows.append(&mut peers);
        Ok(rows)
    }

    /// A row for each way in which the peer runs.
    fn run_peer(
        &mut self,
        peer: Peer,
        forms: &[(&str, &'static str)],
        kiln: &mut Client,
        all: &mut Runs,
        tell: &mut dyn FnMut(&str),
    ) -> Vec<Row> {
        let started = match peer {
            Peer::Torch => Client::start_torch(self.args, self.dir, &self.workload),
            Peer::Flex => Client::start(Worker::Flex, self.args, self.dir),
            _ if self.args.dtype == Dtype::F32 => Client::start(Worker::Candle, self.args, self.dir),
            _ => Err("runs f32 only".into()),
        };
        let mut client = match started {
            Ok(client) => client,
            Err(error) => {
                let missing = |(name, _): &(&str, _)| Row::missing(self.args, name, &error.to_string());
                return forms.iter().map(missing).collect();
            }
        };
        let run = |&(name, form): &(&str, &'static str)| {
            client.set_form(form);
            tell(&format!("kiln and {name} run in turn"));
            match self.pair(kiln, &mut |runs, watch| runs.round(&mut client, watch).map(drop), all) {
                Ok((runs, ratio)) => {
                    let figures = runs.figures(&self.workload, client.peak_bytes());
                    Row::of_peer(self.args, name, figures, ratio, client.facts.clone())
                }
                Err(error) => Row::missing(self.args, name, &error.to_string()),
            }
        };
        forms.iter().map(run).collect()
    }

    /// Kiln, the peer, Kiln, the peer; Kiln's rounds are added to `all`.
    fn pair(&mut self, kiln: &mut Client, peer: &mut Round, all: &mut Runs) -> Result<(Runs, Ratios)> {
        let (mut ours, mut theirs) = (Runs::default(), Runs::default());
        for _ in 0..self.args.rounds {
            ours.round(kiln, self.watch.as_ref())?;
            peer(&mut theirs, self.watch.as_ref())?;
            self.gauge();
        }
        ours.forget_first();
        theirs.forget_first();
        let ratios = theirs.ratios(&ours);
        all.extend(&ours);
        Ok((theirs, ratios))
    }

    /// The row of an engine with a bench of its own.
    fn run_external(&mut self, peer: Peer, name: &str, kiln: &mut Client, all: &mut Runs) -> Row {
        let (args, workload) = (self.args, self.workload);
        let bench = match external::Bench::find(peer, args, self.dir) {
            Ok(bench) => bench,
            Err(error) => return Row::missing(args, name, &error.to_string()),
        };
        let mut facts = Vec::new();
        // It loads the model in between: what the cores were is not told.
        let mut round = |runs: &mut Runs, _: Option<&Watch>| -> Result<()> {
            let speeds = bench.run(args, &workload)?;
            let (times, text_s) = speeds.seconds(&workload);
            runs.add(times, text_s, [Span::default(); 4]);
            facts = speeds.facts;
            Ok(())
        };
        match self.pair(kiln, &mut round, all) {
            Ok((runs, ratios)) => Row::of_peer(args, name, runs.figures(&workload, None), ratios, facts),
            Err(error) => Row::missing(args, name, &error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn ratios_are_of_rounds() {
        let runs = |seconds: [f64; 2]| Runs {
            times: seconds.map(|s| Times { vision_s: s, prefill_s: s, decode_s: s }).to_vec(),
            texts: seconds.to_vec(),
            spans: vec![[Span::default(); 4]; 2],
        };
        let ratios = runs([2.0, 8.0]).ratios(&runs([1.0, 2.0]));
        assert_eq!((ratios.decode, ratios.prefill_text), (3.0, 3.0));
    }
}
