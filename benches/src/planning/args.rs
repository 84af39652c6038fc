//! The command line of `planning`.

use super::products::Group;
use crate::args::{parse_seconds, parse_threads};
use crate::case::Dtype;
use crate::isa::{Isa, parse_isa};
use clap::Parser;
use std::path::PathBuf;

/// Measures whether planning makes any product slower: those of the 2B, 4B and 8B decoders (1, 4, 16, 128 and 512 rows;
/// weights packed and as rows) and squares of 16 to 256, without plans, with plans, and with plans that were measured
/// (tune), in turn (A B C A B C).
///
/// A ratio is the median over the rounds of the time without plans over the time with them. A product below 0.97 is
/// measured again, for five times as long, and the second figure counts.
#[derive(Debug, Clone, Parser)]
#[command(name = "planning")]
pub struct Args {
    /// Products of these groups only
    #[arg(long, value_enum, value_name = "NAME", value_delimiter = ',')]
    pub group: Vec<Group>,
    /// Types of the weights; both if none is named. Activations are f32
    #[arg(long, value_delimiter = ',')]
    pub dtype: Vec<Dtype>,
    /// Instruction set: portable, avx2, avx512, avx512bf16 or amx; the best by default
    #[arg(long, value_name = "TIER", value_parser = parse_isa)]
    pub isa: Option<Isa>,
    /// Threads; one for each physical core by default
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    pub threads: Option<usize>,
    /// Time of each setting for each product
    #[arg(long, value_name = "S", default_value_t = 0.15, value_parser = parse_seconds)]
    pub seconds: f64,
    /// One JSON object a line for each product, in place of the table
    #[arg(long)]
    pub json: bool,
    /// Measures nothing: the products are those of earlier runs, files of the lines that --json printed
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    pub rows: Vec<PathBuf>,
    /// Also writes the table as Markdown, behind what FILE has
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
        let args = Args::try_parse_from(["planning", "--group", "2b,small", "--dtype", "bf16"]).unwrap();
        assert_eq!((args.group, args.dtype), (vec![Group::B2, Group::Small], vec![Dtype::Bf16]));
    }
}
