//! `'{} of {total:>5}'.format(..)`.
//!
//! `{[name][.attribute | [key]]..[!conversion][:specification]}`, and fields inside a specification.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::super::bounded_text::BoundedText;
use super::arithmetic::Number;
use super::spec::Spec;
use super::text::{write_ascii, write_repr, write_text};

/// A text filled in, of so many bytes at most, from values by place and by name.
///
/// # Errors
/// What Python refuses: values that are missing or of the wrong kind, and fields that are none.
pub(in crate::prompt) fn format_braces(
    text: &str,
    values: &[Value],
    named: &dyn Fn(&str) -> Option<Value>,
    limit: usize,
) -> Result<String, Error> {
    let mut out = BoundedText::new(limit);
    let mut fields = Fields { values, named, numbering: Numbering::Unknown };
    fields.fill(&mut out, text, 2)?;
    Ok(out.finish())
}

/// How fields without a name find their values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Numbering {
    Unknown,
    /// `{0}`
    Written,
    /// `{}`: the next value's place.
    Automatic(usize),
}

/// Where the fields of one text find their values.
struct Fields<'a> {
    values: &'a [Value],
    named: &'a dyn Fn(&str) -> Option<Value>,
    numbering: Numbering,
}

impl Fields<'_> {
    /// Fills `text` in; `depth` is how deep fields may be.
    fn fill(&mut self, out: &mut BoundedText, text: &str, depth: usize) -> Result<(), Error> {
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            out.push(&rest[..at])?;
            let bracket = &rest[at..at + 1];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(bracket) {
                out.push(bracket)?;
                rest = after;
            } else if bracket == "}" {
                return Err(refuse("a `}` is alone: write it twice"));
            } else {
                let end = find_end(rest).ok_or_else(|| refuse("a `{` is alone: write it twice"))?;
                self.write(out, &rest[..end], depth)?;
                rest = &rest[end + 1..];
            }
        }
        out.push(rest)
    }

    fn write(&mut self, out: &mut BoundedText, field: &str, depth: usize) -> Result<(), Error> {
        let Some(deeper) = depth.checked_sub(1) else { return Err(refuse("fields are too deep in each other")) };
        let (name, conversion, spec) = split_field(field)?;
        let value = self.find(name)?;
        let mut written = BoundedText::new(out.left());
        self.fill(&mut written, spec, deeper)?;
        let spec = written.finish();
        let converted = match conversion {
            None => None,
            Some(letter) => {
                let mut text = BoundedText::new(out.left());
                match letter {
                    's' => write_text(&mut text, &value)?,
                    'r' => write_repr(&mut text, &value)?,
                    'a' => write_ascii(&mut text, &value)?,
                    other => return Err(refuse(format!("`!{other}` is no conversion"))),
                }
                Some(Value::from(text.finish()))
            }
        };
        let value = converted.unwrap_or(value);
        if spec.is_empty() {
            return write_text(out, &value);
        }
        let parsed = Spec::parse(&spec)?;
        match (value.as_str(), Number::read(&value)) {
            (Some(text), _) => parsed.write_str(out, text),
            (None, Some(number)) => parsed.write_number(out, number),
            _ => Err(refuse(format!("{} takes no format specification", value.kind()))),
        }
    }

    /// The value that a field names.
    fn find(&mut self, name: &str) -> Result<Value, Error> {
        let (first, mut path) = name.split_at(name.find(['.', '[']).unwrap_or(name.len()));
        let mut value = match first.parse::<usize>() {
            Ok(place) => self.take(place, Numbering::Written)?,
            Err(_) if first.is_empty() => {
                let place = if let Numbering::Automatic(place) = self.numbering { place } else { 0 };
                self.take(place, Numbering::Automatic(place + 1))?
            }
            Err(_) => (self.named)(first).ok_or_else(|| refuse(format!("there is no `{first}`")))?,
        };
        while !path.is_empty() {
            let (key, rest) = match path.strip_prefix('[') {
                Some(inner) => inner.split_once(']').ok_or_else(|| refuse("a `[` is not closed"))?,
                None => {
                    let attribute = path.strip_prefix('.').ok_or_else(|| refuse(format!("`{name}` is no name")))?;
                    attribute.split_at(attribute.find(['.', '[']).unwrap_or(attribute.len()))
                }
            };
            value = match key.parse::<usize>() {
                Ok(index) if path.starts_with('[') => value.get_item_by_index(index)?,
                _ => value.get_attr(key)?,
            };
            if value.is_undefined() || value.kind() == ValueKind::Invalid {
                return Err(refuse(format!("there is no `{name}`")));
            }
            path = rest;
        }
        Ok(value)
    }

    fn take(&mut self, place: usize, numbering: Numbering) -> Result<Value, Error> {
        let written = numbering == Numbering::Written;
        if self.numbering != Numbering::Unknown && (self.numbering == Numbering::Written) != written {
            return Err(refuse("some fields have a number and some have none"));
        }
        self.numbering = numbering;
        self.values.get(place).cloned().ok_or_else(|| refuse(format!("there is no value {place}")))
    }
}

/// Where the `}` is that closes a field.
fn find_end(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    text.bytes().position(|byte| {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return true,
            b'}' => depth -= 1,
            _ => {}
        }
        false
    })
}

/// Name, conversion and specification of a field.
fn split_field(field: &str) -> Result<(&str, Option<char>, &str), Error> {
    // A key in brackets may hold anything.
    let mut inside = false;
    let end = field.bytes().position(|byte| {
        match byte {
            b'[' => inside = true,
            b']' => inside = false,
            b'!' | b':' => return !inside,
            _ => {}
        }
        false
    });
    let (name, rest) = field.split_at(end.unwrap_or(field.len()));
    if let Some(spec) = rest.strip_prefix(':') {
        return Ok((name, None, spec));
    }
    let Some(rest) = rest.strip_prefix('!') else { return Ok((name, None, "")) };
    let mut characters = rest.chars();
    let conversion = characters.next().ok_or_else(|| refuse("a `!` has no letter behind it"))?;
    match (characters.as_str(), characters.as_str().strip_prefix(':')) {
        ("", _) => Ok((name, Some(conversion), "")),
        (_, Some(spec)) => Ok((name, Some(conversion), spec)),
        _ => Err(refuse(format!("`!{rest}` is no conversion"))),
    }
}

fn refuse(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("format: {}", reason.into()))
}
