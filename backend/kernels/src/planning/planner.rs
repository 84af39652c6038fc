//! The plans of this process.

use super::analytic;
use super::choice::Choice;
use super::hasher::WordHash;
use super::key::PlanKey;
use super::plan_cache::{Origin, PlanCache};
use super::{machine, tune};
use crate::Caches;
use crate::ElementType;
use crate::Launch;
use crate::config::KernelConfig;
use crate::config::{PlanningConfig, TilingConfig};
use crate::gemm::{Plan, ProductShape};
use crate::simd::Tier;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{LazyLock, PoisonError, RwLock};

/// What planning did in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlannerStats {
    /// Plans that were cached.
    pub hits: u64,
    /// Plans that were made from the caches and the shape.
    pub analytic: u64,
    /// Plans that were measured.
    pub measured: u64,
    /// Plans that came from a file.
    pub loaded: u64,
}

/// Everything of a configuration that a plan depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Setting {
    key: PlanKey,
    blocks: [Option<usize>; 3],
    prefetch: usize,
    rounds: [bool; 2],
    tuned: bool,
}

/// Plans in memory at most: beyond, all are forgotten. A program that multiplies ever new shapes must not grow.
const LARGEST: usize = 4096;

/// Multiply-adds below which nothing is looked up: 3 to 8 µs of one thread, of which a lookup would take more than a
/// percent (16 x 16 x 16: 13 %), and no other plan was ever found to be faster.
const LEAST_WORK: usize = 1 << 19;

static PLANS: LazyLock<RwLock<HashMap<Setting, Choice, WordHash>>> = LazyLock::new(RwLock::default);
static CACHE: LazyLock<PlanCache<PlanKey, Choice>> = LazyLock::new(PlanCache::default);
static HITS: AtomicU64 = AtomicU64::new(0);
static ANALYTIC: AtomicU64 = AtomicU64::new(0);
static MEASURED: AtomicU64 = AtomicU64::new(0);
static LOADED: AtomicU64 = AtomicU64::new(0);

/// Counters of this process.
pub fn stats() -> PlannerStats {
    PlannerStats {
        hits: HITS.load(Relaxed),
        analytic: ANALYTIC.load(Relaxed),
        measured: MEASURED.load(Relaxed),
        loaded: LOADED.load(Relaxed),
    }
}

/// Forgets every plan in memory; files stay.
pub fn forget_plans() {
    PLANS.write().unwrap_or_else(PoisonError::into_inner).clear();
    CACHE.forget();
}

/// How a product of `shape` runs.
pub fn plan_product(shape: ProductShape, config: &KernelConfig) -> Plan {
    let usual = Plan::from(config);
    if !config.planning.enabled || shape.work() < LEAST_WORK {
        return usual;
    }
    let TilingConfig { mc, kc, nc, .. } = config.tiling;
    let setting = Setting {
        key: PlanKey::new(shape, usual.launch),
        blocks: [mc, kc, nc],
        prefetch: usual.launch.prefetch,
        rounds: [usual.bf16_activations, usual.bf16_products],
        tuned: config.planning.tune && !config.deterministic,
    };
    let found = PLANS.read().unwrap_or_else(PoisonError::into_inner).get(&setting).copied();
    if let Some(choice) = found {
        HITS.fetch_add(1, Relaxed);
        return choice.apply_to(usual);
    }
    let choice = if setting.tuned {
        measure_or_load(&setting, &usual, &config.planning)
    } else {
        ANALYTIC.fetch_add(1, Relaxed);
        model(&setting, &usual)
    };
    let mut plans = PLANS.write().unwrap_or_else(PoisonError::into_inner);
    if plans.len() >= LARGEST {
        plans.clear();
    }
    plans.insert(setting, choice);
    choice.apply_to(usual)
}

/// The plan that the model of its time gives, with the sizes that the configuration fixes.
fn model(setting: &Setting, usual: &Plan) -> Choice {
    let shape @ ProductShape { a, b, .. } = setting.key.shape;
    // The loops around instructions for bf16 derive blocks of their own.
    let multiplies_bf16 = matches!(setting.key.tier, Tier::Avx512Bf16 | Tier::Amx)
        && match (a, b) {
            (ElementType::Bf16, ElementType::Bf16) => true,
            (ElementType::F32, ElementType::Bf16) => setting.rounds[0],
            (ElementType::F32 | ElementType::Bf16, ElementType::F32) => setting.rounds[1],
            _ => false,
        };
    if multiplies_bf16 {
        return Choice::of(usual, &shape);
    }
    analytic::choose(shape, usual, setting.blocks.iter().any(Option::is_some), Caches::detect())
}

/// The plan of the file, else the fastest of the candidates, which is written to the file.
fn measure_or_load(setting: &Setting, usual: &Plan, planning: &PlanningConfig) -> Choice {
    // Sizes that the configuration fixes are not tuned, so such plans are not those of the file.
    let fixed = setting.blocks.iter().any(Option::is_some)
        || setting.prefetch != Launch::OWN_PREFETCH
        || setting.rounds != [true, false];
    let path = if fixed { None } else { machine::plan_file(planning.folder.as_deref()) };
    let measure = || {
        tune::measure(
            &setting.key.shape,
            &model(setting, usual).apply_to(*usual),
            setting.blocks.map(|size| size.is_some()),
        )
    };
    let (choice, origin) = CACHE.find_or_measure((path, &machine::describe()), &setting.key, Choice::is_valid, measure);
    match origin {
        Origin::File => LOADED.fetch_add(1, Relaxed),
        Origin::Measured => MEASURED.fetch_add(1, Relaxed),
    };
    choice
}
