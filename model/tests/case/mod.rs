//! Reads the reference cases under `tests/fixtures`.
#![allow(dead_code)] // each test binary uses its part

use std::path::PathBuf;

use qwen3_vl_burn::processor::Grid;
use safetensors::{SafeTensors, tensor::Dtype};

/// The path of a fixture.
pub fn locate(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The tensors of one case.
pub struct Case(Vec<u8>);

impl Case {
    pub fn read(name: &str) -> Self {
        Self(std::fs::read(locate(name)).unwrap())
    }

    fn tensor(&self, name: &str, dtype: Dtype) -> Option<Vec<u8>> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(name).ok()?;
        assert_eq!(view.dtype(), dtype);
        Some(view.data().to_vec())
    }

    pub fn ints(&self, name: &str) -> Option<Vec<i64>> {
        let data = self.tensor(name, Dtype::I64)?;
        Some(data.chunks_exact(8).map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap())).collect())
    }

    pub fn floats(&self, name: &str) -> Option<Vec<f32>> {
        let data = self.tensor(name, Dtype::F32)?;
        Some(data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect())
    }

    /// Grids by name, none where the case has no such tensor.
    pub fn grids(&self, name: &str) -> Vec<Grid> {
        let sides: Vec<usize> = self.ints(name).unwrap_or_default().iter().map(|&n| n as usize).collect();
        sides.chunks_exact(3).map(|grid| Grid { t: grid[0], h: grid[1], w: grid[2] }).collect()
    }
}

/// `expanded` of a case, with its runs `<|image_pad|>*N` written out.
pub fn write_out(expanded: &str) -> String {
    let mut text = String::new();
    let mut rest = expanded;
    while let Some(at) = rest.find("_pad|>*") {
        let start = rest[..at].rfind("<|").unwrap();
        let digits = &rest[at + 7..];
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap();
        text += &rest[..start];
        text += &rest[start..at + 6].repeat(digits[..end].parse().unwrap());
        rest = &digits[end..];
    }
    text + rest
}
