//! Choices in memory and on disk.

use super::{
    Choice, Class,
    device::{self, Place},
    measure::{Call, measure},
};
use crate::planning::store;
use burn_cubecl::CubeRuntime;
use burn_kiln_fusion::{KernelConfig, cube::CubeError};
use core::fmt::Debug;
use std::{
    collections::{HashMap, hash_map::Entry},
    path::PathBuf,
    sync::{
        LazyLock, Mutex, PoisonError, RwLock,
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

/// The choices of a file.
type Kept = store::Plans<Class, Choice>;

static CHOICES: LazyLock<RwLock<HashMap<Place, HashMap<Class, Choice>>>> = LazyLock::new(RwLock::default);
static FILES: LazyLock<Mutex<HashMap<PathBuf, Kept>>> = LazyLock::new(Mutex::default);
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
    FILES.lock().unwrap_or_else(PoisonError::into_inner).clear();
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
    // One tuner at a time: two would disturb each other's clocks.
    let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    let owner = device::describe::<R>(device);
    let path = store::find_file(config.planning.folder.as_deref(), "gpu", &owner);
    let mut unkept = Kept::default();
    let kept = match &path {
        Some(path) => match files.entry(path.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(store::read(path, &owner).unwrap_or_else(|error| {
                tracing::warn!(%error, "kernels are measured again");
                Kept::default()
            })),
        },
        None => &mut unkept,
    };
    if let Some(choice) = kept.find(class).filter(|choice| rivals.iter().any(|(_, rival)| rival == choice)) {
        LOADED.fetch_add(1, Relaxed);
        return choice;
    }
    let strategies: Vec<S> = rivals.iter().map(|(strategy, _)| *strategy).collect();
    let (_, choice) = rivals[measure::<R, S>(&R::client(device), &strategies, run)];
    MEASURED.fetch_add(1, Relaxed);
    tracing::debug!(?class, usual = ?rivals[0].1, best = ?choice, "measured");
    kept.insert(class.clone(), choice);
    if let Some(path) = &path
        && let Err(error) = store::write(path, &owner, kept)
    {
        tracing::warn!(%error, "measured kernels are not kept");
    }
    choice
}
