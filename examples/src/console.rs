//! Standard output and standard error of a program.
//!
//! `println!` and `eprintln!` panic where nobody reads any more (`describe | head -1`) or the disk is full. What goes
//! to standard output is what the program is for: that it cannot be written is an error. What goes to standard error is
//! said besides: without a reader, the program goes on.

use crate::Error;
use std::fmt::Arguments;
use std::io::{IsTerminal, Write};

/// Writes to standard output, at once.
///
/// # Errors
/// [`Error::Output`] where nobody reads any more, or the disk is full.
pub fn write_out(text: Arguments<'_>) -> Result<(), Error> {
    let mut output = std::io::stdout().lock();
    output.write_fmt(text).and_then(|()| output.flush()).map_err(Error::Output)
}

/// Writes to standard error, if anybody reads.
pub fn write_note(text: Arguments<'_>) {
    let mut output = std::io::stderr().lock();
    let _ = output.write_fmt(text).and_then(|()| output.flush());
}

/// A line on standard error, in the form of `println!`.
#[macro_export]
macro_rules! note {
    ($($text:tt)*) => {
        $crate::console::write_note(format_args!("{}\n", format_args!($($text)*)))
    };
}

/// A line on standard output, in the form of `println!`; an [`Error`] where it cannot be written.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => {
        $crate::console::write_out(format_args!("{}\n", format_args!($($text)*)))
    };
}

/// Whether standard error takes colours: a terminal does, unless `NO_COLOR` is set (<https://no-color.org>).
pub fn has_colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
