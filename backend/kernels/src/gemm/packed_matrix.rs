//! A constant weight, packed once into the panels that the kernels read.

use crate::ElementType;
use crate::gemm::matrix::{GemmError, check};
use crate::memory::{OwnedBytes, advise_huge};
use crate::simd::PANEL;
use crate::{Floats, Launch, Storage};
use half::{bf16, f16};

/// A weight `W` of shape `[n, k]` (the checkpoint's `[out, in]`) in panels of 16 rows, in its storage type:
///
/// ```text
/// f32, f16   [n / 16][k][16]           element (j, p) of W is panels[j / 16][p][j % 16]; rows beyond n are 0
/// bf16       [n / 16][k / 2][16][2]    element (j, p) of W is panels[j / 16][p / 2][j % 16][p % 2]; an odd k is
///                                      padded with 0
/// ```
///
/// A 64-byte line of bf16 is 16 columns of two steps of the depth: what `vdpbf16ps` multiplies, a row of the tile that
/// `tdpbf16ps` multiplies (32 steps of a panel are one tile), and a register from which a shift and a mask make two of
/// f32, without the conversion that single 16-bit elements need.
///
/// Where `n` is a multiple of 16 (and, for bf16, `k` of 2), a panel takes the bytes of its 16 rows: then rows that
/// nobody else holds are packed in their own memory, panel by panel, and no weight is in memory twice even for a
/// moment.
///
/// One layout serves products of many rows (a panel is a micropanel of B) and of few (a panel is one stream of memory),
/// on every instruction set. Panels are aligned to 64 bytes. No other copy of the weight is kept.
#[derive(Debug)]
pub struct PackedMatrix {
    panels: PanelStorage,
    dtype: ElementType,
    n: usize,
    k: usize,
}

/// One cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

// SAFETY: 64 bytes of which every pattern is valid, all zero included.
unsafe impl bytemuck::Zeroable for Line {}
// SAFETY: 64 bytes of which every pattern is valid, without padding: the alignment is the size.
unsafe impl bytemuck::Pod for Line {}

/// Where panels are, in whole cache lines.
#[derive(Debug)]
enum PanelStorage {
    /// In memory of their own.
    Lines(Box<[Line]>),
    /// In that of the rows.
    Rows(Box<dyn OwnedBytes>),
}

impl PanelStorage {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Lines(lines) => bytemuck::cast_slice(lines),
            Self::Rows(bytes) => bytes,
        }
    }
}

impl PackedMatrix {
    /// Packs `[n, k]` rows, on the threads of `launch`.
    ///
    /// # Errors
    /// [`GemmError::Shape`] where `rows` has other than `n · k` elements.
    pub fn pack(launch: Launch, rows: Floats<'_>, [n, k]: [usize; 2]) -> Result<Self, GemmError> {
        check("elements of the weight", n.saturating_mul(k), rows.len())?;
        let lines = match rows {
            Floats::F32(rows) => pack_rows(launch, rows, k),
            Floats::Bf16(rows) => pack_rows(launch, rows, k),
            Floats::F16(rows) => pack_rows(launch, rows, k),
        };
        Ok(Self { panels: PanelStorage::Lines(lines), dtype: rows.dtype(), n, k })
    }

    /// Packs `[n, k]` rows of `dtype` in their own memory where that can be: whole panels of as many bytes as their
    /// rows, aligned to cache lines. Else as [`PackedMatrix::pack`].
    ///
    /// # Errors
    /// [`GemmError::Shape`] where `rows` has other than `n · k` elements.
    pub fn pack_owned(
        launch: Launch,
        mut rows: Box<dyn OwnedBytes>,
        dtype: ElementType,
        [n, k]: [usize; 2],
    ) -> Result<Self, GemmError> {
        check("bytes of the weight", n.saturating_mul(k).saturating_mul(dtype.size()), rows.len())?;
        let whole = n > 0 && k > 0 && n.is_multiple_of(PANEL) && (dtype != ElementType::Bf16 || k.is_multiple_of(2));
        // Asked of the slice to write: memory that is shared is copied before.
        if whole && rows.as_mut_ptr().addr().is_multiple_of(align_of::<Line>()) {
            match dtype {
                ElementType::F32 => pack_in_place::<f32>(launch, bytemuck::cast_slice_mut(&mut rows), k),
                ElementType::Bf16 => pack_in_place::<bf16>(launch, bytemuck::cast_slice_mut(&mut rows), k),
                _ => pack_in_place::<f16>(launch, bytemuck::cast_slice_mut(&mut rows), k),
            }
            return Ok(Self { panels: PanelStorage::Rows(rows), dtype, n, k });
        }
        if rows.as_ptr().addr().is_multiple_of(dtype.size()) {
            return Self::pack(launch, as_floats(&rows, dtype), [n, k]);
        }
        match dtype {
            ElementType::F32 => Self::pack(launch, Floats::F32(&bytemuck::pod_collect_to_vec(&rows)), [n, k]),
            ElementType::Bf16 => Self::pack(launch, Floats::Bf16(&bytemuck::pod_collect_to_vec(&rows)), [n, k]),
            ElementType::F16 => Self::pack(launch, Floats::F16(&bytemuck::pod_collect_to_vec(&rows)), [n, k]),
        }
    }

    /// Rows of W, the outputs of the layer.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Columns of W, the inputs of the layer.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Element type.
    pub fn dtype(&self) -> ElementType {
        self.dtype
    }

    /// Bytes of the panels.
    pub fn bytes(&self) -> usize {
        self.panels.bytes().len()
    }

    /// The panels, padded to a whole cache line.
    pub fn panels(&self) -> Floats<'_> {
        as_floats(self.panels.bytes(), self.dtype)
    }

    /// The rows `[n, k]`, bit for bit what was packed, on the threads of `launch`.
    pub fn unpack(&self, launch: Launch) -> UnpackedRows {
        match self.panels() {
            Floats::F32(panels) => UnpackedRows::F32(unpack_rows(launch, panels, [self.n, self.k])),
            Floats::Bf16(panels) => UnpackedRows::Bf16(unpack_rows(launch, panels, [self.n, self.k])),
            Floats::F16(panels) => UnpackedRows::F16(unpack_rows(launch, panels, [self.n, self.k])),
        }
    }

    /// Row `i` as f32, `[k]`: an embedding looked up in a tied head.
    ///
    /// # Errors
    /// [`GemmError::Shape`] where there is no row `i` or `out` is not `[k]`.
    pub fn row(&self, i: usize, out: &mut [f32]) -> Result<(), GemmError> {
        if i >= self.n {
            return Err(GemmError::Shape { what: "row of the weight", expected: self.n, found: i });
        }
        check("elements of the row", self.k, out.len())?;
        match self.panels() {
            Floats::F32(panels) => read_row(panels, i, out),
            Floats::Bf16(panels) => read_row(panels, i, out),
            Floats::F16(panels) => read_row(panels, i, out),
        }
        Ok(())
    }
}

/// Elements of `dtype`, one of the three that panels store.
fn as_floats(bytes: &[u8], dtype: ElementType) -> Floats<'_> {
    match dtype {
        ElementType::F32 => Floats::F32(bytemuck::cast_slice(bytes)),
        ElementType::Bf16 => Floats::Bf16(bytemuck::cast_slice(bytes)),
        _ => Floats::F16(bytemuck::cast_slice(bytes)),
    }
}

/// The rows of an unpacked weight.
#[derive(Debug, Clone, PartialEq)]
pub enum UnpackedRows {
    /// Single precision.
    F32(Vec<f32>),
    /// bfloat16.
    Bf16(Vec<bf16>),
    /// Half precision.
    F16(Vec<f16>),
}

impl UnpackedRows {
    /// The rows as a slice.
    pub fn as_floats(&self) -> Floats<'_> {
        match self {
            Self::F32(rows) => Floats::F32(rows),
            Self::Bf16(rows) => Floats::Bf16(rows),
            Self::F16(rows) => Floats::F16(rows),
        }
    }
}

/// Adjacent steps of the depth in a panel of `S`: pairs of bf16.
const fn steps_of<S: Storage>() -> usize {
    if matches!(S::TYPE, ElementType::Bf16) { 2 } else { 1 }
}

/// Elements of a panel with a depth of `k`, at least 1.
fn panel_len<S: Storage>(k: usize) -> usize {
    (PANEL * k.next_multiple_of(steps_of::<S>())).max(1)
}

/// Panels that one thread packs at a time: enough to be worth a task.
fn panels_per_turn(k: usize) -> usize {
    (1 << 16) / (PANEL * k.max(1)) + 1
}

/// Packs rows of `k`.
fn pack_rows<S: Storage>(launch: Launch, rows: &[S], k: usize) -> Box<[Line]> {
    let n = rows.len().checked_div(k).unwrap_or(0);
    let panel_len = panel_len::<S>(k);
    let bytes = n.div_ceil(PANEL) * panel_len * size_of::<S>();
    let mut lines = bytemuck::zeroed_slice_box::<Line>(bytes.div_ceil(size_of::<Line>()));
    advise_huge(bytemuck::cast_slice_mut(&mut lines));
    let all: &mut [S] = bytemuck::cast_slice_mut(&mut lines);
    for_each_chunk(launch, all, panel_len * panels_per_turn(k), |first, chunk| {
        for (at, panel) in chunk.chunks_mut(panel_len).enumerate() {
            let top = (first / panel_len + at) * PANEL;
            pack_panel(panel, rows.chunks_exact(k.max(1)).skip(top).take(PANEL));
        }
    });
    lines
}

/// Packs rows of `k` in their own memory; each 16 of them take as much as their panel.
fn pack_in_place<S: Storage>(launch: Launch, all: &mut [S], k: usize) {
    let panel_len = panel_len::<S>(k);
    for_each_chunk(launch, all, panel_len * panels_per_turn(k), |_, chunk| {
        let mut rows = vec![S::zeroed(); panel_len];
        for panel in chunk.chunks_exact_mut(panel_len) {
            rows.copy_from_slice(panel);
            pack_panel(panel, rows.chunks_exact(k));
        }
    });
}

/// Writes one panel: up to 16 rows beside each other.
fn pack_panel<'a, S: Storage>(panel: &mut [S], rows: impl Iterator<Item = &'a [S]>) {
    let steps = steps_of::<S>();
    for (lane, row) in rows.enumerate() {
        for (line, x) in panel.chunks_exact_mut(PANEL * steps).zip(row.chunks(steps)) {
            line[lane * steps..][..x.len()].copy_from_slice(x);
        }
    }
}

/// The inverse of [`pack_rows`].
fn unpack_rows<S: Storage>(launch: Launch, panels: &[S], [n, k]: [usize; 2]) -> Vec<S> {
    let mut rows = vec![S::zeroed(); n * k];
    let steps = steps_of::<S>();
    for_each_chunk(launch, &mut rows, (PANEL * k).max(1) * panels_per_turn(k), |first, chunk| {
        for (at, row) in chunk.chunks_exact_mut(k.max(1)).enumerate() {
            let i = first / k.max(1) + at;
            for (x, line) in row.chunks_mut(steps).zip(lines_of(panels, i, k)) {
                x.copy_from_slice(&line[i % PANEL * steps..][..x.len()]);
            }
        }
    });
    rows
}

/// Reads row `i`.
fn read_row<S: Storage>(panels: &[S], i: usize, out: &mut [f32]) {
    let steps = steps_of::<S>();
    let lines = lines_of(panels, i, out.len());
    for (x, line) in out.chunks_mut(steps).zip(lines) {
        for (x, s) in x.iter_mut().zip(&line[i % PANEL * steps..]) {
            *x = s.to_f32();
        }
    }
}

/// The lines of the panel of row `i`, each 16 rows of adjacent steps.
fn lines_of<S: Storage>(panels: &[S], i: usize, k: usize) -> core::slice::ChunksExact<'_, S> {
    panels[i / PANEL * panel_len::<S>(k)..].chunks_exact(PANEL * steps_of::<S>())
}

/// Calls `work(first, chunk)` over chunks of `len` elements of a slice, on the threads of `launch`.
fn for_each_chunk<S: Send>(launch: Launch, all: &mut [S], len: usize, work: impl Fn(usize, &mut [S]) + Sync) {
    use rayon::prelude::*;
    if launch.threads <= 1 {
        all.chunks_mut(len).enumerate().for_each(|(i, chunk)| work(i * len, chunk));
    } else {
        all.par_chunks_mut(len).enumerate().for_each(|(i, chunk)| work(i * len, chunk));
    }
}
