//! From what is asked, how, and where, to what is baked into the kernel.

use super::Problem;
use crate::cube::{Reduction, Unavailable, limits::Limits};

/// Units in the largest cube. A row of 2,048 f32 then gives each unit two vectors of four to keep in flight, and an SM of
/// SM61, which holds 2,048 units, has eight rows at work.
const MAX_UNITS: u32 = 256;

/// How the caller wants the kernel made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strategy {
    /// By the device's properties.
    #[default]
    Auto,
    /// With this reduction. [`Reduction::Planes`] is taken at its word: planes must be that long on the device, and plane
    /// operations must exist, even if CubeCL does not list them.
    Reduce(Reduction),
}

/// All that the kernel is specialised on, next to its storage types. Kernels with equal blueprints are compiled once: `d` and
/// the number of rows are arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Blueprint {
    /// Units in a cube, and so on a row: a power of two.
    pub units: u32,
    /// Elements in a load or store; divides `d` and the distance between rows.
    pub vector: usize,
    /// How the units add up.
    pub reduction: Reduction,
}

impl Blueprint {
    /// The widest vectors among `widths` that divide the row, and no more units than the row has vectors.
    pub(in crate::cube) fn new(
        problem: &Problem,
        strategy: Strategy,
        limits: &Limits,
        widths: impl Iterator<Item = usize>,
    ) -> Result<Self, Unavailable> {
        let reduction = match strategy {
            Strategy::Auto => Reduction::select(limits),
            Strategy::Reduce(reduction) => {
                reduction.check(limits)?;
                reduction
            }
        };
        // Rows start at multiples of `d` or of the stride, in a buffer that is aligned for every width: alignment asks no more.
        let fits = |width: &usize| problem.d.is_multiple_of(*width) && problem.row_stride.is_multiple_of(*width);
        let vector = widths.filter(fits).max().unwrap_or(1);
        let vectors = u32::try_from(problem.d / vector).unwrap_or(u32::MAX).min(MAX_UNITS);
        let most = 1 << limits.units.min(MAX_UNITS).max(1).ilog2();
        let units = vectors.next_power_of_two().min(most).max(reduction.min_units());
        if units > limits.units {
            return Err(Unavailable::Units { found: units, limit: limits.units });
        }
        let shared = reduction.partials(units) * size_of::<f32>();
        if shared > limits.shared_bytes {
            return Err(Unavailable::SharedMemory { found: shared, limit: limits.shared_bytes });
        }
        Ok(Self { units, vector, reduction })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_std::{DType, Shape};

    fn problem(d: usize) -> Problem {
        Problem::from_shapes((Shape::from(vec![3, d]), DType::F32), (Shape::from(vec![d]), DType::F32)).unwrap()
    }

    fn sm61() -> Limits {
        Limits {
            fixed_plane: Some(32),
            plane_sizes: (32, 32),
            units: 1024,
            shared_bytes: 48 * 1024,
            cubes: (i32::MAX as u32, 65535, 65535),
        }
    }

    #[test]
    fn rows_get_wide_vectors_and_few_units() {
        let widths = || [4, 2, 1].into_iter();
        for (d, vector, units) in
            [(1, 1, 32), (3, 1, 32), (33, 1, 64), (128, 4, 32), (1000, 4, 256), (2048, 4, 256), (4099, 1, 256)]
        {
            let blueprint = Blueprint::new(&problem(d), Strategy::Auto, &sm61(), widths()).unwrap();
            assert_eq!(blueprint, Blueprint { units, vector, reduction: Reduction::Planes { size: 32 } }, "d = {d}");
        }
    }

    #[test]
    fn vectors_divide_the_distance_between_rows() {
        let padded = Problem { row_stride: 130, ..problem(128) };
        let blueprint = Blueprint::new(&padded, Strategy::Auto, &sm61(), [4, 2, 1].into_iter()).unwrap();
        assert_eq!((blueprint.vector, blueprint.units), (2, 64));
    }

    #[test]
    fn planes_of_varying_size_are_not_used() {
        let varying = Limits { fixed_plane: None, plane_sizes: (8, 32), ..sm61() };
        let blueprint = Blueprint::new(&problem(5), Strategy::Auto, &varying, [1].into_iter()).unwrap();
        assert_eq!(blueprint, Blueprint { units: 8, vector: 1, reduction: Reduction::SharedMemory });
        let forced = Strategy::Reduce(Reduction::Planes { size: 32 });
        let error = Blueprint::new(&problem(5), forced, &varying, [1].into_iter()).unwrap_err();
        assert_eq!(error, Unavailable::PlaneSize { expected: 32, min: 8, max: 32 });
    }

    #[test]
    fn small_devices_are_told_apart_from_bad_calls() {
        let few_units = Limits { units: 16, ..sm61() };
        let error = Blueprint::new(&problem(64), Strategy::Auto, &few_units, [1].into_iter()).unwrap_err();
        assert_eq!(error, Unavailable::Units { found: 32, limit: 16 });
        let little_memory = Limits { fixed_plane: None, shared_bytes: 512, ..sm61() };
        let error = Blueprint::new(&problem(256), Strategy::Auto, &little_memory, [1].into_iter()).unwrap_err();
        assert_eq!(error, Unavailable::SharedMemory { found: 1024, limit: 512 });
    }
}
