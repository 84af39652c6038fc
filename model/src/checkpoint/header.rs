//! The header of a safetensors file: eight bytes of length, then JSON that gives each tensor's dtype, shape and place.
//!
//! A header comes from outside, so it is read as if it lied. Order of the checks, each before anything that relies on
//! it:
//!
//! 1. the length is under a cap and inside the file, before a byte of the JSON is looked at;
//! 2. the JSON is parsed by a visitor that stops at a repeated name, an unknown field, too many tensors or dimensions,
//!    so that memory is bounded by the caps and not by what the header asks for;
//! 3. for every tensor, by name: elements and bytes without overflow, `end - begin` equal to them, and inside the file;
//! 4. sorted by place: no overlap, no gap, and the last tensor ends where the file does;
//! 5. the `safetensors` crate reads the same header and must agree.
//!
//! Format: <https://github.com/huggingface/safetensors#format>.

use super::CheckpointError;
use crate::json::{FETCH_LFS, LFS_POINTER};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::path::Path;

/// The most that a header may be, bytes. The largest released checkpoint's, unsharded, would be 0.25 MiB; with a matrix
/// and a scale for each expert it has 72,000 tensors more, which are 9 MiB.
pub(super) const MAX_HEADER_BYTES: u64 = 16 << 20;
/// The most tensors in one file, or in one index.
pub(super) const MAX_TENSORS: usize = 1 << 17;
/// The longest name of a tensor, bytes.
pub(super) const MAX_NAME_BYTES: usize = 512;
/// The most dimensions. A patch embedding has 5.
const MAX_RANK: usize = 8;
/// The most entries of `__metadata__`.
const MAX_METADATA: usize = 1 << 10;
/// Bytes of the length in front of the JSON.
const LENGTH_BYTES: usize = 8;

/// One tensor, as the header describes it, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TensorEntry {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Its bytes in the file.
    pub(super) range: Range<usize>,
}

/// Reads and checks the header of `file`, whose whole content is `content`. The tensors come back in the order of their
/// bytes.
pub(super) fn read_header(file: &Path, content: &[u8]) -> Result<Vec<TensorEntry>, CheckpointError> {
    let json = find_json(file, content)?;
    let header: Header = serde_json::from_slice(json).map_err(|error| malformed(file, error))?;
    let data_start = LENGTH_BYTES + json.len();
    let mut entries = Vec::with_capacity(header.0.len());
    for (name, raw) in header.0 {
        entries.push(place_tensor(file, content.len(), data_start, name, raw)?);
    }
    // Empty tensors sort before what begins at the same byte.
    entries.sort_by(|a, b| (a.range.start, a.range.end, &a.name).cmp(&(b.range.start, b.range.end, &b.name)));
    check_cover(file, content.len(), data_start, &entries)?;
    SafeTensors::read_metadata(content).map_err(|error| malformed(file, error))?;
    Ok(entries)
}

fn malformed(file: &Path, reason: impl ToString) -> CheckpointError {
    CheckpointError::Header { file: file.to_owned(), reason: reason.to_string() }
}

/// The JSON between the length and the tensors.
fn find_json<'a>(file: &Path, content: &'a [u8]) -> Result<&'a [u8], CheckpointError> {
    let truncated = |needed| CheckpointError::Truncated { file: file.to_owned(), needed, found: content.len() as u64 };
    let Some((length, rest)) = content.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(truncated(LENGTH_BYTES as u64));
    };
    if let Some((found, advice)) = name_other(content) {
        return Err(CheckpointError::OtherFile { file: file.to_owned(), found, advice });
    }
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES {
        return Err(CheckpointError::TooLarge {
            file: file.to_owned(),
            what: "the header's length in bytes",
            found: length,
            limit: MAX_HEADER_BYTES,
        });
    }
    // Under the cap, so it fits a usize.
    let json = rest.get(..length as usize).ok_or_else(|| truncated(LENGTH_BYTES as u64 + length))?;
    match json.first() {
        Some(b'{') => Ok(json),
        _ => Err(malformed(file, "it does not begin with `{`")),
    }
}

/// What a file is by its first bytes, where it has only the name of a safetensors file, and what to do about it.
fn name_other(content: &[u8]) -> Option<(&'static str, &'static str)> {
    const CONVERT: &str = "save the weights as safetensors (HF: save_pretrained)";
    let starts = |bytes: &[u8]| content.starts_with(bytes);
    if starts(LFS_POINTER) {
        return Some(("a Git LFS pointer", FETCH_LFS));
    }
    // The opcode of a protocol, then its number; read as a length, such a header would be far too long.
    let pickle = matches!(content, [0x80, 2..=5, b'}' | b']' | b'c' | 0x8A | 0x95, ..]) || starts(b"PK\x03\x04");
    if pickle {
        return Some(("a pickle, PyTorch's own format", CONVERT));
    }
    starts(b"GGUF").then_some(("a GGUF file", "use the checkpoint that it was converted from"))
}

/// Checks one tensor against itself and the file's length.
fn place_tensor(
    file: &Path,
    file_len: usize,
    data_start: usize,
    name: String,
    raw: RawTensor,
) -> Result<TensorEntry, CheckpointError> {
    let refuse = |reason: String| CheckpointError::Tensor { file: file.to_owned(), tensor: name.clone(), reason };
    let (begin, end) = raw.data_offsets;
    let bits = raw.shape.0.iter().try_fold(raw.dtype.bitsize(), |bits, &size| bits.checked_mul(size));
    let bytes = bits
        .filter(|bits| bits % 8 == 0)
        .ok_or_else(|| refuse(format!("shape {:?} of {} has no size in bytes", raw.shape.0, raw.dtype)))?
        / 8;
    if end.checked_sub(begin) != Some(bytes) {
        return Err(refuse(format!(
            "shape {:?} of {} takes {bytes} bytes, but its data_offsets are [{begin}, {end}]",
            raw.shape.0, raw.dtype
        )));
    }
    let range = (data_start.checked_add(begin), data_start.checked_add(end));
    match range {
        (Some(start), Some(stop)) if stop <= file_len => {
            Ok(TensorEntry { name, dtype: raw.dtype, shape: raw.shape.0, range: start..stop })
        }
        _ => Err(CheckpointError::Tensor {
            file: file.to_owned(),
            reason: format!(
                "its data_offsets [{begin}, {end}] end after the file, which has {} bytes of tensors (truncated?)",
                file_len - data_start
            ),
            tensor: name,
        }),
    }
}

/// Checks that the tensors, in the order of their bytes, cover the rest of the file once.
fn check_cover(
    file: &Path,
    file_len: usize,
    data_start: usize,
    entries: &[TensorEntry],
) -> Result<(), CheckpointError> {
    let mut end = data_start;
    let mut previous = "the header";
    for entry in entries {
        if entry.range.start != end {
            let what = if entry.range.start < end { "overlaps" } else { "leaves a gap after" };
            let reason = format!("{what} {previous}: it begins at byte {} and not {end}", entry.range.start);
            return Err(CheckpointError::Tensor { file: file.to_owned(), tensor: entry.name.clone(), reason });
        }
        end = entry.range.end;
        previous = &entry.name;
    }
    if end != file_len {
        let (expected, found) = (end as u64, file_len as u64);
        return Err(CheckpointError::Trailing { file: file.to_owned(), expected, found });
    }
    Ok(())
}

/// The header's JSON object without `__metadata__`.
struct Header(Vec<(String, RawTensor)>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTensor {
    dtype: Dtype,
    shape: Shape,
    data_offsets: (usize, usize),
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;

        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut tensors: Vec<(String, RawTensor)> = Vec::new();
                let mut names = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name.len() > MAX_NAME_BYTES {
                        return Err(A::Error::custom(format!("a tensor's name is longer than {MAX_NAME_BYTES} bytes")));
                    }
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom(format!("tensor `{name}` is described twice")));
                    }
                    if tensors.len() == MAX_TENSORS {
                        return Err(A::Error::custom(format!("it has more than {MAX_TENSORS} tensors")));
                    }
                    if name == "__metadata__" {
                        map.next_value::<Metadata>()?;
                        continue;
                    }
                    let raw =
                        map.next_value().map_err(|error| A::Error::custom(format!("tensor `{name}`: {error}")))?;
                    tensors.push((name, raw));
                }
                Ok(Header(tensors))
            }
        }

        deserializer.deserialize_map(HeaderVisitor)
    }
}

/// Sizes of the dimensions, no more than [`MAX_RANK`].
struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ShapeVisitor;

        impl<'de> Visitor<'de> for ShapeVisitor {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "at most {MAX_RANK} sizes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sizes: A) -> Result<Shape, A::Error> {
                let mut shape = Vec::with_capacity(MAX_RANK);
                while let Some(size) = sizes.next_element()? {
                    if shape.len() == MAX_RANK {
                        return Err(A::Error::custom(format!("its shape has more than {MAX_RANK} dimensions")));
                    }
                    shape.push(size);
                }
                Ok(Shape(shape))
            }
        }

        deserializer.deserialize_seq(ShapeVisitor)
    }
}

/// `__metadata__`: looked at, not kept.
struct Metadata;

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MetadataVisitor;

        impl<'de> Visitor<'de> for MetadataVisitor {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut count = 0;
                while map.next_entry::<IgnoredAny, String>()?.is_some() {
                    count += 1;
                    if count > MAX_METADATA {
                        return Err(A::Error::custom(format!("__metadata__ has more than {MAX_METADATA} entries")));
                    }
                }
                Ok(Metadata)
            }
        }

        deserializer.deserialize_map(MetadataVisitor)
    }
}
