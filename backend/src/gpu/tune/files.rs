//! Choices in memory and on disk.

use super::{
    Choice, Class,
    device::{self, Place},
    measure::{Call, measure},
};
use burn_cubecl::CubeRuntime;
use burn_kiln_fusion::{KernelConfig, cube::CubeError};
use core::fmt::Debug;
use kiln_kernels::planning::{
    plan_cache::{Origin, PlanCache},
    store,
};
use std::{
    collections::HashMap,
    sync::{
        LazyLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// What tuning did in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TuneStats {
    /// Choices that were at hand.
    pub hits: u64,
    /// Choices that were measured.
    pub measured: u64,
    /// Choices that came from a file.
    pub loaded: u64,
}

/// Choices in memory at most: beyond, all are forgotten. A program that multiplies ever new shapes must not grow.
const LARGEST: usize = 4096;

static CHOICES: LazyLock<RwLock<HashMap<Place, HashMap<Class, Choice>>>> = LazyLock::new(RwLock::default);
static CACHE: LazyLock<PlanCache<Class, Choice>> = LazyLock::new(PlanCache::default);
static HITS: AtomicU64 = AtomicU64::new(0);
static MEASURED: AtomicU64 = AtomicU64::new(0);
static LOADED: AtomicU64 = AtomicU64::new(0);

/// Counters of this process.
pub fn stats() -> TuneStats {
    TuneStats { hits: HITS.load(Relaxed), measured: MEASURED.load(Relaxed), loaded: LOADED.load(Relaxed) }
}

/// Forgets every choice in memory; files stay.
pub fn forget_choices() {
    CHOICES.write().unwrap_or_else(PoisonError::into_inner).clear();
    CACHE.forget();
}

/// The choice for a class, where it is at hand.
pub(super) fn recall<R: CubeRuntime>(device: &R::Device, class: &Class) -> Option<Choice> {
    let choices = CHOICES.read().unwrap_or_else(PoisonError::into_inner);
    choices.get(&Place::of::<R>(device))?.get(class).copied()
}

/// The choice for a class: at hand, of the file, or the fastest of the `rivals`, the usual one first, which `run` runs.
///
/// # Errors
/// What `rivals` says is wrong with the call. Nothing has been launched then.
pub(super) fn choose<R: CubeRuntime, S: Copy + Debug + Send + Sync + 'static>(
    device: &R::Device,
    class: Class,
    config: &KernelConfig,
    rivals: impl FnOnce() -> Result<Vec<(S, Choice)>, CubeError>,
    run: Call<'_, S>,
) -> Result<Choice, CubeError> {
    if let Some(choice) = recall::<R>(device, &class) {
        HITS.fetch_add(1, Relaxed);
        return Ok(choice);
    }
    let rivals = rivals()?;
    let choice = match rivals.as_slice() {
        [(_, only)] => *only,
        _ => load_or_measure::<R, S>(device, &class, config, &rivals, run),
    };
    let mut choices = CHOICES.write().unwrap_or_else(PoisonError::into_inner);
    let choices = choices.entry(Place::of::<R>(device)).or_default();
    if choices.len() >= LARGEST {
        choices.clear();
    }
    choices.insert(class, choice);
    Ok(choice)
}

fn load_or_measure<R: CubeRuntime, S: Copy + Debug + Send + Sync + 'static>(
    device: &R::Device,
    class: &Class,
    config: &KernelConfig,
    rivals: &[(S, Choice)],
    run: Call<'_, S>,
) -> Choice {
    let owner = device::describe::<R>(device);
    let path = store::find_file(config.planning.folder.as_deref(), "gpu", &owner);
    let is_rival = |choice: &Choice| rivals.iter().any(|(_, rival)| rival == choice);
    let measure = || {
        let strategies: Vec<S> = rivals.iter().map(|(strategy, _)| *strategy).collect();
        let (_, choice) = rivals[measure::<R, S>(&R::client(device), &strategies, run)];
        tracing::debug!(?class, usual = ?rivals[0].1, best = ?choice, "measured");
        choice
    };
    let (choice, origin) = CACHE.find_or_measure((path, &owner), class, is_rival, measure);
    match origin {
        Origin::File => LOADED.fetch_add(1, Relaxed),
        Origin::Measured => MEASURED.fetch_add(1, Relaxed),
    };
    choice
}
