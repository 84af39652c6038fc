//! The command line of `kernels`.

use crate::cachegrind::Loops;
use crate::case::{Case, Dtype, Op, Shapes};
use crate::engines::Peer;
use crate::isa::{Isa, parse_isa};
use crate::state::{State, Wait};
use clap::{Parser, ValueEnum};
use kiln_kernels::{Caches, Cores};
use std::path::PathBuf;
use std::time::Duration;

/// Measures Kiln's CPU kernels against this machine's limits and against plain Flex, the gemm crate, candle and
/// PyTorch.
///
/// First the machine's peaks are measured (multiply-adds in registers, bandwidth of caches and memory), then each shape
/// by every engine in turn (A B A B); figures are medians in GFLOP/s or GB/s, ratios are medians of the rounds' ratios,
/// above 1 where Kiln is ahead. Peers that are not there are named with the reason.
///
/// Before and after each sample the cores are gauged: whether a thread has one of its own or shares it with a busy
/// hyperthread, of this machine or of a stranger's. Figures, limits and ratios are of samples in one state. Engines are
/// held to as many cores as they have threads.
///
/// Build with `--features peers` for candle, and with `--features x86-v4` for the gemm crate's (and so Flex's) AVX-512
/// kernels; a build without the latter holds both to AVX2.
#[derive(Debug, Clone, Parser)]
#[command(name = "kernels")]
pub struct Args {
    /// Operations; all when none is named.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub op: Vec<Op>,
    /// Element types; both when none is named.
    #[arg(long, value_delimiter = ',')]
    pub dtype: Vec<Dtype>,
    /// Instruction set of Kiln's kernels: portable, avx2, avx512 or a higher one that this build knows. avx2 and below
    /// hold PyTorch, oneDNN and MKL to AVX2 too. By default the one of KILN_ISA, else the best.
    #[arg(long, value_name = "TIER", value_parser = parse_isa)]
    pub isa: Option<Isa>,
    /// Threads of every engine, or several numbers to run one after the other; by default one for each physical core,
    /// then 1.
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = parse_threads)]
    pub threads: Vec<usize>,
    /// Only shapes whose words are all in this, for example "m512 k2048" or "64M"; see --list.
    #[arg(long, value_name = "WORDS")]
    pub shape: Option<String>,
    /// A few shapes of each operation, f32 unless --dtype says otherwise, on all threads: some two minutes with the
    /// torch peer.
    #[arg(long)]
    pub quick: bool,
    /// Which of the models' shapes: all, or the standard ones: one to five of each operation, what a recorded table
    /// has.
    #[arg(long, value_name = "SET", default_value = "all", conflicts_with = "quick")]
    pub shapes: Shapes,
    /// Prints the cases that would run, and ends.
    #[arg(long)]
    pub list: bool,
    /// Time of each engine for each shape, split into at least 5 rounds of at least 20 ms; calls that take long get
    /// fewer.
    #[arg(long, value_name = "S", default_value_t = 0.2, value_parser = parse_seconds)]
    pub seconds: f64,
    /// Measures until each engine has its rounds in each of these states of the cores: alone, shared with a busy
    /// hyperthread each, or partly. Without it, samples are taken as they come, and what was measured in which state is
    /// told apart.
    #[arg(long, value_name = "STATE", value_enum, value_delimiter = ',')]
    pub state: Vec<State>,
    /// The most time that a case takes for --state; what is missing then is measured in whatever state there is.
    #[arg(long, value_name = "S", default_value_t = 30.0, value_parser = parse_seconds, requires = "state")]
    pub patience: f64,
    /// Interpreter with PyTorch; by default KILN_PYTHON, else python3.
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// Peers to measure; all that are there when none is named. Those of this process are slow in bf16.
    #[arg(long, value_name = "NAME", value_enum, value_delimiter = ',')]
    pub peers: Vec<Peer>,
    /// Leaves PyTorch out.
    #[arg(long)]
    pub no_torch: bool,
    /// Data caches for block sizes, in place of the detected ones: bytes, or with K or M. The i5-10210U: 32K,256K,6M.
    #[arg(long, value_name = "L1D,L2,L3", value_parser = parse_caches)]
    pub caches: Option<Caches>,
    /// One JSON object a line in place of the table: first the machine, then a row for each case.
    #[arg(long)]
    pub json: bool,
    /// Also says which of the project's goals the figures reach.
    #[arg(long)]
    pub summary: bool,
    /// Measures nothing: the rows are those of earlier runs, files of the lines that --json printed.
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    pub rows: Vec<PathBuf>,
    /// Also writes the table, and the goals, as Markdown; behind what the file has, if it is there.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Measures nothing: runs the operation of --op (gemm, attention or softmax) once, on one thread, AVX2 and the
    /// i5-10210U's caches, for a cache simulator; see benches/cachegrind.sh.
    #[arg(long, value_name = "LOOPS", requires = "op")]
    pub cachegrind: Option<Loops>,
}

pub(crate) fn parse_threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=4096) => Ok(threads),
        _ => Err("a number of threads, from 1".into()),
    }
}

pub(crate) fn parse_seconds(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|s| (0.001..=600.0).contains(s)).ok_or("seconds, 0.001 to 600".into())
}

fn parse_caches(text: &str) -> Result<Caches, String> {
    let size = |text: &str| {
        let text = text.trim();
        let (digits, unit) = match text.strip_suffix(['k', 'K']) {
            Some(digits) => (digits, 1 << 10),
            None => text.strip_suffix(['m', 'M']).map_or((text, 1), |digits| (digits, 1 << 20)),
        };
        digits.parse::<usize>().ok()?.checked_mul(unit)
    };
    match text.split(',').map(size).collect::<Option<Vec<_>>>().as_deref() {
        Some(&[l1d, l2, l3]) => Ok(Caches { l1d, l2, l3 }),
        _ => Err("three sizes, for example 32K,256K,6M".into()),
    }
}

impl Args {
    /// The cases to run, in the order of the operations.
    pub fn cases(&self) -> Vec<Case> {
        let ops = if self.op.is_empty() { Op::value_variants() } else { &self.op };
        let dtypes = match self.dtype.as_slice() {
            [] if self.quick => &[Dtype::F32],
            [] => Dtype::ALL.as_slice(),
            dtypes => dtypes,
        };
        let shapes = if self.quick { Shapes::Quick } else { self.shapes };
        let wanted = |case: &Case| {
            let label = case.label();
            let has = |word: &str| label.split_whitespace().any(|part| part == word);
            self.shape.as_deref().is_none_or(|words| words.split_whitespace().all(has))
        };
        ops.iter()
            .flat_map(|&op| dtypes.iter().flat_map(move |&dtype| shapes.cases(op, dtype)))
            .filter(wanted)
            .collect()
    }

    /// Numbers of threads to run with: one for each physical core and 1, or the former alone where it is quick.
    pub fn thread_counts(&self) -> Vec<usize> {
        let all = Cores::detect().count;
        match self.threads.as_slice() {
            [] if self.quick || all == 1 => vec![all],
            [] => vec![all, 1],
            threads => threads.to_vec(),
        }
    }

    /// Who is measured beside Kiln.
    pub fn peers(&self) -> Vec<Peer> {
        if self.peers.is_empty() { Peer::ALL.into() } else { self.peers.clone() }
    }

    /// What samples wait for.
    pub fn wait(&self) -> Option<Wait> {
        let (states, patience) = (self.state.clone(), Duration::from_secs_f64(self.patience));
        (!states.is_empty()).then_some(Wait { states, patience })
    }

    /// The interpreter.
    pub fn python(&self) -> PathBuf {
        let named = || std::env::var_os("KILN_PYTHON").map(PathBuf::from);
        self.python.clone().or_else(named).unwrap_or_else(|| "python3".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_kiln_fusion::config::IsaChoice;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("kernels").chain(line.split_whitespace()))
    }

    #[test]
    fn a_full_command_line() {
        let args = parse("--op gemm,layer_norm --dtype bf16 --isa portable --threads 2,1 --json --caches 32K,256K,6M");
        let args = args.expect("all of these exist");
        assert_eq!(args.op, [Op::Gemm, Op::LayerNorm]);
        assert_eq!(args.thread_counts(), [2, 1]);
        assert!(args.json && args.isa.is_some_and(|isa| isa.choice == IsaChoice::Portable && isa.is_held()));
        assert_eq!(args.caches, Some(Caches { l1d: 32 << 10, l2: 256 << 10, l3: 6 << 20 }));
        assert!(args.cases().iter().all(|case| case.dtype == Dtype::Bf16));
    }

    #[test]
    fn bad_values_are_refused() {
        for line in
            ["--op no_such", "--isa sse9", "--threads 0", "--seconds -1", "--seconds 0", "--caches 32K", "--dtype f64"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn states_and_peers_are_chosen() {
        let args = parse("--state alone,shared --patience 5").expect("valid");
        let wait = Wait { states: vec![State::Alone, State::Shared], patience: Duration::from_secs(5) };
        assert_eq!(args.wait(), Some(wait));
        assert_eq!(parse("").expect("valid").wait(), None);
        assert_eq!(parse("--peers torch").expect("valid").peers(), [Peer::Torch]);
        assert_eq!(parse("").expect("valid").peers(), Peer::ALL);
        assert!(parse("--state mixed").is_err() && parse("--patience 5").is_err());
    }

    #[test]
    fn shapes_are_chosen_by_words() {
        let mut args = parse("--op gemm --dtype f32").expect("valid");
        let all = args.cases().len();
        args.shape = Some("m512 k2048".into());
        let some = args.cases();
        assert!(!some.is_empty() && some.len() < all);
        assert!(some.iter().all(|case| case.label().contains("m512 ") && case.label().contains("k2048")));
    }

    #[test]
    fn quick_is_a_subset() {
        let (all, quick) = (parse("--dtype f32").expect("valid").cases(), parse("--quick").expect("valid").cases());
        assert!(quick.iter().all(|case| all.contains(case)));
        assert!(quick.len() * 4 < all.len());
        let standard = parse("--dtype f32 --shapes standard").expect("valid").cases();
        assert!(standard.iter().all(|case| all.contains(case)));
        assert!((quick.len()..all.len() / 2).contains(&standard.len()));
        assert!(parse("--quick --shapes standard").is_err());
    }
}
