//! Tile registers and what the instructions do to them.

use super::decode::TileMemory;
use super::fault;

/// Bytes of a row and rows of a tile in palette 1, and tiles.
const ROW: usize = 64;
const ROWS: usize = 16;
const TILES: usize = 8;

/// Configuration and tiles of a thread.
pub struct TileState {
    /// What LDTILECFG reads: palette, start row, 14 reserved, 16 row lengths of 2 bytes, 16 row counts.
    config: [u8; 64],
    tiles: [[[u8; ROW]; ROWS]; TILES],
}

impl TileState {
    /// No configuration.
    pub const INIT: Self = Self { config: [0; 64], tiles: [[[0; ROW]; ROWS]; TILES] };

    /// LDTILECFG.
    ///
    /// # Safety
    /// `from` is readable for 64 bytes.
    pub unsafe fn load_config(&mut self, from: *const u8) {
        *self = Self::INIT;
        // SAFETY: the caller's promise.
        let config = unsafe { from.cast::<[u8; 64]>().read() };
        match config[0] {
            0 => return,
            1 => {}
            _ => fault("LDTILECFG: palette"),
        }
        if config[1] != 0 {
            fault("LDTILECFG: a start row, which the library never sets");
        }
        if config[2..16].iter().chain(&config[32..48]).chain(&config[56..]).any(|&byte| byte != 0) {
            fault("LDTILECFG: reserved bytes");
        }
        for tile in 0..TILES {
            let (bytes, rows) = (u16::from_le_bytes([config[16 + 2 * tile], config[17 + 2 * tile]]), config[48 + tile]);
            if usize::from(bytes) > ROW || usize::from(rows) > ROWS || (bytes == 0) != (rows == 0) {
                fault("LDTILECFG: shape of a tile");
            }
        }
        self.config = config;
    }

    /// STTILECFG.
    ///
    /// # Safety
    /// `to` is writable for 64 bytes.
    pub unsafe fn store_config(&self, to: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[u8; 64]>().write(self.config) };
    }

    /// Rows and bytes a row of a tile.
    fn shape(&self, tile: usize) -> (usize, usize) {
        let (low, high) = (self.config[16 + 2 * tile], self.config[17 + 2 * tile]);
        let shape = (usize::from(self.config[48 + tile]), usize::from(u16::from_le_bytes([low, high])));
        if self.config[0] == 0 || shape.0 == 0 {
            fault("a tile that is not configured");
        }
        shape
    }

    /// TILEZERO.
    pub fn zero(&mut self, tile: usize) {
        self.shape(tile);
        self.tiles[tile] = [[0; ROW]; ROWS];
    }

    /// TILELOADD.
    ///
    /// # Safety
    /// The rows of the tile are readable.
    pub unsafe fn load(&mut self, tile: usize, memory: TileMemory) {
        let (rows, bytes) = self.shape(tile);
        self.tiles[tile] = [[0; ROW]; ROWS];
        for (i, row) in self.tiles[tile].iter_mut().enumerate().take(rows) {
            let from = memory.start.wrapping_add(i.wrapping_mul(memory.stride)) as *const u8;
            // SAFETY: the caller's promise.
            unsafe { core::ptr::copy_nonoverlapping(from, row.as_mut_ptr(), bytes) };
        }
    }

    /// TILESTORED.
    ///
    /// # Safety
    /// The rows of the tile are writable.
    pub unsafe fn store(&self, tile: usize, memory: TileMemory) {
        let (rows, bytes) = self.shape(tile);
        for (i, row) in self.tiles[tile].iter().enumerate().take(rows) {
            let to = memory.start.wrapping_add(i.wrapping_mul(memory.stride)) as *mut u8;
            // SAFETY: the caller's promise.
            unsafe { core::ptr::copy_nonoverlapping(row.as_ptr(), to, bytes) };
        }
    }

    /// TDPBF16PS: even and odd steps are summed apart, then with each other, then with C.
    pub fn dot(&mut self, c: usize, a: usize, b: usize) {
        let ((m, n), (a_rows, k), (b_rows, b_bytes)) = (self.shape(c), self.shape(a), self.shape(b));
        if c == a || c == b || a == b {
            fault("TDPBF16PS: the same tile twice");
        }
        if n % 4 != 0 || k % 4 != 0 || m != a_rows || k / 4 != b_rows || n != b_bytes {
            fault("TDPBF16PS: shapes of tiles");
        }
        for i in 0..m {
            let mut sums = [[0.0f32; 2]; ROW / 4];
            for p in 0..k / 4 {
                let left = pair(&self.tiles[a][i], p);
                for (j, sum) in sums.iter_mut().enumerate().take(n / 4) {
                    let right = pair(&self.tiles[b][p], j);
                    for t in 0..2 {
                        // The product is exact, so this rounds once.
                        sum[t] = flush(sum[t] + flush(left[t] * right[t]));
                    }
                }
            }
            for (j, [even, odd]) in sums.into_iter().enumerate().take(n / 4) {
                let at: &mut [u8; 4] =
                    (&mut self.tiles[c][i][4 * j..4 * j + 4]).try_into().unwrap_or_else(|_| fault("bounds"));
                let sum = flush(flush(f32::from_le_bytes(*at)) + flush(even + odd));
                *at = sum.to_le_bytes();
            }
        }
    }
}

/// Pair `p` of a row of bf16 as f32.
fn pair(row: &[u8; ROW], p: usize) -> [f32; 2] {
    let half = |i: usize| flush(f32::from_bits(u32::from(u16::from_le_bytes([row[i], row[i + 1]])) << 16));
    [half(4 * p), half(4 * p + 2)]
}

/// Subnormals are zeros of their sign.
fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0.0f32.copysign(x) } else { x }
}
