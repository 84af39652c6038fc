//! How detections are drawn.

/// Colours that are told apart at a glance and don't blend into skin, grass or sky; the names are those of the usual
/// palettes.
const COLOURS: [[u8; 3]; 10] = [
    [230, 25, 75],   // red
    [60, 180, 75],   // green
    [0, 130, 200],   // blue
    [255, 225, 25],  // yellow
    [145, 30, 180],  // purple
    [245, 130, 48],  // orange
    [70, 240, 240],  // cyan
    [240, 50, 230],  // magenta
    [128, 0, 0],     // maroon
    [170, 255, 195], // mint
];

/// How boxes, points and labels look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrawStyle {
    /// Width of a box's lines in pixels, at least 1; `None`, a 250th of the picture's shorter side.
    pub thickness: Option<u32>,
    /// Side in pixels of one dot of the 8 x 8 letters, at least 1; `None`, a 300th of the picture's shorter side.
    pub text_scale: Option<u32>,
    /// Whether labels are written.
    pub labels: bool,
    /// Colours, taken in turn: one for each label, and one for each detection without a label. Empty, the built-in
    /// ones.
    pub colours: Vec<[u8; 3]>,
}

impl Default for DrawStyle {
    fn default() -> Self {
        Self { thickness: None, text_scale: None, labels: true, colours: Vec::new() }
    }
}

impl DrawStyle {
    /// Width of lines on a picture whose shorter side is `side`.
    pub(super) fn line_width(&self, side: u32) -> u32 {
        self.thickness.unwrap_or(side / 250).max(1)
    }

    /// Side of a letter's dot on such a picture.
    pub(super) fn dot_side(&self, side: u32) -> u32 {
        self.text_scale.unwrap_or(side / 300).max(1)
    }

    /// The colour of number `index`.
    pub(super) fn colour(&self, index: usize) -> [u8; 3] {
        let colours = if self.colours.is_empty() { &COLOURS } else { self.colours.as_slice() };
        colours[index % colours.len()]
    }
}

/// Black or white, whichever is easier to read on `colour`: black where the luma of BT.601, `0.299 r + 0.587 g + 0.114
/// b`, is at least half.
pub(super) fn contrast(colour: [u8; 3]) -> [u8; 3] {
    let [red, green, blue] = colour.map(u32::from);
    if 299 * red + 587 * green + 114 * blue >= 128_000 { [0; 3] } else { [255; 3] }
}
