//! The command line of `gpu`.

use super::case::{Case, Dtype, Op};
use super::shapes::Shapes;
use crate::args::parse_seconds;
use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// Measures Kiln's CubeCL kernels on a card, against plain Burn's composition and PyTorch on the same card and against
/// the card's limits.
///
/// First the card's peaks are measured (reading, copying, multiply-adds, what a launch takes of the host), then each
/// shape by every engine in turn (A B A B); figures are medians in GFLOP/s or GB/s, ratios are medians of the rounds'
/// ratios, above 1 where Kiln is ahead. PyTorch times itself by CUDA's events; where it is not there, the reason is
/// told.
///
/// Build with `--features cuda` (and CUDARC_CUDA_VERSION=12080, for CUDA 13 has no Pascal) or `--features wgpu`.
#[derive(Debug, Clone, Parser)]
#[command(name = "gpu")]
pub struct Args {
    /// How the card is reached.
    #[arg(long, value_enum, default_value = "cuda")]
    pub backend: Backend,
    /// Operations; all when none is named.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub op: Vec<Op>,
    /// Element types; all that the device can store when none is named.
    #[arg(long, value_delimiter = ',')]
    pub dtype: Vec<Dtype>,
    /// Which shapes: those of the 2B model, or small ones that try the program out.
    #[arg(long, value_enum, value_name = "SET", default_value = "2b")]
    pub shapes: Shapes,
    /// Only shapes whose words are all in this, for example "m1 k2048"; see --list.
    #[arg(long, value_name = "WORDS")]
    pub shape: Option<String>,
    /// Prints the cases that would run, and ends.
    #[arg(long)]
    pub list: bool,
    /// Time of each engine for each shape, split into at least 5 rounds of at least 20 ms; calls that take long get
    /// fewer.
    #[arg(long, value_name = "S", default_value_t = 0.2, value_parser = parse_seconds)]
    pub seconds: f64,
    /// Kiln measures rival strategies at a shape's first call and keeps the fastest (`gpu.tune`).
    #[arg(long)]
    pub tune: bool,
    /// Interpreter with PyTorch.
    #[arg(long, value_name = "PATH", env = "KILN_PYTHON", default_value = "python3")]
    pub python: PathBuf,
    /// Leaves PyTorch out.
    #[arg(long)]
    pub no_torch: bool,
    /// One JSON object a line in place of the table: first the card, then a row for each case.
    #[arg(long)]
    pub json: bool,
    /// Also writes the table as Markdown; behind what the file has, if it is there.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

/// How a card is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// CUDA 12: NVIDIA, from Pascal up. Needs the feature `cuda`.
    Cuda,
    /// Vulkan. Needs the feature `wgpu`.
    Wgpu,
}

impl Args {
    /// The cases to run, in the order of the operations.
    pub fn cases(&self) -> Vec<Case> {
        let ops = if self.op.is_empty() { Op::value_variants() } else { &self.op };
        let dtypes = if self.dtype.is_empty() { Dtype::value_variants() } else { &self.dtype };
        let wanted = |case: &Case| {
            let label = case.label();
            let has = |word: &str| label.split_whitespace().any(|part| part == word);
            self.shape.as_deref().is_none_or(|words| words.split_whitespace().all(has))
        };
        let of = |&op: &Op| {
            dtypes
                .iter()
                .flat_map(move |&dtype| self.shapes.list(op).into_iter().map(move |shape| Case { op, shape, dtype }))
        };
        ops.iter().flat_map(of).filter(wanted).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
        let parse = |line: &str| Args::try_parse_from(line.split_whitespace());
        let args = parse("gpu --op linear,softmax --dtype f16 --shapes small --shape m1").unwrap();
        let cases = args.cases();
        assert!(!cases.is_empty() && cases.iter().all(|case| case.op == Op::Linear && case.dtype == Dtype::F16));
        assert_eq!(args.backend, Backend::Cuda);
        for line in ["gpu --op nothing", "gpu --backend cpu", "gpu --seconds 0", "gpu --dtype f64"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
