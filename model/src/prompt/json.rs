//! The `tojson` filter of chat templates.
//!
//! HF replaces Jinja's filter by Python's `json.dumps(value, ensure_ascii=False)`: a space follows `,` and `:`, and nothing is
//! escaped for HTML. Tool descriptions in prompts were trained in this form.

use std::io;

use minijinja::value::{Kwargs, Value};
use minijinja::{Error, ErrorKind};
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{Formatter, PrettyFormatter};

/// Formats `value` as Python does; `indent=N` breaks lines, `ensure_ascii` and `sort_keys` are accepted at their defaults.
pub(super) fn format_json(value: &Value, kwargs: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    for name in ["ensure_ascii", "sort_keys"] {
        if kwargs.get::<Option<bool>>(name)?.unwrap_or(false) {
            return Err(Error::new(ErrorKind::InvalidOperation, format!("tojson: {name}=true is not supported")));
        }
    }
    kwargs.assert_all_used()?;
    let mut bytes = Vec::new();
    let written = match indent {
        Some(width) => {
            let indent = " ".repeat(width);
            value
                .serialize(&mut Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(indent.as_bytes())))
        }
        None => value.serialize(&mut Serializer::with_formatter(&mut bytes, Spaced)),
    };
    written.map_err(|error| Error::new(ErrorKind::BadSerialization, "tojson").with_source(error))?;
    String::from_utf8(bytes).map_err(|error| Error::new(ErrorKind::BadSerialization, "tojson").with_source(error))
}

/// One line with `", "` and `": "`.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
