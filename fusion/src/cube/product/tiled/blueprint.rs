//! From what is asked, and where, to what is baked into the kernel.

use crate::{
    Activation,
    cube::{Unavailable, limits::Limits, product::Layout},
};
use core::fmt;
use serde::{Deserialize, Serialize};

/// Elements in a vector of shared memory.
pub(super) const WIDTH: usize = 4;

/// How much of a product a cube makes, and each of its units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tile {
    /// Rows of a cube.
    pub rows: usize,
    /// Columns of a cube; with a gate, half of them are of the gate and half of up.
    pub columns: usize,
    /// Depth that is in shared memory at once.
    pub depth: usize,
    /// Rows of a unit.
    pub unit_rows: usize,
    /// Columns of a unit.
    pub unit_columns: usize,
}

impl Tile {
    /// 8 x 8 sums a unit: 16 multiplications a load from shared memory (of four floats), the most that registers allow.
    /// 128 units, 18 KiB, 144 to 151 registers (ptxas 12.8): three cubes an SM of SM61.
    pub const LARGE: Self = Self { rows: 128, columns: 64, depth: 8, unit_rows: 8, unit_columns: 8 };
    /// 4 x 4 sums a unit: 8 multiplications a load. 256 units, 20 KiB, 88 to 92 registers: two cubes an SM.
    pub const MEDIUM: Self = Self { rows: 64, columns: 64, depth: 16, unit_rows: 4, unit_columns: 4 };
    /// As [`Tile::MEDIUM`] with half of the rows: 128 units, 15 KiB, 99 to 106 registers: four cubes an SM.
    pub const SMALL: Self = Self { rows: 32, columns: 64, depth: 16, unit_rows: 4, unit_columns: 4 };

    /// Every tile that a heuristic may choose.
    pub const ALL: [Self; 3] = [Self::LARGE, Self::MEDIUM, Self::SMALL];

    /// The tile that takes the least time by this estimate: the cubes of the fullest multiprocessor run one behind the
    /// other, each for its area (padding included) at the tile's share of the peak rate.
    ///
    /// Shares: an SM of SM61 issues 4 warps of multiplications a cycle and loads 32 floats from shared memory. A unit
    /// loads the rows' side for all lanes of half a warp, so mostly the columns' side costs: 1 load of 4 floats a warp
    /// takes 4 cycles, in which 16 multiplications a lane can be issued. [`Tile::LARGE`] has 32 a load of its columns'
    /// side, the others 16, which is just enough with nothing left for addresses and barriers: 0.6. Half of the rows
    /// halve what a load of the weight from global memory is used for: 0.5.
    pub(in crate::cube) fn choose(
        rows: usize,
        columns: usize,
        gated: bool,
        batches: usize,
        multiprocessors: u32,
    ) -> Self {
        let cost = |tile: &Self| {
            let share = match *tile {
                Self::LARGE => 1.0,
                Self::MEDIUM => 0.6,
                _ => 0.5,
            };
            let cubes = tile.cubes(rows, columns, gated) * batches;
            (cubes.div_ceil(multiprocessors.max(1) as usize) * tile.rows * tile.columns) as f64 / share
        };
        let mut best = Self::LARGE;
        for tile in Self::ALL {
            if cost(&tile) < cost(&best) {
                best = tile;
            }
        }
        best
    }

    /// Units in a cube.
    pub fn units(&self) -> usize {
        (self.rows / self.unit_rows) * (self.columns / self.unit_columns)
    }

    /// Columns of the output that a cube makes.
    pub fn output_columns(&self, gated: bool) -> usize {
        if gated { self.columns / 2 } else { self.columns }
    }

    /// Cubes for one matrix.
    pub fn cubes(&self, rows: usize, columns: usize, gated: bool) -> usize {
        rows.div_ceil(self.rows) * columns.div_ceil(self.output_columns(gated))
    }

    /// Vectors from one row or column to the next in shared memory. One more than there are, so that eight neighbouring
    /// rows start in different banks.
    pub(super) fn pitch(&self) -> usize {
        self.depth / WIDTH + 1
    }

    /// Vectors of one step of the depth, for a side of so many indices.
    pub(super) fn vectors(&self, side: usize) -> usize {
        side * self.depth / WIDTH
    }

    /// Bytes of shared memory: both sides twice, so that the next step is stored while this one is multiplied, and with
    /// a norm the squares of each loaded vector.
    pub fn shared_bytes(&self, norm: bool) -> usize {
        let squares = if norm { self.vectors(self.rows) } else { 0 };
        (2 * (self.rows + self.columns) * self.pitch() * WIDTH + squares) * size_of::<f32>()
    }
}

/// How a side comes from global memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Gather {
    /// Vectors of four along the depth.
    Vectors,
    /// Single elements, neighbouring units along the depth.
    Rows,
    /// Single elements, neighbouring units along the side.
    Columns,
}

impl Gather {
    /// The widest loads that the layout allows; `vectors` says whether it allows four.
    pub(in crate::cube) fn new(layout: &Layout, vectors: bool) -> Self {
        if vectors {
            Self::Vectors
        } else if layout.has_columns() {
            Self::Columns
        } else {
            Self::Rows
        }
    }

    /// Elements in a load.
    pub(super) fn width(self) -> usize {
        if self == Self::Vectors { WIDTH } else { 1 }
    }
}

/// All that the kernel is specialised on, next to its storage types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Blueprint {
    /// The tile.
    pub tile: Tile,
    /// Loads of the left side.
    pub x: Gather,
    /// Loads of the right side.
    pub weight: Gather,
    /// Gate and up in one tile.
    pub gated: bool,
    /// Whether rows are normalised.
    pub norm: bool,
    /// After the bias.
    pub activation: Option<Activation>,
}

impl Blueprint {
    /// Checks that the device has room for a cube.
    pub(super) fn check(self, limits: &Limits) -> Result<Self, Unavailable> {
        let (units, shared) = (self.tile.units() as u32, self.tile.shared_bytes(self.norm));
        if units > limits.units {
            return Err(Unavailable::Units { found: units, limit: limits.units });
        }
        if shared > limits.shared_bytes {
            return Err(Unavailable::SharedMemory { found: shared, limit: limits.shared_bytes });
        }
        Ok(self)
    }
}

impl fmt::Display for Blueprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tile { rows, columns, depth, unit_rows, unit_columns } = self.tile;
        write!(f, "tiles of {rows}x{columns}x{depth}, {unit_rows}x{unit_columns} a unit of {}, ", self.tile.units())?;
        write!(f, "{:?} by {:?}", self.x, self.weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_fit_shared_memory_of_lavapipe_and_are_loaded_evenly() {
        for tile in Tile::ALL {
            assert!(tile.shared_bytes(true) <= 32 * 1024, "{tile:?}");
            assert_eq!(tile.vectors(tile.rows) % tile.units(), 0, "{tile:?}");
            assert_eq!(tile.vectors(tile.columns) % tile.units(), 0, "{tile:?}");
        }
    }

    #[test]
    fn tiles_follow_the_size_of_the_product_and_of_the_device() {
        assert_eq!(Tile::choose(512, 6144, true, 1, 10), Tile::LARGE);
        assert_eq!(Tile::choose(512, 2048, false, 1, 10), Tile::LARGE);
        assert_eq!(Tile::choose(16, 2048, false, 1, 3), Tile::SMALL);
        assert_eq!(Tile::choose(64, 2048, false, 1, 20), Tile::MEDIUM);
        assert_eq!(Tile::choose(5, 7, false, 1, 1), Tile::SMALL);
    }
}
