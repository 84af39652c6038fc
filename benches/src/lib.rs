//! Benchmarks of Kiln.
//!
//! `cargo run --release -p kiln-benches --bin kernels` measures what this machine can do at most, and then each kernel
//! of Kiln against that limit, plain Flex, the `gemm` crate, candle and PyTorch in one interleaved run. `--bin qwen`
//! does it for a whole model (module [`qwen`]), `--bin planning` what plans give and take (module [`planning`]), `--bin
//! gpu` what kernels on a card do (module [`gpu`]). `cargo bench -p kiln-benches` runs the small criterion benches that
//! catch regressions. Recorded tables are in `benches/record/`.
//!
//! ```text
//! args.rs        command line
//! isa.rs         the instruction set of a run
//! case/          what is measured: operations, shapes, their FLOP and bytes
//! peaks/         the machine: arithmetic in registers, bandwidth of caches and memory
//! gauges.rs      the same beside the engines, in the rounds of a case
//! roofline.rs    the limit of a case on those peaks
//! operands.rs    random tensors, rotated where a case is out of cache
//! engines/       who runs a case in this process
//! torch/         PyTorch, in a child process
//! measure.rs     A B A B, medians
//! state/         whether cores are alone or shared, before and after every sample
//! affinity.rs    engines on as many cores as they have threads
//! session.rs     one case against every engine
//! row.rs         one result: the JSON object
//! table.rs       the same for people
//! report.rs      a whole run as text
//! pieces.rs      several runs as one
//! summary/       what the figures have to show
//! program.rs     how programs with engines of their own processes begin
//! planning/      products with and without plans
//! gpu/           kernels on a card
//! train/         steps of training against PyTorch and plain Burn
//! sm61/          a decoder layer on a Pascal card, on paper, and weights that are sent to it
//! cachegrind/     naive, tiled and blocked loops for a cache simulator
//! ```

pub mod affinity;
pub mod args;
pub mod cachegrind;
pub mod case;
pub mod engines;
pub mod gauges;
pub mod gpu;
pub mod isa;
pub mod machine;
pub mod measure;
pub mod operands;
pub mod peaks;
pub mod pieces;
pub mod planning;
pub mod program;
pub mod qwen;
pub mod report;
pub mod roofline;
pub mod row;
pub mod session;
#[cfg(feature = "sm61")]
pub mod sm61;
pub mod state;
pub mod summary;
pub mod table;
pub mod torch;
pub mod train;
