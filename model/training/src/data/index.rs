//! Where the records of a file begin and end, so that a file of any size is read one record at a time.
//!
//! The first byte that is no blank tells the format: `{` is JSONL, a record for each line that isn't blank; `[` is a
//! JSON array, whose elements are found by following brackets and strings, and read whole only when they are asked for.
//! A file is gone through once, in pieces; 24 bytes a record are kept.

use std::io::Read;
use std::path::Path;

use super::DataError;
use crate::fnv;

/// Bytes that are read at one time.
const PIECE: usize = 1 << 16;
/// The mark with which some programs begin UTF-8 files.
const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// Where one record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Its first byte in the file.
    pub offset: u64,
    /// Its length; that of a longer one is `u32::MAX`.
    pub bytes: u32,
    /// The line in which it begins, from 1.
    pub line: u32,
    /// The byte of that line at which it begins, from 1.
    pub column: u32,
}

/// The records of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Index {
    /// In order.
    pub spans: Vec<Span>,
    /// Whether they are elements of a JSON array.
    pub array: bool,
    /// FNV-1a of all bytes, 64 bits.
    pub fingerprint: u64,
    /// Length of the file.
    pub bytes: u64,
}

/// Goes through the file at `path`.
///
/// # Errors
/// [`DataError::Read`]; [`DataError::Format`] for what is neither JSONL nor an array; [`DataError::Array`] for an array
/// that doesn't end, or has nothing where an element is expected.
pub(super) fn index_records(path: &Path, mut file: impl Read) -> Result<Index, DataError> {
    let mut scan = Scan::default();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => piece[..read].iter().try_for_each(|&byte| scan.take(byte)),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(DataError::Read { path: path.to_owned(), source }),
        }
        .map_err(|fault| fault.at(path))?;
    }
    scan.finish().map_err(|fault| fault.at(path))
}

/// What stops a scan.
enum Fault {
    Format(String),
    Array { line: usize, column: usize, reason: &'static str },
}

impl Fault {
    fn at(self, path: &Path) -> DataError {
        let path = path.to_owned();
        match self {
            Self::Format(found) => DataError::Format { path, found },
            Self::Array { line, column, reason } => DataError::Array { path, line, column, reason },
        }
    }
}

/// What the bytes so far have told.
#[derive(Default)]
enum State {
    /// Nothing yet.
    #[default]
    Beginning,
    /// A line, and whether it has more than blanks.
    Line,
    /// An array.
    Array(Array),
}

/// What the bytes of an array so far have told.
#[derive(Default)]
struct Array {
    /// Brackets and braces that are open inside of the array.
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// Whether a comma came, so that an element must.
    comma: bool,
    /// Whether an element came since the last comma.
    element: bool,
    closed: bool,
}

struct Scan {
    state: State,
    spans: Vec<Span>,
    /// Where the record at hand begins.
    begin: Option<Span>,
    /// One past its last byte that is no blank.
    end: u64,
    offset: u64,
    line: usize,
    column: usize,
    fingerprint: u64,
}

impl Default for Scan {
    fn default() -> Self {
        let (state, spans) = (State::default(), Vec::new());
        Self { state, spans, begin: None, end: 0, offset: 0, line: 1, column: 1, fingerprint: fnv::OFFSET }
    }
}

impl Scan {
    fn take(&mut self, byte: u8) -> Result<(), Fault> {
        self.fingerprint = fnv::add(self.fingerprint, byte);
        let blank = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        match &mut self.state {
            State::Beginning => self.begin(byte, blank)?,
            State::Line if byte == b'\n' => self.close(),
            State::Line if !blank => self.extend(),
            State::Line => {}
            State::Array(_) => self.take_of_array(byte, blank)?,
        }
        self.offset += 1;
        if byte == b'\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Ok(())
    }

    fn begin(&mut self, byte: u8, blank: bool) -> Result<(), Fault> {
        let mark = usize::try_from(self.offset).ok().and_then(|at| BYTE_ORDER_MARK.get(at));
        match byte {
            _ if blank || mark == Some(&byte) => {}
            b'{' => {
                self.state = State::Line;
                self.extend();
            }
            b'[' => self.state = State::Array(Array::default()),
            0 | 0xFE | 0xFF => return Err(Fault::Format("bytes of UTF-16 or of no text at all".to_owned())),
            _ => return Err(Fault::Format(format!("{:?}", char::from(byte)))),
        }
        Ok(())
    }

    fn take_of_array(&mut self, byte: u8, blank: bool) -> Result<(), Fault> {
        let State::Array(array) = &mut self.state else { return Ok(()) };
        let fault = |reason| Err(Fault::Array { line: self.line, column: self.column, reason });
        if array.closed {
            return if blank { Ok(()) } else { fault("something follows the array, which ends before it") };
        }
        if array.in_string {
            match byte {
                _ if array.escaped => array.escaped = false,
                b'\\' => array.escaped = true,
                b'"' => array.in_string = false,
                _ => {}
            }
            self.extend();
            return Ok(());
        }
        match byte {
            _ if blank => return Ok(()),
            b',' if array.depth == 0 => {
                if !array.element {
                    return fault("a record is expected, found a comma");
                }
                (array.comma, array.element) = (true, false);
                self.close();
                return Ok(());
            }
            b']' if array.depth == 0 => {
                if array.comma && !array.element {
                    return fault("a record is expected after the comma, found the end of the array");
                }
                array.closed = true;
                self.close();
                return Ok(());
            }
            b'[' | b'{' => array.depth += 1,
            b']' | b'}' => match array.depth.checked_sub(1) {
                Some(depth) => array.depth = depth,
                None => return fault("a brace closes that was not opened"),
            },
            b'"' => array.in_string = true,
            _ => {}
        }
        array.element = true;
        self.extend();
        Ok(())
    }

    /// The byte at hand belongs to the record.
    fn extend(&mut self) {
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (line, column) = (narrow(self.line), narrow(self.column));
        self.begin.get_or_insert(Span { offset: self.offset, bytes: 0, line, column });
        self.end = self.offset + 1;
    }

    /// The record at hand has ended, if there is one.
    fn close(&mut self) {
        if let Some(begin) = self.begin.take() {
            let bytes = u32::try_from(self.end - begin.offset).unwrap_or(u32::MAX);
            self.spans.push(Span { bytes, ..begin });
        }
    }

    fn finish(mut self) -> Result<Index, Fault> {
        let array = match &self.state {
            State::Array(array) if !array.closed => {
                let at = self.begin.map_or((self.line, self.column), |span| (span.line as usize, span.column as usize));
                let reason = if array.in_string {
                    "the file ends inside a string: a quote is missing in this record"
                } else if self.begin.is_some() {
                    "the file ends inside this record"
                } else {
                    "the array is not closed"
                };
                return Err(Fault::Array { line: at.0, column: at.1, reason });
            }
            State::Array(_) => true,
            State::Beginning | State::Line => false,
        };
        self.close();
        Ok(Index { spans: self.spans, array, fingerprint: self.fingerprint, bytes: self.offset })
    }
}
