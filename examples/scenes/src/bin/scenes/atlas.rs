//! `scenes atlas`: puts the drawings of npm packages into one picture for each style.

use std::path::{Path, PathBuf};

use clap::Args;
use image::{Rgba, RgbaImage};
use kiln_scenes::{COLUMNS, SceneError, TABLE, Table, write_file, write_png};

/// Makes the atlases of a table of things.
///
/// `npm pack emoji-datasource-google @lobehub/fluent-emoji-3d` and `tar xzf` give the folders with the drawings:
/// `package/img/google/64` and `package/assets`.
#[derive(Debug, Args)]
pub struct AtlasArgs {
    /// The table of things.
    #[arg(long)]
    things: PathBuf,
    /// A style and the folder with its drawings: NAME=FOLDER. Once for each style of the table.
    #[arg(long = "style", value_parser = parse_style)]
    styles: Vec<(String, PathBuf)>,
    /// The folder that gets NAME.png of each style.
    #[arg(long)]
    out: PathBuf,
}

fn parse_style(text: &str) -> Result<(String, PathBuf), String> {
    let (name, folder) = text.split_once('=').ok_or("expected NAME=FOLDER")?;
    Ok((name.to_owned(), PathBuf::from(folder)))
}

/// Makes the atlases, and a table that names them where the given one names others; says which things a style lacks.
///
/// # Errors
/// Those of reading the table and the drawings, and of writing.
pub fn make(args: &AtlasArgs) -> Result<(), SceneError> {
    let json = std::fs::read(&args.things).map_err(|source| SceneError::File { path: args.things.clone(), source })?;
    let table = Table::parse(&json)?;
    for (style, folder) in &args.styles {
        let (width, height) = table.atlas_size();
        let mut atlas = RgbaImage::new(width, height);
        let mut lacking = Vec::new();
        for (number, code) in (0..).zip(table.codes()) {
            match find(folder, code) {
                Some(path) => {
                    let drawing = image::open(&path).map_err(|source| SceneError::Picture { path, source })?;
                    let (x, y) = (number % COLUMNS * table.cell, number / COLUMNS * table.cell);
                    shrink_into(&drawing.into_rgba8(), &mut atlas, (x, y), table.cell);
                }
                None => lacking.push(code),
            }
        }
        let path = args.out.join(format!("{style}.png"));
        write_png(&path, &image::DynamicImage::from(atlas))?;
        println!("{}: {} drawings; lacks {lacking:?}", path.display(), table.codes().count() - lacking.len());
    }
    let styles: Vec<String> = args.styles.iter().map(|(style, _)| style.clone()).collect();
    if styles != table.styles {
        let json = serde_json::to_vec_pretty(&Table { styles, ..table }).map_err(SceneError::Table)?;
        write_file(&args.out.join(TABLE), &json)?;
    }
    Ok(())
}

/// The file of a drawing: packages differ in whether they write the variation selector `fe0f`.
fn find(folder: &Path, code: &str) -> Option<PathBuf> {
    let bare = code.replace("-fe0f", "");
    let names = [code.to_owned(), bare.clone(), format!("{bare}-fe0f")];
    let paths = names.iter().flat_map(|name| ["png", "webp"].map(|kind| folder.join(format!("{name}.{kind}"))));
    paths.into_iter().find(|path| path.is_file())
}

/// Draws a picture on a cell: each pixel is the mean of those that it covers, by area, with colours weighted by alpha.
fn shrink_into(picture: &RgbaImage, atlas: &mut RgbaImage, (left, top): (u32, u32), cell: u32) {
    let (across, down) = (weights(picture.width(), cell), weights(picture.height(), cell));
    for (y, rows) in (0..).zip(&down) {
        for (x, columns) in (0..).zip(&across) {
            let mut sums = [0.0f64; 4];
            let mut area = 0.0;
            for &(row, height) in rows {
                for &(column, width) in columns {
                    let pixel = picture.get_pixel(column, row).0.map(f64::from);
                    let weight = width * height;
                    area += weight;
                    sums[3] += weight * pixel[3];
                    for c in 0..3 {
                        sums[c] += weight * pixel[3] * pixel[c];
                    }
                }
            }
            let colour = |c: usize| if sums[3] > 0.0 { (sums[c] / sums[3]).round() as u8 } else { 0 };
            let alpha = (sums[3] / area).round() as u8;
            let pixel = if alpha == 0 { [0; 4] } else { [colour(0), colour(1), colour(2), alpha] };
            atlas.put_pixel(left + x, top + y, Rgba(pixel));
        }
    }
}

/// For each of `to` pixels, the pixels out of `from` that it covers, and how much of each.
fn weights(from: u32, to: u32) -> Vec<Vec<(u32, f64)>> {
    let step = f64::from(from) / f64::from(to);
    let covered = |pixel: u32| {
        let (begin, end) = (f64::from(pixel) * step, f64::from(pixel + 1) * step);
        let inside = (begin as u32..from).take_while(move |&source| f64::from(source) < end - 1e-9);
        inside.map(|source| (source, (f64::from(source + 1)).min(end) - f64::from(source).max(begin))).collect()
    };
    (0..to).map(covered).collect()
}
