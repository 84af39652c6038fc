//! The protocol with PyTorch's child, against scripts of a shell that play it well and badly.
#![cfg(unix)]

use kiln_benches::case::{Case, Dtype, Op, Shape};
use kiln_benches::gpu::case::{Case as CardCase, Dtype as CardDtype, Op as CardOp};
use kiln_benches::gpu::shapes::Shapes;
use kiln_benches::measure::{Effort, Failure, interleave};
use kiln_benches::torch::{Launch, SCRIPT, Torch, TorchDevice};
use std::time::{Duration, Instant};

const CASE: Case = Case { op: Op::Gemm, shape: Shape::Linear { m: 2, n: 3, k: 4 }, dtype: Dtype::F32, cold: false };

const GREETING: &str = r#"echo '{"ready": true, "torch": "9.9", "capability": "NONE", "threads": 3}'"#;

/// A shell takes `-u -c SCRIPT THREADS DEVICE` as Python does.
fn launch(script: &str) -> Launch {
    Launch {
        python: "sh".into(),
        script: format!("{GREETING}\n{script}"),
        threads: 3,
        avx2: true,
        device: TorchDevice::Cpu,
        timeout: Duration::from_secs(10),
    }
}

/// A child that answers `prepare` with two columns, and each `run` with `seconds` a request.
fn answer(seconds: &str) -> String {
    format!(
        r#"while read line; do case "$line" in
            *'"prepare"'*) echo '{{"variants": {{"torch": "linear", "torch prepacked": ""}}}}';;
            *'"run"'*) {seconds};;
            *) echo '{{}}';;
        esac; done"#
    )
}

fn failure_of(script: &str) -> String {
    let (engines, missing) = Torch::start(launch(script)).prepare(&CASE);
    assert!(engines.is_empty());
    missing[0].1.to_string()
}

#[test]
fn columns_are_timed_by_the_child() {
    let mut torch = Torch::start(launch(&answer(r#"echo '{"seconds": 0.25}'"#)));
    assert_eq!(torch.describe(), "torch 9.9 (NONE, 3 threads)");
    let (mut engines, missing) = torch.prepare(&CASE);
    assert!(missing.is_empty());
    let names: Vec<String> = engines.iter().map(|engine| engine.name().to_string()).collect();
    assert_eq!(names, ["torch", "torch prepacked"]);
    assert_eq!(engines[0].note().as_deref(), Some("linear"));
    assert_eq!(engines[1].note(), None);
    assert_eq!(engines[0].run(7), Ok(Duration::from_millis(250)));
    let samples = interleave(&mut engines, 1, Effort { rounds: 3, sample: 0.02 });
    assert!(samples.iter().all(|samples| samples.as_ref().is_ok_and(|seconds| seconds.len() == 3)));
    torch.finish();
}

#[test]
fn the_environment_holds_it_to_avx2() {
    let script = r#"read line; printf '{"error": "%s %s %s %s %s"}\n' "$ATEN_CPU_CAPABILITY" "$ONEDNN_MAX_CPU_ISA" "$MKL_ENABLE_INSTRUCTIONS" "$0" "$1""#;
    assert_eq!(failure_of(script), "avx2 AVX2 AVX2 3 cpu");
}

#[test]
fn requests_say_what_to_prepare() {
    // The request comes back as the message of an error, with its quotes taken off.
    let script = r#"read line; printf '{"error": "%s"}\n' "$(printf %s "$line" | tr -d '"')""#;
    let request = failure_of(script);
    for part in ["do:prepare", "op:gemm", "dtype:f32", "k:4", "m:2", "n:3", "sets:1"] {
        assert!(request.contains(part), "{request}");
    }
}

#[test]
fn its_errors_are_failures() {
    assert_eq!(failure_of(r#"read line; echo '{"error": "no such op"}'; read line"#), "no such op");
    let mut torch = Torch::start(launch(&answer(r#"echo '{"error": "no memory"}'"#)));
    let (mut engines, _) = torch.prepare(&CASE);
    assert_eq!(engines[0].run(1), Err(Failure::Child("no memory".into())));
}

#[test]
fn one_that_ends_is_a_failure() {
    let failure = failure_of("exit 3");
    assert!(failure.starts_with("the child ended") && failure.contains('3'), "{failure}");
}

#[test]
fn one_that_hangs_is_ended() {
    let begin = Instant::now();
    let hangs = Launch { timeout: Duration::from_millis(200), ..launch("read line; read line") };
    let (_, missing) = Torch::start(hangs).prepare(&CASE);
    let failure = missing[0].1.to_string();
    assert!(failure.starts_with("the child was silent for 0.2 s"), "{failure}");
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn one_that_talks_nonsense_is_ended() {
    let failure = failure_of("read line; echo hello; read line");
    assert!(failure.starts_with("the child's answer is no JSON"), "{failure}");
}

#[test]
fn one_that_ended_is_started_again_for_the_next_case() {
    let mut torch = Torch::start(launch(&answer("exit 1")));
    let (mut engines, _) = torch.prepare(&CASE);
    assert!(engines[0].run(1).is_err() && !torch.is_running());
    assert!(engines[1].run(1).is_err());
    drop(engines);
    let (engines, missing) = torch.prepare(&CASE);
    assert_eq!((engines.len(), missing.len()), (2, 0));
}

#[test]
fn without_python_the_column_says_so() {
    let mut torch = Torch::start(Launch { python: "/no/such/python9".into(), ..launch("") });
    let (_, missing) = torch.prepare(&CASE);
    let failure = missing[0].1.to_string();
    assert!(failure.starts_with("no Python at python9"), "{failure}");
    assert!(!failure.contains("/no/such"), "{failure}");
}

/// The real script on the CPU, where there is a Python with PyTorch.
fn start_pytorch() -> Option<Torch> {
    let python = std::env::var_os("KILN_PYTHON").unwrap_or_else(|| "python3".into());
    let launch = Launch {
        python: python.into(),
        script: SCRIPT.into(),
        threads: 1,
        avx2: false,
        device: TorchDevice::Cpu,
        timeout: Duration::from_secs(60),
    };
    let torch = Torch::start(launch);
    if !torch.is_running() {
        eprintln!("skipped: {}", torch.describe());
        return None;
    }
    Some(torch)
}

/// What the card's program asks of it.
#[test]
fn pytorch_runs_every_operation_of_cards() {
    let Some(mut torch) = start_pytorch() else { return };
    for &op in <CardOp as clap::ValueEnum>::value_variants() {
        for shape in Shapes::Small.list(op) {
            for dtype in [CardDtype::F32, CardDtype::Bf16] {
                let case = CardCase { op, shape, dtype };
                let (mut engines, missing) = torch.prepare_request(&case.request(2));
                assert!(missing.is_empty() && !engines.is_empty(), "{op} {dtype}: {missing:?}");
                let time = engines[0].run(3);
                assert!(time.as_ref().is_ok_and(|time| !time.is_zero()), "{op} {dtype}: {time:?}");
            }
        }
    }
}

#[test]
fn pytorch_runs_every_operation() {
    let Some(mut torch) = start_pytorch() else { return };
    let linear = Shape::Linear { m: 4, n: 64, k: 32 };
    let heads = Shape::Heads { heads: 4, kv_heads: 2, queries: 8, keys: 8, dim: 16 };
    let rows = Shape::Rows { rows: 4, d: 64 };
    let mut cases: Vec<(Op, Shape)> = vec![(Op::Gemm, linear), (Op::Gemm, Shape::Square { n: 32 }), (Op::Rope, heads)];
    cases.extend([Op::Attention, Op::Vision, Op::Decode].map(|op| (op, heads)));
    let by_rows = [Op::Softmax, Op::LayerNorm, Op::RmsNorm, Op::AddNorm, Op::Gelu, Op::GeluTanh, Op::Silu, Op::SiluMul];
    cases.extend(by_rows.map(|op| (op, rows)));
    cases.extend([Op::Exp, Op::Add, Op::Mul].map(|op| (op, rows)));
    for (op, shape) in cases {
        for dtype in Dtype::ALL {
            let (mut engines, missing) = torch.prepare(&Case { op, shape, dtype, cold: false });
            assert!(missing.is_empty() && !engines.is_empty(), "{op} {dtype}: {missing:?}");
            // Plain columns run on every CPU; prepacked ones are allowed to say that this one lacks something.
            let time = engines[0].run(3);
            assert!(time.as_ref().is_ok_and(|time| !time.is_zero()), "{op} {dtype}: {time:?}");
        }
    }
    let probe = Case { op: Op::Gemm, shape: Shape::Linear { m: 64, n: 64, k: 64 }, dtype: Dtype::F32, cold: false };
    let ran = torch.explain(&probe, "torch").expect("the child explains");
    assert!(!ran.is_empty());
}
