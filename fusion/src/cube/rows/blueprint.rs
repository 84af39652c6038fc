//! From what is asked, how, and where, to what is baked into a kernel over rows.

use crate::cube::{Reduction, Unavailable, limits::Limits};
use core::fmt;

/// Units in the largest cube. A row of 2,048 f32 then gives each unit two vectors of four to keep in flight, and an SM
/// of SM61, which holds 2,048 units, has eight rows at work.
const MAX_UNITS: u32 = 256;

/// Units in a cube of short rows. An SM of SM61 runs 32 cubes and 2,048 units: cubes of one plane of 32 would fill half
/// of it, cubes of 64 all. Later SMs run 16 to 32 cubes; 128 units fill them too.
const SHORT_ROW_UNITS: u32 = 128;

/// How the caller wants the kernel made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strategy {
    /// By the device's properties.
    #[default]
    Auto,
    /// With this reduction. [`Reduction::Planes`] is taken at its word: planes must be that long on the device, and
    /// plane operations must exist, even if CubeCL does not list them.
    Reduce(Reduction),
}

/// All that the kernel is specialised on, next to its storage types. Kernels with equal blueprints are compiled once:
/// the length and the number of rows are arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Blueprint {
    /// Units on a row: a power of two.
    pub units: u32,
    /// Rows in a cube; more than one only where a plane is a row's.
    pub rows: u32,
    /// Elements in a load or store; divides a row and the distances between rows.
    pub vector: usize,
    /// How the units of a row add up.
    pub reduction: Reduction,
}

impl Blueprint {
    /// The widest vectors among `widths` that divide the row and the distances between rows and leave work for half of
    /// a plane, no more units than the row has vectors, and planes on several rows where one plane is enough for a row.
    ///
    /// `length` elements a row are read; `distances`, in elements, are those between the starts of rows of each
    /// operand.
    pub(in crate::cube) fn new(
        length: usize,
        distances: &[usize],
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
        // Rows start at multiples of these distances, in a buffer that is aligned for every width: alignment asks no
        // more.
        let fits = |width: &usize| {
            length.is_multiple_of(*width) && distances.iter().all(|distance| distance.is_multiple_of(*width))
        };
        let busy = |width: &usize| 2 * (length / width) >= reduction.min_units() as usize;
        let vector = widths.filter(fits).filter(busy).max().unwrap_or(1);
        let vectors = u32::try_from(length / vector).unwrap_or(u32::MAX).min(MAX_UNITS);
        let most = 1 << limits.units.clamp(1, MAX_UNITS).ilog2();
        let units = vectors.next_power_of_two().min(most).max(reduction.min_units());
        if units > limits.units {
            return Err(Unavailable::Units { found: units, limit: limits.units });
        }
        let shared = reduction.partials(units) * size_of::<f32>();
        if shared > limits.shared_bytes {
            return Err(Unavailable::SharedMemory { found: shared, limit: limits.shared_bytes });
        }
        let rows = match reduction {
            Reduction::Planes { size } if size == units => (SHORT_ROW_UNITS.min(limits.units) / units).max(1),
            _ => 1,
        };
        Ok(Self { units, rows, vector, reduction })
    }

    /// Units in a cube.
    pub fn cube_units(&self) -> u32 {
        self.units * self.rows
    }

    /// Cubes that cover so many rows.
    pub(in crate::cube) fn count_cubes(&self, rows: usize) -> usize {
        rows.div_ceil(self.rows as usize)
    }
}

impl fmt::Display for Blueprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { units, rows, vector, reduction } = self;
        write!(f, "{units} units a row, {rows} row{} a cube, ", if *rows == 1 { "" } else { "s" })?;
        write!(f, "vectors of {vector}, reduced by {reduction}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sm61() -> Limits {
        Limits::sm61()
    }

    fn make(length: usize, limits: &Limits, widths: &[usize]) -> Result<Blueprint, Unavailable> {
        Blueprint::new(length, &[length], Strategy::Auto, limits, widths.iter().copied())
    }

    #[test]
    fn rows_get_wide_vectors_and_few_units() {
        let expected = [
            (1, 1, 32, 4),
            (3, 1, 32, 4),
            (33, 1, 64, 1),
            (32, 2, 32, 4),
            (128, 4, 32, 4),
            (256, 4, 64, 1),
            (1000, 4, 256, 1),
            (2048, 4, 256, 1),
            (4099, 1, 256, 1),
        ];
        for (length, vector, units, rows) in expected {
            let blueprint = make(length, &sm61(), &[4, 2, 1]).unwrap();
            let reduction = Reduction::Planes { size: 32 };
            assert_eq!(blueprint, Blueprint { units, rows, vector, reduction }, "length {length}");
        }
    }

    #[test]
    fn cubes_fill_a_multiprocessor_of_sm61() {
        for length in 1..3000 {
            let units = make(length, &sm61(), &[4, 2, 1]).unwrap().cube_units();
            let resident = units * (2048 / units).min(32);
            assert_eq!(resident, 2048, "length {length}: cubes of {units} units");
        }
    }

    #[test]
    fn vectors_divide_the_distance_between_rows() {
        let blueprint = Blueprint::new(128, &[128, 130], Strategy::Auto, &sm61(), [4, 2, 1].into_iter()).unwrap();
        assert_eq!((blueprint.vector, blueprint.units), (2, 64));
    }

    #[test]
    fn planes_of_varying_size_are_not_used() {
        let varying = Limits { fixed_plane: None, plane_sizes: (8, 32), ..sm61() };
        let blueprint = make(5, &varying, &[1]).unwrap();
        assert_eq!(blueprint, Blueprint { units: 8, rows: 1, vector: 1, reduction: Reduction::SharedMemory });
        let forced = Strategy::Reduce(Reduction::Planes { size: 32 });
        let error = Blueprint::new(5, &[5], forced, &varying, [1].into_iter()).unwrap_err();
        assert_eq!(error, Unavailable::PlaneSize { expected: 32, min: 8, max: 32 });
    }

    #[test]
    fn small_devices_are_told_apart_from_bad_calls() {
        let few_units = Limits { units: 16, ..sm61() };
        assert_eq!(make(64, &few_units, &[1]).unwrap_err(), Unavailable::Units { found: 32, limit: 16 });
        let little_memory = Limits { fixed_plane: None, shared_bytes: 512, ..sm61() };
        assert_eq!(make(256, &little_memory, &[1]).unwrap_err(), Unavailable::SharedMemory { found: 1024, limit: 512 });
    }
}
