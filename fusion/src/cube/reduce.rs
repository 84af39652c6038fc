//! Sums and maxima over the units of a cube.
//!
//! ```text
//! planes:          plane_sum in registers -> one partial a plane in shared memory -> barrier -> every unit folds the partials
//! shared memory:   one partial a unit -> barrier -> halve the number of partials until one is left, a barrier each time
//! ```
//!
//! Both give every unit the total. The plane form has one barrier and 1/`size` of the shared memory. Its plane
//! operation stands outside any branch: on SM6x a shuffle names all 32 lanes of a warp, and lanes that are elsewhere
//! are undefined behaviour. The last step folds at most `units / size` partials, in the same order in each unit, so all
//! get the same bits.

use super::{Unavailable, limits::Limits};
use core::fmt;
use cubecl::prelude::*;
use serde::{Deserialize, Serialize};

/// How the units of a cube add up their partial sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reduction {
    /// Within planes by plane operations, across planes through shared memory.
    Planes {
        /// Units in a plane: 32 on NVIDIA.
        size: u32,
    },
    /// A tree in shared memory: for devices without plane operations, or with planes whose size varies from kernel to
    /// kernel.
    SharedMemory,
}

impl fmt::Display for Reduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Planes { size } => write!(f, "planes of {size}"),
            Self::SharedMemory => f.write_str("a tree in shared memory"),
        }
    }
}

impl Reduction {
    /// The fastest form that the device has.
    pub(super) fn select(limits: &Limits) -> Self {
        match limits.fixed_plane {
            Some(size) => Self::Planes { size },
            None => Self::SharedMemory,
        }
    }

    /// The smallest cube that this can reduce; larger ones are multiples.
    pub(super) fn min_units(self) -> u32 {
        match self {
            Self::Planes { size } => size,
            Self::SharedMemory => 1,
        }
    }

    /// Partial sums in shared memory for a cube of `units`.
    pub(super) fn partials(self, units: u32) -> usize {
        (units / self.min_units()) as usize
    }

    /// Checks what a caller chose by hand.
    pub(super) fn check(self, limits: &Limits) -> Result<(), Unavailable> {
        let (min, max) = limits.plane_sizes;
        match self {
            Self::Planes { size } if size != min || size != max => {
                Err(Unavailable::PlaneSize { expected: size, min, max })
            }
            _ => Ok(()),
        }
    }
}

/// What two values become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Fold {
    Sum,
    Max,
}

/// The sum of `value` over the units of the cube, in every unit; of the plane where `units` are one plane.
///
/// All these units must call this, `units` of them: a power of two, and a multiple of the plane size.
#[cube]
pub(super) fn sum_cube<T: Numeric>(value: T, #[comptime] units: u32, #[comptime] reduction: Reduction) -> T {
    fold_cube::<T>(value, units, reduction, Fold::Sum)
}

/// The largest `value`; otherwise as [`sum_cube`]. NaN may be passed over.
#[cube]
pub(super) fn max_cube(value: f32, #[comptime] units: u32, #[comptime] reduction: Reduction) -> f32 {
    fold_cube::<f32>(value, units, reduction, Fold::Max)
}

#[cube]
fn fold_two<T: Numeric>(a: T, b: T, #[comptime] fold: Fold) -> T {
    match fold {
        Fold::Sum => a + b,
        Fold::Max => max(a, b),
    }
}

#[cube]
fn fold_cube<T: Numeric>(
    value: T,
    #[comptime] units: u32,
    #[comptime] reduction: Reduction,
    #[comptime] fold: Fold,
) -> T {
    let count = comptime!(reduction.partials(units));
    match reduction {
        Reduction::Planes { .. } => {
            let plane = match fold {
                Fold::Sum => plane_sum(value),
                Fold::Max => plane_max(value),
            };
            if comptime!(count == 1) { plane } else { fold_partials::<T>(plane, count, fold) }
        }
        Reduction::SharedMemory => fold_tree::<T>(value, count, fold),
    }
}

/// Folds one value a plane over the `count` planes of the cube.
#[cube]
fn fold_partials<T: Numeric>(plane: T, #[comptime] count: usize, #[comptime] fold: Fold) -> T {
    let mut partials = SharedMemory::<T>::new(count);
    if UNIT_POS_PLANE == 0 {
        partials[PLANE_POS as usize] = plane;
    }
    sync_cube();
    let mut total = partials[0];
    #[unroll]
    for i in 1..count {
        total = fold_two::<T>(total, partials[i], fold);
    }
    total
}

/// Folds one value a unit over the `count` units of the cube.
#[cube]
fn fold_tree<T: Numeric>(value: T, #[comptime] count: usize, #[comptime] fold: Fold) -> T {
    let mut partials = SharedMemory::<T>::new(count);
    let unit = UNIT_POS as usize;
    partials[unit] = value;
    sync_cube();
    let steps = comptime!(count.ilog2() as usize);
    #[unroll]
    for step in 0..steps {
        let half = comptime!(count >> (step + 1));
        if unit < half {
            partials[unit] = fold_two::<T>(partials[unit], partials[unit + half], fold);
        }
        sync_cube();
    }
    partials[0]
}
