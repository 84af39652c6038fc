//! Writes checkpoint files, good and bad, for the tests.
#![allow(dead_code, reason = "each test program uses its part")]

use std::fs;
use std::path::{Path, PathBuf};

/// A folder of fixtures.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The bytes of a safetensors file: length, header, data.
pub fn frame(header: &[u8], data: &[u8]) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header);
    file.extend_from_slice(data);
    file
}

/// A folder whose `model.safetensors` is `content`.
pub fn folder_with(content: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("model.safetensors"), content).unwrap();
    dir
}

/// A folder whose `model.safetensors` has this header and `data` zero bytes.
pub fn folder_with_header(header: &str, data: usize) -> tempfile::TempDir {
    folder_with(&frame(header.as_bytes(), &vec![0; data]))
}

/// A header entry.
pub fn entry(name: &str, dtype: &str, shape: &[usize], begin: usize, end: usize) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#)
}

/// A tensor to write: name, dtype, shape, bytes.
pub type Raw<'a> = (&'a str, &'a str, &'a [usize], &'a [u8]);

/// The bytes of a safetensors file of `tensors`. `padding` spaces end the header.
pub fn file_of(tensors: &[Raw], padding: usize) -> Vec<u8> {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        entries.push(entry(name, dtype, shape, data.len(), data.len() + bytes.len()));
        data.extend_from_slice(bytes);
    }
    let header = format!("{{{}}}{}", entries.join(","), " ".repeat(padding));
    frame(header.as_bytes(), &data)
}

/// Little-endian bytes.
pub fn bytes_of(floats: &[f32]) -> Vec<u8> {
    floats.iter().flat_map(|float| float.to_le_bytes()).collect()
}
