//! The `tojson` filter of chat templates.
//!
//! HF replaces Jinja's filter by Python's `json.dumps(value, ensure_ascii=False, indent, separators, sort_keys)`: a
//! space follows `,` and `:`, nothing is escaped for HTML, and numbers are written as Python writes them. Tool
//! descriptions in prompts were trained in this form.

use minijinja::value::{Kwargs, Rest, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind};

use super::super::bounded_text::{BoundedText, exceed};
use super::arithmetic::Number;
use super::float::format_float;
use super::text::MAX_DEPTH;

/// Formats `value` as Python does, in `limit` bytes at most. Arguments are those of HF's filter, by place or by name:
/// `ensure_ascii`, `indent` (a number of blanks, or a text), `separators` (between items, and behind a key),
/// `sort_keys`.
///
/// # Errors
/// Values that JSON has no form for, keys that cannot be sorted, other arguments.
pub(in crate::prompt) fn format_json(value: &Value, arguments: Rest<Value>, limit: usize) -> Result<String, Error> {
    let (places, named): (&[Value], Kwargs) = from_args(&arguments)?;
    let argument = |place: usize, name: &str| -> Result<Option<Value>, Error> {
        let named: Option<Value> = named.get(name)?;
        Ok(places.get(place).cloned().or(named).filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let ensure_ascii = argument(0, "ensure_ascii")?.is_some_and(|value| value.is_true());
    let indent = argument(1, "indent")?.map(|indent| read_indent(&indent)).transpose()?;
    let separators = argument(2, "separators")?.map(|pair| read_separators(&pair)).transpose()?;
    let sort_keys = argument(3, "sort_keys")?.is_some_and(|value| value.is_true());
    if places.len() > 4 {
        return Err(refuse("there are more than four arguments"));
    }
    named.assert_all_used()?;
    let (item, key) = separators.unwrap_or_else(|| {
        let item = if indent.is_some() { "," } else { ", " };
        (item.to_owned(), ": ".to_owned())
    });
    let mut writer = Writer { out: BoundedText::new(limit), ensure_ascii, indent, item, key, sort_keys };
    writer.write(value, 0)?;
    Ok(writer.out.finish())
}

/// A line's indentation for each level: blanks, how many of them, or a text.
fn read_indent(indent: &Value) -> Result<(String, usize), Error> {
    match (indent.as_str(), Number::read(indent)) {
        (Some(text), _) => Ok((text.to_owned(), 1)),
        // Python repeats a blank so often: not at all below 0.
        (None, Some(Number::Integer(count))) => {
            Ok((" ".to_owned(), usize::try_from(count.max(0)).unwrap_or(usize::MAX)))
        }
        _ => Err(refuse("indent is neither an integer nor a text")),
    }
}

fn read_separators(pair: &Value) -> Result<(String, String), Error> {
    let texts: Vec<Value> = pair.try_iter()?.take(3).collect();
    match texts.as_slice() {
        [item, key] => match (item.as_str(), key.as_str()) {
            (Some(item), Some(key)) => Ok((item.to_owned(), key.to_owned())),
            _ => Err(refuse("separators are no texts")),
        },
        _ => Err(refuse("separators are not two texts")),
    }
}

struct Writer {
    out: BoundedText,
    ensure_ascii: bool,
    /// What begins a line, and how often for each level; `None` for one line.
    indent: Option<(String, usize)>,
    item: String,
    key: String,
    sort_keys: bool,
}

impl Writer {
    fn write(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(exceed("it builds a list that is too deep"));
        }
        match value.kind() {
            ValueKind::None => self.out.push("null"),
            ValueKind::Bool => self.out.push(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.out.push(&write_number(value)),
            ValueKind::String => self.write_string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let mut items = value.try_iter()?.peekable();
                if items.peek().is_none() {
                    return self.out.push("[]");
                }
                self.out.push("[")?;
                for (index, item) in items.enumerate() {
                    self.begin_item(index, depth + 1)?;
                    self.write(&item, depth + 1)?;
                }
                self.break_line(depth)?;
                self.out.push("]")
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if keys.is_empty() {
                    return self.out.push("{}");
                }
                if self.sort_keys {
                    sort(&mut keys)?;
                }
                self.out.push("{")?;
                for (index, key) in keys.iter().enumerate() {
                    self.begin_item(index, depth + 1)?;
                    self.write_string(&name_key(key)?)?;
                    let separator = self.key.clone();
                    self.out.push(&separator)?;
                    self.write(&value.get_item(key)?, depth + 1)?;
                }
                self.break_line(depth)?;
                self.out.push("}")
            }
            other => Err(refuse(format!("JSON has no form for {other}"))),
        }
    }

    fn begin_item(&mut self, index: usize, depth: usize) -> Result<(), Error> {
        if index > 0 {
            self.out.push(&self.item)?;
        }
        self.break_line(depth)
    }

    fn break_line(&mut self, depth: usize) -> Result<(), Error> {
        let Some((text, count)) = &self.indent else { return Ok(()) };
        self.out.push("\n")?;
        self.out.repeat(text, count.saturating_mul(depth))
    }

    fn write_string(&mut self, text: &str) -> Result<(), Error> {
        self.out.push("\"")?;
        for character in text.chars() {
            match character {
                '"' => self.out.push("\\\"")?,
                '\\' => self.out.push("\\\\")?,
                '\n' => self.out.push("\\n")?,
                '\r' => self.out.push("\\r")?,
                '\t' => self.out.push("\\t")?,
                '\u{8}' => self.out.push("\\b")?,
                '\u{C}' => self.out.push("\\f")?,
                '\0'..='\u{1F}' => self.out.push(&format!("\\u{:04x}", u32::from(character)))?,
                ' '..='~' => self.out.push_char(character)?,
                _ if self.ensure_ascii => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        self.out.push(&format!("\\u{unit:04x}"))?;
                    }
                }
                _ => self.out.push_char(character)?,
            }
        }
        self.out.push("\"")
    }
}

/// A number as Python's JSON has it: `NaN` and `Infinity` are names there.
fn write_number(value: &Value) -> String {
    match Number::read(value) {
        Some(Number::Float(number)) if number.is_nan() => "NaN".to_owned(),
        Some(Number::Float(number)) if number.is_infinite() => {
            if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
        }
        Some(Number::Float(number)) => format_float(number),
        // Integers beyond 128 bits with a sign too.
        _ => value.to_string(),
    }
}

/// A key as the text that JSON wants.
fn name_key(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_owned()),
        ValueKind::None => Ok("null".to_owned()),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.to_owned()),
        ValueKind::Number => Ok(write_number(key)),
        other => Err(refuse(format!("{other} is no key"))),
    }
}

/// Sorts texts by code points, or numbers; Python compares no others with each other.
fn sort(keys: &mut [Value]) -> Result<(), Error> {
    if keys.iter().all(|key| key.as_str().is_some()) {
        keys.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        return Ok(());
    }
    if keys.iter().all(|key| Number::read(key).is_some()) {
        let number = |key: &Value| Number::read(key).map_or(0.0, Number::to_float);
        keys.sort_by(|a, b| number(a).total_cmp(&number(b)));
        return Ok(());
    }
    Err(refuse("keys of different kinds have no order"))
}

fn refuse(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadSerialization, format!("tojson: {}", reason.into()))
}
