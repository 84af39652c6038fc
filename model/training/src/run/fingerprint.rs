//! What files a run read, so that it doesn't go on with others.

use super::error::RunError;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// How much is read at a time.
const PIECE: usize = 1 << 20;

/// A file's name, length and checksum. Its folder may be another: data may be moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePrint {
    /// Without its folder.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
    /// CRC-32, of all that was looked at. It tells accidents, not forgeries.
    pub crc32: u32,
}

impl FilePrint {
    /// Reads all of a file: one of records, whose pictures are not looked at.
    ///
    /// # Errors
    /// [`RunError::Read`].
    pub fn of_all(path: &Path) -> Result<Self, RunError> {
        Self::read(path, |file, hasher, _| copy_into(file, u64::MAX, hasher))
    }

    /// Reads the first and the last MiB of a file: one of weights, all of which change in training.
    ///
    /// # Errors
    /// [`RunError::Read`].
    pub fn of_ends(path: &Path) -> Result<Self, RunError> {
        Self::read(path, |file, hasher, bytes| {
            let piece = PIECE as u64;
            copy_into(file, piece, hasher)?;
            file.seek(SeekFrom::Start(bytes.saturating_sub(piece).max(piece.min(bytes))))?;
            copy_into(file, piece, hasher)
        })
    }

    fn read(
        path: &Path,
        read: impl FnOnce(&mut File, &mut crc32fast::Hasher, u64) -> std::io::Result<()>,
    ) -> Result<Self, RunError> {
        let mut hasher = crc32fast::Hasher::new();
        let bytes = (|| {
            let mut file = File::open(path)?;
            let bytes = file.metadata()?.len();
            read(&mut file, &mut hasher, bytes)?;
            Ok(bytes)
        })();
        let bytes = bytes.map_err(|source| RunError::Read { path: path.to_owned(), source })?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, bytes, crc32: hasher.finalize() })
    }
}

/// The weights and the configuration of a checkpoint in a folder: `config.json` and every `*.safetensors`.
///
/// # Errors
/// [`RunError::Read`].
pub fn checkpoint_prints(dir: &Path) -> Result<Vec<FilePrint>, RunError> {
    let failed = |source| RunError::Read { path: dir.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "safetensors") || path.ends_with("config.json") {
            files.push(path);
        }
    }
    files.sort();
    files.iter().map(|path| FilePrint::of_ends(path)).collect()
}

fn copy_into(file: &mut File, most: u64, hasher: &mut crc32fast::Hasher) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut file = file.take(most);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(()),
            count => hasher.update(&piece[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_at_either_end_shows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE] {
            let mut bytes = vec![7u8; length];
            std::fs::write(&path, &bytes).unwrap();
            let (all, ends) = (FilePrint::of_all(&path).unwrap(), FilePrint::of_ends(&path).unwrap());
            assert_eq!((all.bytes, all.crc32), (length as u64, crc32fast::hash(&bytes)));
            if length <= 2 * PIECE {
                assert_eq!(ends, all, "{length}: everything was looked at, once");
            }
            for at in [0, length.saturating_sub(1)] {
                let Some(byte) = bytes.get_mut(at) else { continue };
                *byte ^= 1;
                std::fs::write(&path, &bytes).unwrap();
                assert_ne!(FilePrint::of_ends(&path).unwrap(), ends, "{length} {at}");
                bytes[at] ^= 1;
            }
        }
        assert_eq!(checkpoint_prints(dir.path()).unwrap().len(), 1);
    }
}
