//! Plans: kept, measured, stored, and never a reason for other numbers.

use burn::tensor::activation::softmax;
use burn::tensor::{Distribution, Tensor};
use burn_flex::Flex;
use burn_kiln::{Kiln, scope};
use burn_kiln_fusion::config::PlanningConfig;
use burn_kiln_fusion::{AttentionInputs, AttentionOptions, Epilogue, FusedOps, KernelConfig, Weight};
use kiln_kernels::ElementType;
use kiln_kernels::planning::{Layout, ProductShape, explain_product, forget_plans, plan_file, stats};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type B = Kiln<Flex>;

/// Plans are the process's: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    forget_plans();
    turn
}

fn tuned(folder: &Path) -> KernelConfig {
    let planning = PlanningConfig { tune: true, folder: Some(folder.into()), ..Default::default() };
    KernelConfig { planning, ..Default::default() }
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<B, D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Default::default())
}

fn floats<const D: usize>(x: Tensor<B, D>) -> Vec<f32> {
    x.into_data().to_vec().unwrap()
}

fn linear(x: &Tensor<B, 2>, weight: &Weight<B>, config: &KernelConfig) -> Vec<f32> {
    floats(<B as FusedOps>::linear(x.clone(), weight, Epilogue::default(), config))
}

#[test]
fn a_class_is_planned_once() {
    let _turn = alone();
    let weight = Weight::<B>::Plain(random([192, 128]));
    let config = KernelConfig::default();
    let before = stats();
    for rows in [33, 40, 64, 33] {
        linear(&random([rows, 128]), &weight, &config);
    }
    let after = stats();
    assert_eq!((after.analytic - before.analytic, after.hits - before.hits), (1, 3));
    let off = KernelConfig { planning: PlanningConfig { enabled: false, ..Default::default() }, ..Default::default() };
    linear(&random([33, 128]), &weight, &off);
    assert_eq!(stats(), after);
    // What takes no longer than a few lookups is not looked up.
    linear(&random([16, 128]), &weight, &config);
    assert_eq!(stats(), after);
}

#[test]
fn measured_plans_are_kept_and_found_again() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let config = tuned(folder.path());
    let (x, plain) = (random([96, 200]), random([72, 200]));
    let expected = linear(&x, &Weight::Plain(plain.clone()), &KernelConfig::default());
    let packed = Weight::<B>::Plain(plain.clone()).pack(&config);
    let before = stats();
    for weight in [&Weight::Plain(plain), &packed] {
        let found = linear(&x, weight, &config);
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-3));
    }
    assert_eq!(stats().measured - before.measured, 2);
    let file = plan_file(Some(folder.path())).unwrap();
    assert!(file.is_file());

    forget_plans();
    linear(&x, &packed, &config);
    assert_eq!((stats().measured - before.measured, stats().loaded - before.loaded), (2, 1));
}

#[test]
fn files_that_cannot_be_used_are_left_alone() {
    let _turn = alone();
    let weight = Weight::<B>::Plain(random([256, 128]));
    let x = random([20, 128]);
    let oversized = "[".repeat(5 << 20);
    let foreign = r#"{"measured_by":"somebody else","plans":[]}"#;
    for content in ["", "{", "[1, 2]", r#"{"measured_by":1}"#, foreign, &oversized] {
        let folder = tempfile::tempdir().unwrap();
        let file = plan_file(Some(folder.path())).unwrap();
        std::fs::write(&file, content).unwrap();
        forget_plans();
        let before = stats();
        linear(&x, &weight, &tuned(folder.path()));
        assert_eq!((stats().measured - before.measured, stats().loaded - before.loaded), (1, 0));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), content, "a foreign file was overwritten");
    }
    // A folder that cannot be made.
    let file = tempfile::NamedTempFile::new().unwrap();
    forget_plans();
    linear(&x, &weight, &tuned(&file.path().join("below a file")));
}

#[test]
fn sizes_that_no_kernel_can_have_are_not_loaded() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let (x, weight) = (random([20, 128]), Weight::<B>::Plain(random([256, 128])));
    linear(&x, &weight, &tuned(folder.path()));
    let file = plan_file(Some(folder.path())).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let at = text.find("\"kc\":").unwrap();
    let end = at + text[at..].find(',').unwrap();
    std::fs::write(&file, format!("{}\"kc\":0{}", &text[..at], &text[end..])).unwrap();
    forget_plans();
    let before = stats();
    linear(&x, &weight, &tuned(folder.path()));
    assert_eq!((stats().measured - before.measured, stats().loaded - before.loaded), (1, 0));
}

/// With `deterministic`, nothing is measured, and any number of threads gives the same bits.
#[test]
fn deterministic_results_do_not_depend_on_threads() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let config = Arc::new(KernelConfig { deterministic: true, ..tuned(folder.path()) });
    let weights = [random([300, 700]), random([1000, 64])];
    let rows: Vec<Tensor<B, 2>> = [1, 3, 16, 130].map(|m| random([m, 700])).to_vec();
    let (left, right) = (random([257, 300]), random([300, 129]));
    let (q, k, v) = (random([1, 4, 1, 64]), random([1, 2, 3000, 64]), random([1, 2, 3000, 64]));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            scope(&config, || {
                let mut out = Vec::new();
                for x in &rows {
                    for weight in [Weight::Plain(weights[0].clone()), Weight::Plain(weights[0].clone()).pack(&config)] {
                        out.extend(linear(x, &weight, &config));
                    }
                }
                out.extend(floats(left.clone().matmul(right.clone())));
                out.extend(floats(softmax(weights[1].clone(), 1)));
                let inputs = AttentionInputs { q: q.clone(), k: k.clone(), v: v.clone() };
                out.extend(floats(<B as FusedOps>::attention(inputs, &AttentionOptions::default(), None, &config)));
                out.iter().map(|x| x.to_bits()).collect::<Vec<u32>>()
            })
        })
    };
    let before = stats().measured;
    let expected = run(1);
    for threads in [2, 3, 7] {
        assert!(run(threads) == expected, "{threads} threads");
    }
    assert_eq!(stats().measured, before);
}

#[test]
fn plans_can_be_read() {
    let _turn = alone();
    let shape = |m, layout| ProductShape { m, n: 6144, k: 2048, a: ElementType::F32, b: ElementType::Bf16, layout };
    let text = |shape| explain_product(shape, &KernelConfig::default()).unwrap().to_string();
    assert!(text(shape(1, Layout::Packed)).contains("dot products"));
    assert!(text(shape(512, Layout::Packed)).contains("blocks"));
    assert!(text(shape(1, Layout::Rows)).contains("rows of B"));
    assert_eq!(explain_product(shape(1, Layout::Packed), &KernelConfig::none()), None);
}
