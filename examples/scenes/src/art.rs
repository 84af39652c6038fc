//! Art: a table of named things, and for each style an atlas with one cell for each of them.
//!
//! Cell `i` of an atlas lies at column `i % COLUMNS` and row `i / COLUMNS`; the known things of the table come first,
//! then the unknown ones. A cell that is clear says that the style has no drawing of that thing.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use image::{ImageFormat, RgbaImage};
use serde::{Deserialize, Serialize};

use crate::colour::Colour;
use crate::error::SceneError;
use crate::sprite::{Sprite, Turn};

/// Cells in a row of an atlas.
pub const COLUMNS: u32 = 16;
/// The file with the table.
pub const TABLE: &str = "things.json";
/// A side of a cell is 16 to this many pixels.
const LARGEST_CELL: u32 = 256;
/// A table has at most this many things.
const MOST_THINGS: usize = 4096;
/// A thing is not tinted in a colour that this part of its own pixels has: the two could not be told apart.
const OWN_COLOUR: f32 = 0.15;

/// The table of things, as its file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Width and height of an atlas's cells in pixels.
    pub cell: u32,
    /// Names of the styles; the atlas of each is `NAME.png`.
    pub styles: Vec<String>,
    /// Things that have names.
    pub known: Vec<Entry>,
    /// Code points of things that are drawn as something that has no name here.
    pub unknown: Vec<String>,
}

/// A thing of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What one of them is called, in one or two plain words.
    pub name: String,
    /// What several of them are called.
    pub plural: String,
    /// Its code points in hexadecimal, joined by `-`, as emoji packages name their files.
    pub code: String,
}

impl Table {
    /// Reads and checks a table.
    ///
    /// # Errors
    /// [`SceneError::Table`], [`SceneError::BadTable`].
    pub fn parse(json: &[u8]) -> Result<Self, SceneError> {
        let table: Self = serde_json::from_slice(json).map_err(SceneError::Table)?;
        let wrong = |what: String| Err(SceneError::BadTable(what));
        if !(16..=LARGEST_CELL).contains(&table.cell) || !table.cell.is_multiple_of(2) {
            return wrong(format!("cells of {} pixels; expected an even number of 16 to {LARGEST_CELL}", table.cell));
        }
        if table.known.is_empty() || table.styles.is_empty() || table.codes().count() > MOST_THINGS {
            return wrong(format!("expected a style, and 1 to {MOST_THINGS} things, of which one is known"));
        }
        let mut names: Vec<&str> = table.known.iter().map(|entry| entry.name.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => wrong(format!("two things are called {:?}", pair[0])),
            None => Ok(table),
        }
    }

    /// The code points of every cell.
    pub fn codes(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(|entry| entry.code.as_str()).chain(self.unknown.iter().map(String::as_str))
    }

    /// Width and height of an atlas in pixels.
    pub fn atlas_size(&self) -> (u32, u32) {
        (COLUMNS * self.cell, (self.codes().count() as u32).div_ceil(COLUMNS) * self.cell)
    }
}

/// A thing in one style, in three sizes.
#[derive(Debug, Clone)]
struct Drawing {
    /// Which style it is.
    style: usize,
    /// The cell, half of it, a quarter of it.
    sizes: [Sprite; 3],
}

/// Things in their styles, ready to be drawn.
#[derive(Debug, Clone)]
pub struct Art {
    table: Table,
    /// For each cell its drawings, at least one.
    drawings: Vec<Vec<Drawing>>,
    /// For each known thing the colours in which it may be tinted.
    tints: Vec<Vec<Colour>>,
}

impl Art {
    /// The art that comes with this library.
    pub fn embedded() -> Arc<Self> {
        static ART: OnceLock<Arc<Art>> = OnceLock::new();
        let styles: [&[u8]; 2] =
            [include_bytes!("../../assets/scenes/noto.png"), include_bytes!("../../assets/scenes/fluent.png")];
        let table = include_bytes!("../../assets/scenes/things.json");
        ART.get_or_init(|| Arc::new(Self::decode(table, &styles).expect("a test reads the embedded art"))).clone()
    }

    /// Reads a folder that has `things.json` and the atlases that it names.
    ///
    /// # Errors
    /// [`SceneError::File`] and those of [`Art::decode`].
    pub fn load(folder: &Path) -> Result<Self, SceneError> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|source| SceneError::File { path, source })
        };
        let json = read(TABLE)?;
        let table = Table::parse(&json)?;
        let atlases = table.styles.iter().map(|style| read(&format!("{style}.png"))).collect::<Result<Vec<_>, _>>()?;
        Self::decode(&json, &atlases.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// Reads a table and the PNG file of each of its styles.
    ///
    /// # Errors
    /// [`SceneError::Table`], [`SceneError::BadTable`], [`SceneError::Atlas`], [`SceneError::AtlasSize`],
    /// [`SceneError::Empty`].
    pub fn decode(table: &[u8], atlases: &[&[u8]]) -> Result<Self, SceneError> {
        let table = Table::parse(table)?;
        if table.styles.len() != atlases.len() {
            return Err(SceneError::BadTable(format!("{} styles, {} atlases", table.styles.len(), atlases.len())));
        }
        let mut drawings = vec![Vec::new(); table.codes().count()];
        for (style, png) in atlases.iter().enumerate() {
            let atlas = decode_atlas(png, &table.styles[style], table.atlas_size())?;
            for (number, drawings) in (0..).zip(&mut drawings) {
                let (x, y) = (number % COLUMNS * table.cell, number / COLUMNS * table.cell);
                let sprite = Sprite::cut(&atlas, x, y, table.cell, table.cell);
                if sprite.alpha_bounds().is_some() {
                    let half = sprite.halved();
                    let sizes = [sprite, half.clone(), half.halved()];
                    drawings.push(Drawing { style, sizes });
                }
            }
        }
        if let Some((code, _)) = table.codes().zip(&drawings).find(|(_, drawings)| drawings.is_empty()) {
            return Err(SceneError::Empty(code.to_owned()));
        }
        let tints = drawings[..table.known.len()].iter().map(|drawings| possible_tints(drawings)).collect();
        Ok(Self { table, drawings, tints })
    }

    /// The table of things.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The styles that have a drawing of cell `cell`.
    pub fn styles(&self, cell: usize) -> Vec<usize> {
        self.drawings[cell].iter().map(|drawing| drawing.style).collect()
    }

    /// The colours in which the known thing `cell` may be tinted: those that it does not have by itself.
    pub fn tints(&self, cell: usize) -> &[Colour] {
        &self.tints[cell]
    }

    /// Cell `cell` in `style`, drawn on `side` x `side` pixels and trimmed. `None` where the style has no drawing.
    pub fn draw(&self, cell: usize, style: usize, side: u32, turn: Turn) -> Option<Sprite> {
        let sizes = &self.drawings.get(cell)?.iter().find(|drawing| drawing.style == style)?.sizes;
        let fitting = sizes.iter().rev().find(|size| 4 * side <= 5 * size.width).unwrap_or(&sizes[0]);
        Some(fitting.resampled(side, turn).trimmed())
    }
}

/// Decodes the picture of a style after its size was checked.
fn decode_atlas(png: &[u8], style: &str, expected: (u32, u32)) -> Result<RgbaImage, SceneError> {
    let wrong = |source| SceneError::Atlas { style: style.to_owned(), source };
    let reader = || image::ImageReader::with_format(std::io::Cursor::new(png), ImageFormat::Png);
    let found = reader().into_dimensions().map_err(wrong)?;
    if found != expected {
        return Err(SceneError::AtlasSize { style: style.to_owned(), found, expected });
    }
    Ok(reader().decode().map_err(wrong)?.into_rgba8())
}

/// The bright colours that few pixels of any drawing have.
fn possible_tints(drawings: &[Drawing]) -> Vec<Colour> {
    let is_own = |colour: Colour| {
        drawings.iter().any(|drawing| {
            let opaque = drawing.sizes[1].pixels.iter().filter(|pixel| pixel[3] > 128);
            let (mut all, mut own) = (0, 0);
            for pixel in opaque {
                let straight =
                    std::array::from_fn(|c| (u32::from(pixel[c]) * 255 / u32::from(pixel[3])).min(255) as u8);
                all += 1;
                own += usize::from(Colour::nearest(straight) == colour);
            }
            own as f32 >= OWN_COLOUR * all as f32
        })
    };
    Colour::BRIGHT.into_iter().filter(|colour| !is_own(*colour)).collect()
}
