//! Sums over the units of a cube.
//!
//! ```text
//! planes:          plane_sum in registers -> one partial a plane in shared memory -> barrier -> every unit adds the partials
//! shared memory:   one partial a unit -> barrier -> halve the number of partials until one is left, a barrier each time
//! ```
//!
//! Both give every unit the total. The plane form has one barrier and 1/`size` of the shared memory. Its plane operation
//! stands outside any branch: on SM6x a shuffle names all 32 lanes of a warp, and lanes that are elsewhere are undefined
//! behaviour. The last step adds at most `units / size` partials, in the same order in each unit, so all get the same bits.

use super::{Unavailable, limits::Limits};
use cubecl::prelude::*;

/// How the units of a cube add up their partial sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Within planes by plane operations, across planes through shared memory.
    Planes {
        /// Units in a plane: 32 on NVIDIA.
        size: u32,
    },
    /// A tree in shared memory: for devices without plane operations, or with planes whose size varies from kernel to kernel.
    SharedMemory,
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

/// The sum of `value` over the units of the cube, in every unit.
///
/// All units of the cube must call this, `units` of them: a power of two, and a multiple of the plane size.
#[cube]
pub(super) fn sum_cube(value: f32, #[comptime] units: u32, #[comptime] reduction: Reduction) -> f32 {
    let count = comptime!(reduction.partials(units));
    match reduction {
        Reduction::Planes { .. } => {
            let plane = plane_sum(value);
            if comptime!(count == 1) { plane } else { sum_partials(plane, count) }
        }
        Reduction::SharedMemory => sum_tree(value, count),
    }
}

/// Adds one value a plane over the `count` planes of the cube.
#[cube]
fn sum_partials(plane: f32, #[comptime] count: usize) -> f32 {
    let mut partials = SharedMemory::<f32>::new(count);
    if UNIT_POS_PLANE == 0 {
        partials[PLANE_POS as usize] = plane;
    }
    sync_cube();
    let mut total = 0.0f32;
    #[unroll]
    for i in 0..count {
        total += partials[i];
    }
    total
}

/// Adds one value a unit over the `count` units of the cube.
#[cube]
fn sum_tree(value: f32, #[comptime] count: usize) -> f32 {
    let mut partials = SharedMemory::<f32>::new(count);
    let unit = UNIT_POS as usize;
    partials[unit] = value;
    sync_cube();
    let steps = comptime!(count.ilog2() as usize);
    #[unroll]
    for step in 0..steps {
        let half = comptime!(count >> (step + 1));
        if unit < half {
            let other = partials[unit + half];
            partials[unit] += other;
        }
        sync_cube();
    }
    partials[0]
}
