//! Several processes on this machine: each node is this test program once more.
#![cfg(feature = "distributed")]

#[path = "fixture/mod.rs"]
mod fixture;

use burn::tensor::Tensor;
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use fixture::Case;
use qwen3_vl_burn::{LoadOptions, Qwen3Vl};
use qwen3_vl_train::data::Batch;
use qwen3_vl_train::distributed::{DistributedError, Group, NodeOptions, StepNews, sum_gradients};
use qwen3_vl_train::optim::clip_gradients;
use qwen3_vl_train::step::{BatchLoss, Gradients, Keep, LayerPlan, differentiate};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const NODE: &str = "KILN_TEST_NODE";

/// Ports that nobody has, as many in a row as the nodes need; each call gives others.
fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    let is_free = |port| TcpListener::bind(("0.0.0.0", port)).is_ok();
    loop {
        let start = first + NEXT.fetch_add(count, Ordering::Relaxed);
        assert!(start < 60_000, "no free ports");
        if (start..start + count).all(is_free) {
            return start;
        }
    }
}

fn start(what: &str, index: u32, nodes: u32, port: u16) -> Child {
    let program = Command::new(std::env::current_exe().unwrap());
    start_by(program, &format!("{what} {index} {nodes} 127.0.0.1:{port}"))
}

/// `program` is this test, or what starts it.
fn start_by(mut program: Command, task: &str) -> Child {
    program.args(["--exact", "node", "--nocapture"]).env(NODE, task);
    program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The lines that nodes print themselves.
fn said(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|line| line.strip_prefix("node says ")).map(str::to_owned).collect()
}

/// What all nodes say. burn-collective may miss a wake-up on a busy machine, which ends in the error that says so: once
/// more then.
fn run(what: &str, nodes: u32) -> Vec<Vec<String>> {
    // One group at a time: the machine may have few cores.
    static ONE: Mutex<()> = Mutex::new(());
    let _guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..4 {
        let port = free_ports(2 + 2 * nodes as u16);
        let children: Vec<Child> = (0..nodes).map(|index| start(what, index, nodes, port)).collect();
        let outputs: Vec<Output> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
        let has = |bytes: &[u8], text: &str| String::from_utf8_lossy(bytes).contains(text);
        let missed = outputs.iter().any(|output| has(&output.stderr, "Silent {") || has(&output.stdout, " waited "));
        if !missed {
            return outputs.iter().map(said).collect();
        }
    }
    panic!("four times a node did not hear of the others in time");
}

/// What each node does; nothing where this is no node.
#[test]
fn node() {
    let Ok(task) = std::env::var(NODE) else { return };
    let words: Vec<&str> = task.split(' ').collect();
    let [index, nodes] = [1, 2].map(|i| words[i].parse::<u32>().unwrap());
    let timeout = Duration::from_secs(if words[0] == "lost" { 5 } else { 20 });
    let options = NodeOptions { index, nodes, orchestrator: words[3].parse().unwrap(), listen: None, timeout };
    let device = Default::default();
    let mut group = Group::<Flex>::join(options, device).unwrap();
    match words[0] {
        "sums" => {
            group.agree("one text", "settings").unwrap();
            for round in 0..6 {
                let values = [1.0 + index as f32, round as f32, 0.1];
                let sum = group.sum(Tensor::from_floats(values, &device)).unwrap();
                println!("node says {:?}", sum.into_data().to_vec::<f32>().unwrap());
            }
            println!("node says {:?}", group.gather(&[index as f32, 7.0]).unwrap());
        }
        "gradients" => {
            let case = ["text", "image"][index as usize];
            let (model, mut gradients, loss) = run_step(vec![case], count_targets());
            let news = StepNews { loss, ends: index == 1 };
            let StepNews { loss, ends } = sum_gradients(&mut group, &model, &mut gradients, news).unwrap();
            assert!(ends, "node 1 is asked to end");
            let norm = clip_gradients(&model, &mut gradients, None, model.kernel_config()).unwrap();
            println!("node says {} {norm}", loss.mean());
        }
        "agree" => {
            let error = group.agree(if index == 1 { "five" } else { "six" }, "the data").unwrap_err();
            println!("node says {error}");
        }
        "lost" => {
            group.sum(Tensor::from_floats([1.0], &device)).unwrap();
            if index == 1 {
                std::process::exit(0);
            }
            let start = Instant::now();
            let error = group.sum(Tensor::from_floats([1.0], &device)).unwrap_err();
            assert!(matches!(error, DistributedError::Silent { .. } | DistributedError::Lost { .. }), "{error}");
            assert!(start.elapsed() < Duration::from_secs(20));
            println!("node says an error");
        }
        other => panic!("{other}"),
    }
}

/// What each of `nodes` says at the end of `sums`.
fn expected_sums(nodes: u32) -> Vec<String> {
    let ones = (1..=nodes).sum::<u32>() as f32;
    let mut tenths = 0.1f32;
    (1..nodes).for_each(|_| tenths += 0.1);
    let mut lines: Vec<String> = (0..6).map(|round| format!("{:?}", [ones, (nodes * round) as f32, tenths])).collect();
    lines.push(format!("{:?}", (0..nodes).map(|i| vec![i as f32, 7.0]).collect::<Vec<_>>()));
    lines
}

#[test]
fn sums_are_those_of_all_nodes() {
    for nodes in [2, 3] {
        for lines in run("sums", nodes) {
            assert_eq!(lines, expected_sums(nodes));
        }
    }
}

/// Two machines, as far as one machine can be two.
#[test]
#[ignore = "needs root and iproute2: it makes two network namespaces"]
fn sums_across_network_namespaces() {
    let ip = |line: &str| {
        let output = Command::new("ip").args(line.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let names = [0, 1].map(|node| format!("kiln-{}-{node}", std::process::id()));
    let [a, b] = &names;
    names.iter().for_each(|name| ip(&format!("netns add {name}")));
    ip(&format!("-n {a} link add kiln type veth peer name kiln netns {b}"));
    for (name, address) in [(a, "10.83.0.1/24"), (b, "10.83.0.2/24")] {
        ip(&format!("-n {name} addr add {address} dev kiln"));
        ip(&format!("-n {name} link set kiln up"));
        ip(&format!("-n {name} link set lo up"));
    }
    let children = [0, 1].map(|index: usize| {
        let mut program = Command::new("ip");
        program.args(["netns", "exec", &names[index]]).arg(std::env::current_exe().unwrap());
        start_by(program, &format!("sums {index} 2 10.83.0.1:4000"))
    });
    let outputs = children.map(|child| child.wait_with_output().unwrap());
    names.iter().for_each(|name| ip(&format!("netns del {name}")));
    for output in outputs {
        assert_eq!(said(&output), expected_sums(2), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Gradients of a fixture's cases in one batch.
fn run_step(cases: Vec<&str>, count: usize) -> (Qwen3Vl<Autodiff<Flex>>, Gradients<Flex>, BatchLoss) {
    let dir = fixture::folder("tiny-dense");
    let model = Qwen3Vl::<Autodiff<Flex>>::load(dir, &Default::default(), LoadOptions::default()).unwrap();
    let samples = cases.into_iter().zip(1..).map(|(case, record)| Case::open("tiny-dense", case).sample(record));
    let batch = Batch { samples: samples.collect() };
    let plan = LayerPlan::uniform(model.config(), Keep::Tape);
    let mut gradients = Gradients::new();
    let loss = differentiate(&model, &batch, count, &plan, &mut gradients).unwrap();
    (model, gradients, loss)
}

fn count_targets() -> usize {
    ["text", "image"].map(|case| Case::open("tiny-dense", case).batch().targets()).iter().sum()
}

#[test]
fn gradients_of_two_nodes_are_those_of_one_batch() {
    let all = run("gradients", 2);
    let (model, mut gradients, loss) = run_step(vec!["text", "image"], count_targets());
    let expected = [loss.mean(), clip_gradients(&model, &mut gradients, None, model.kernel_config()).unwrap()];
    assert_eq!(all[0], all[1], "the same bits on both nodes");
    let found: Vec<f64> = all[0][0].split(' ').map(|number| number.parse().unwrap()).collect();
    for (found, expected) in found.into_iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-6 * expected, "{found}, expected {expected}");
    }
}

#[test]
fn nodes_that_differ_are_named() {
    let all = run("agree", 2);
    let message = |index, other| {
        let start = "start all nodes with the same options and data";
        format!("node {other} differs from node {index} in the data: {start}")
    };
    assert_eq!(all, [[message(0, 1)], [message(1, 0)]]);
}

#[test]
fn a_lost_node_is_an_error_and_no_hang() {
    let all = run("lost", 2);
    assert_eq!(all[0], ["an error"]);
    assert!(all[1].is_empty());
}

#[test]
fn a_taken_port_is_named() {
    let port = free_ports(4);
    let _taken = TcpListener::bind(("0.0.0.0", port + 1)).unwrap();
    let orchestrator = format!("127.0.0.1:{port}").parse().unwrap();
    let options = NodeOptions { index: 0, nodes: 2, orchestrator, listen: None, timeout: Duration::from_secs(1) };
    let error = Group::<Flex>::join(options, Default::default()).unwrap_err();
    assert!(matches!(error, DistributedError::Port { port: found, .. } if found == port + 1), "{error}");
}
