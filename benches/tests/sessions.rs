//! Cases in this process: every operation runs on Kiln and on Flex, and gives a whole row.

use kiln_benches::case::{Case, Dtype, Op, Shape};
use kiln_benches::isa::Isa;
use kiln_benches::measure::Effort;
use kiln_benches::peaks::{Bandwidth, Peaks};
use kiln_benches::session::Session;
use std::process::Command;

/// Peaks out of the air: measuring them takes gigabytes.
fn peaks(threads: usize) -> Peaks {
    Peaks {
        isa: Isa::best().tier.to_string(),
        threads,
        fma: 100.0,
        bf16: None,
        memory: Bandwidth { read: 10.0, copy: 10.0, copy_streaming: None },
        cached_copy: Vec::new(),
        states: Default::default(),
    }
}

fn session(threads: usize) -> Session {
    let effort = Effort { rounds: 1, sample: 1e-5 };
    Session::with_peaks(Isa::best(), peaks(threads), effort).expect("threads can be started")
}

#[test]
fn every_operation_gives_a_row() {
    let mut session = session(2);
    let linear = Shape::Linear { m: 4, n: 64, k: 32 };
    let heads = Shape::Heads { heads: 4, kv_heads: 2, queries: 8, keys: 8, dim: 16 };
    let rows = Shape::Rows { rows: 4, d: 64 };
    let shape_of = |op| match op {
        Op::Gemm | Op::Gemv | Op::Skinny | Op::Scaling => linear,
        Op::Attention | Op::Vision | Op::Decode | Op::Rope => heads,
        _ => rows,
    };
    for &op in <Op as clap::ValueEnum>::value_variants() {
        for dtype in Dtype::ALL {
            let row = session.measure(&Case { op, shape: shape_of(op), dtype, cold: false });
            let figures = &row.figures;
            assert!(figures.kiln.is_some_and(|kiln| kiln > 0.0) && figures.percent.is_some(), "{op} {dtype}: {row:?}");
            let is_product = matches!(op, Op::Gemm | Op::Gemv | Op::Skinny | Op::Scaling);
            assert_eq!(row.figures.kiln_packed.is_some(), is_product, "{op}");
            assert_eq!(row.is_scaling(), op == Op::Scaling);
            if op != Op::Scaling {
                assert!(row.figures.peers.contains_key("flex"), "{op} {dtype}: {:?}", row.missing);
                assert!(row.missing["torch"].contains("not asked for"));
            }
            assert!(row.figures.ratio.is_some(), "{op} {dtype}");
        }
    }
}

#[test]
fn squares_have_all_engines() {
    let case = Case { op: Op::Gemm, shape: Shape::Square { n: 48 }, dtype: Dtype::F32, cold: false };
    let row = session(1).measure(&case);
    assert!(["flex", "gemm"].iter().all(|name| row.figures.peers[*name] > 0.0), "{row:?}");
    assert_eq!(row.figures.ratios.len(), 2 * row.figures.peers.len());
}

/// Exit status, and what was printed where the status is 0, else the message.
fn run(program: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(program).args(arguments).output().expect("it was built");
    let text = if output.status.success() { &output.stdout } else { &output.stderr };
    (output.status.code(), String::from_utf8_lossy(text).into_owned())
}

#[test]
fn the_program_for_cards_explains_itself() {
    let run = |arguments: &[&str]| run(env!("CARGO_BIN_EXE_gpu"), arguments);
    let (code, help) = run(&["--help"]);
    assert_eq!(code, Some(0));
    for option in ["--backend", "--op", "--shapes", "--json", "--record", "--python", "--tune"] {
        assert!(help.contains(option), "{option}");
    }
    let (code, list) = run(&["--list", "--op", "decode", "--dtype", "bf16"]);
    assert_eq!(code, Some(0));
    assert_eq!(list.trim(), "decode       bf16  h16/8 q1 k4096 d128");
    assert_eq!(run(&["--op", "nothing"]).0, Some(2));
    let (code, message) = run(&["--shape", "no such words"]);
    assert!(code == Some(1) && message.starts_with("gpu: no case is left"), "{message}");
    if cfg!(not(feature = "cuda")) {
        let (code, message) = run(&["--backend", "cuda"]);
        assert!(code == Some(1) && message.contains("built without CUDA") && message.contains("--features cuda"));
    }
}

#[test]
fn the_program_explains_itself() {
    let run = |arguments: &[&str]| run(env!("CARGO_BIN_EXE_kernels"), arguments);
    let (code, help) = run(&["--help"]);
    assert_eq!(code, Some(0));
    for option in ["--op", "--dtype", "--isa", "--threads", "--json", "--shape", "--quick", "--python", "--caches"] {
        assert!(help.contains(option), "{option}");
    }
    let (code, list) = run(&["--list", "--op", "decode", "--dtype", "bf16"]);
    assert_eq!(code, Some(0));
    assert!(list.contains("h16/8 q1 k4096 d128 cold") && !list.contains("f32"), "{list}");
    assert_eq!(run(&["--op", "nothing"]).0, Some(2));
    assert_eq!(run(&["--list", "--shape", "no such words"]).0, Some(1));
}
