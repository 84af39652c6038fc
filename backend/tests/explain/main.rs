//! What `explain_op` and `explain_linear` tell is what runs: routes and probes are compared with the text for many
//! shapes and configurations. A file, and so a process, of its own: they count for the process.

mod attention;
mod groups;
mod products;

use burn::tensor::{Distribution, Tensor};
use burn_flex::Flex;
use burn_kiln::routes::{Route, count};
use burn_kiln::{Kiln, OpShape};
use burn_kiln_fusion::{KernelConfig, Weight};
use std::sync::{Mutex, MutexGuard, PoisonError};

type B = Kiln<Flex>;

/// One test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<B, D> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &Default::default())
}

fn ones(d: usize) -> Tensor<B, 1> {
    Tensor::ones([d], &Default::default())
}

fn explain(op: &OpShape<&Weight<B>>, config: &KernelConfig) -> String {
    B::explain_op(op, &Default::default(), config).expect("the CPU tells of every op")
}

/// How often `route` runs in `work`.
fn runs(route: Route, work: impl FnOnce()) -> u64 {
    let before = count(route);
    work();
    count(route) - before
}

/// Changes a configuration.
type Turn = fn(&mut KernelConfig);

/// The default, the default without each switch that decides of a kernel, and nothing at all.
fn configs() -> Vec<(&'static str, KernelConfig)> {
    let turns: [(&str, Turn); 13] = [
        ("default", |_| {}),
        ("tiling", |config| config.tiling.enabled = false),
        ("blocking", |config| config.blocking.enabled = false),
        ("simd", |config| config.simd.enabled = false),
        ("attention", |config| config.fusion.attention = false),
        ("qk_norm_rope", |config| config.fusion.qk_norm_rope = false),
        ("mlp", |config| config.fusion.mlp = false),
        ("norm_linear", |config| config.fusion.norm_linear = false),
        ("add_norm", |config| config.fusion.add_norm = false),
        ("moe", |config| config.fusion.moe = false),
        ("one thread", |config| config.threads.max = Some(1)),
        ("tiles", |config| (config.tiling.attention_q, config.tiling.attention_k) = (Some(48), Some(64))),
        ("deterministic", |config| config.deterministic = true),
    ];
    let turned = turns.map(|(name, turn)| {
        let mut config = KernelConfig::default();
        turn(&mut config);
        (name, config)
    });
    turned.into_iter().chain([("none", KernelConfig::none())]).collect()
}

/// Runs `work` for each configuration on two threads.
fn for_configs(work: impl Fn(&str, &KernelConfig) + Sync + Send) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("a pool of two threads");
    pool.install(|| configs().iter().for_each(|(name, config)| work(name, config)));
}
