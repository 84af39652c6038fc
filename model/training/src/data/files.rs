//! Files of conversations as one data set.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burn::data::dataset::Dataset;

use super::index::{Index, index_records};
use super::json::Json;
use super::read::read_record;
use super::{DataError, Problem, RecordResult, Source};

/// How files are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    /// What relative paths of pictures and videos are relative to, in place of each file's own folder.
    pub media_root: Option<PathBuf>,
    /// Most bytes of a record; a longer one is a [`Problem::TooLarge`] and is not read (64 MiB).
    pub max_record_bytes: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { media_root: None, max_record_bytes: 64 << 20 }
    }
}

/// The conversations of JSONL and JSON files, one file after the other, read when they are asked for.
///
/// ```no_run
/// use burn::data::dataset::Dataset;
/// use qwen3_vl_train::data::{Conversations, ReadOptions};
/// let data = Conversations::open(&["train.jsonl"], &ReadOptions::default())?;
/// println!("{} records, the first: {:?}", data.len(), data.get(0));
/// # Ok::<(), qwen3_vl_train::data::DataError>(())
/// ```
#[derive(Debug)]
pub struct Conversations {
    files: Vec<RecordFile>,
    /// Records before each file, and of all.
    starts: Vec<usize>,
}

#[derive(Debug)]
struct RecordFile {
    path: Arc<PathBuf>,
    media_root: PathBuf,
    max_record_bytes: u64,
    index: Index,
    file: Mutex<File>,
}

impl Conversations {
    /// Opens files and finds their records, without reading one.
    ///
    /// # Errors
    /// [`DataError::Read`], [`DataError::NotAFile`], [`DataError::Format`], [`DataError::Array`];
    /// [`DataError::Empty`] where a file has no record.
    pub fn open(paths: &[impl AsRef<Path>], options: &ReadOptions) -> Result<Self, DataError> {
        let files: Vec<_> =
            paths.iter().map(|path| RecordFile::open(path.as_ref(), options)).collect::<Result<_, _>>()?;
        if files.is_empty() {
            return Err(DataError::Empty { files: "no file".to_owned() });
        }
        let mut starts = vec![0];
        starts.extend(files.iter().scan(0, |sum, file| {
            *sum += file.index.spans.len();
            Some(*sum)
        }));
        Ok(Self { files, starts })
    }

    /// A number that other files would not have: of the bytes of all files, in order. Pictures are not looked at.
    pub fn fingerprint(&self) -> u64 {
        self.files.iter().fold(0, |sum: u64, file| sum.rotate_left(1) ^ file.index.fingerprint)
    }
}

impl Dataset<RecordResult> for Conversations {
    fn get(&self, index: usize) -> Option<RecordResult> {
        let file = self.starts.partition_point(|&start| start <= index) - 1;
        self.files.get(file).map(|records| records.read(index - self.starts[file]))
    }

    fn len(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }
}

impl RecordFile {
    fn open(path: &Path, options: &ReadOptions) -> Result<Self, DataError> {
        let failed = |source| DataError::Read { path: path.to_owned(), source };
        let found = fs::metadata(path).map_err(failed)?;
        if !found.is_file() {
            let found = if found.is_dir() { "a folder" } else { "a pipe or device" };
            return Err(DataError::NotAFile { path: path.to_owned(), found });
        }
        let mut file = File::open(path).map_err(failed)?;
        let index = index_records(path, &mut file)?;
        if index.spans.is_empty() {
            return Err(DataError::Empty { files: path.display().to_string() });
        }
        let own = || path.parent().unwrap_or(Path::new("")).to_owned();
        let media_root = options.media_root.clone().unwrap_or_else(own);
        let max_record_bytes = options.max_record_bytes;
        Ok(Self { path: Arc::new(path.to_owned()), media_root, max_record_bytes, index, file: Mutex::new(file) })
    }

    fn read(&self, index: usize) -> RecordResult {
        let span = self.index.spans[index];
        let line = span.line as usize;
        let record = if self.index.array { index + 1 } else { line };
        let at = Source { file: self.path.clone(), record, line };
        let (bytes, max_bytes) = (u64::from(span.bytes), self.max_record_bytes);
        if bytes > max_bytes || span.bytes == u32::MAX {
            return Err(DataError::at(&at, Problem::TooLarge { bytes, max_bytes }));
        }
        let data = self.read_bytes(span.offset, bytes)?;
        let read = || read_record(Json::read(&data, line, span.column as usize)?, &at, &self.media_root);
        read().map_err(|mut problem| {
            if let Problem::Json { reason, .. } = &mut problem
                && !self.index.array
                && reason.starts_with("EOF")
            {
                reason.push_str("; a file that begins with a brace has one record a line");
            }
            DataError::at(&at, problem)
        })
    }

    fn read_bytes(&self, offset: u64, bytes: u64) -> Result<Vec<u8>, DataError> {
        let failed = |source| DataError::Read { path: self.path.as_ref().clone(), source };
        let changed = || DataError::Changed { path: self.path.as_ref().clone() };
        let mut data = Vec::with_capacity(bytes as usize);
        // Nothing is left half done by a thread that panics here.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.metadata().map_err(failed)?.len() != self.index.bytes {
            return Err(changed());
        }
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        Read::take(&mut *file, bytes).read_to_end(&mut data).map_err(failed)?;
        if data.len() as u64 == bytes { Ok(data) } else { Err(changed()) }
    }
}
