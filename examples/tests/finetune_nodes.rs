//! `finetune --node`: two processes that train together.

mod scripted;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/tiny");

/// Four conversations, one a batch, two batches a step.
fn arguments<'a>(data: &'a str, out: &'a str) -> Vec<&'a str> {
    let mut arguments = vec!["--model", TINY, "--data", data, "--out", out, "--batch-size", "1", "--accumulate", "2"];
    arguments.extend(["--deterministic", "--threads", "1", "--lr", "1e-3", "--lora-dropout", "0.1"]);
    arguments
}

fn start(arguments: &[&str]) -> Child {
    let mut command = Command::new(scripted::program("finetune"));
    for name in ["RUST_LOG", "KILN_ISA", "KILN_CONFIG", "RAYON_NUM_THREADS"] {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Starts two nodes, with `extra` options for each.
fn start_pair(data: &str, outs: [&str; 2], extra: [&[&str]; 2]) -> [Child; 2] {
    let place = format!("127.0.0.1:{}", free_ports());
    [0, 1].map(|index| {
        let number = index.to_string();
        let nodes = ["--node", &number, "--nodes", "2", "--orchestrator", &place];
        start(&[&arguments(data, outs[index]), &nodes[..], extra[index]].concat())
    })
}

/// What two nodes end with. burn-collective may miss a wake-up on a busy machine, which ends in the error that says so:
/// once more then.
fn run_pair(data: &str, outs: [&str; 2], extra: [&[&str]; 2]) -> [Output; 2] {
    for _ in 0..4 {
        let outputs = start_pair(data, outs, extra).map(|node| node.wait_with_output().unwrap());
        if !outputs.iter().any(|output| said(output).contains("for the others in round")) {
            return outputs;
        }
        outs.iter().for_each(|out| drop(std::fs::remove_dir_all(out)));
    }
    panic!("four times a node did not hear of the other in time");
}

/// Six ports in a row that nobody has; each call gives others.
fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 31_000 + (std::process::id() % 10_000) as u16;
    loop {
        let start = first + NEXT.fetch_add(6, Ordering::Relaxed);
        if (start..start + 6).all(|port| TcpListener::bind(("0.0.0.0", port)).is_ok()) {
            return start;
        }
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn write_data(dir: &Path) -> String {
    let line = |question: &str, answer: &str| {
        format!(
            "{{\"messages\": [{{\"role\": \"user\", \"content\": {question:?}}}, {{\"role\": \"assistant\", \"content\": {answer:?}}}]}}\n"
        )
    };
    let lines = [line("1+1", "2"), line("2+2", "4"), line("Hi", "Hello, you"), line("A longer one?", "Yes")];
    let path = dir.join("data.jsonl");
    std::fs::write(&path, lines.concat()).unwrap();
    path.display().to_string()
}

fn losses(out: &str) -> Vec<f64> {
    let lines = std::fs::read_to_string(Path::new(out).join("metrics.csv")).unwrap();
    lines.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().parse().unwrap()).collect()
}

#[test]
fn two_nodes_take_the_steps_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let data = write_data(dir.path());
    let outs = ["alone", "a", "b"].map(|name| dir.path().join(name).display().to_string());
    let steps = ["--steps", "4", "--node-timeout", "20"];
    let alone = start(&[&arguments(&data, &outs[0]), &steps[..2]].concat()).wait_with_output().unwrap();
    assert!(alone.status.success(), "{}", said(&alone));
    for output in run_pair(&data, [&outs[1], &outs[2]], [&steps, &steps]) {
        assert!(output.status.success(), "{}", said(&output));
    }
    let expected = losses(&outs[0]);
    assert_eq!(expected.len(), 4);
    for out in &outs[1..] {
        for (found, expected) in losses(out).into_iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-5 * expected, "{found}, expected {expected}");
        }
    }
    let adapter = |out: &String| std::fs::read(Path::new(out).join("adapter/adapter_model.safetensors")).unwrap();
    assert_eq!(adapter(&outs[1]), adapter(&outs[2]), "the same bits on both nodes");
}

#[test]
fn nodes_of_other_recipes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = write_data(dir.path());
    let outs = ["a", "b"].map(|name| dir.path().join(name).display().to_string());
    let steps = [["--steps", "2", "--node-timeout", "20"], ["--steps", "3", "--node-timeout", "20"]];
    let outputs = run_pair(&data, [&outs[0], &outs[1]], [&steps[0], &steps[1]]);
    for (index, output) in outputs.into_iter().enumerate() {
        let message = format!("node {} differs from node {index} in what is trained", 1 - index);
        assert!(output.status.code() == Some(2) && said(&output).contains(&message), "{}", said(&output));
    }
}

/// The node that is left saves what was trained, says so, and ends.
#[test]
fn a_lost_node_ends_the_run_with_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let data = write_data(dir.path());
    let outs = ["a", "b"].map(|name| dir.path().join(name).display().to_string());
    let many: &[&str] = &["--steps", "100000", "--node-timeout", "5"];
    let [left, mut lost] = start_pair(&data, [&outs[0], &outs[1]], [many, many]);
    let began = Instant::now();
    let has_steps =
        || std::fs::read_to_string(Path::new(&outs[1]).join("metrics.csv")).is_ok_and(|text| text.lines().count() > 3);
    while !has_steps() {
        assert!(began.elapsed() < Duration::from_secs(120), "no steps");
        std::thread::sleep(Duration::from_millis(50));
    }
    lost.kill().unwrap();
    lost.wait().unwrap();
    let output = left.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("node 0"), "{}", said(&output));
    let checkpoints = std::fs::read_dir(Path::new(&outs[0]).join("checkpoints")).unwrap().count();
    assert_eq!(checkpoints, 1, "{}", said(&output));
}
