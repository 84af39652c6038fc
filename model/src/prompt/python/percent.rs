//! `'%s of %d' % (..)`, and Jinja's filter `format`, which is the same.
//!
//! `%[(key)][flags][width][.precision][length]type`; a width or precision of `*` is taken from the values.

use std::cell::Cell;
use std::iter::Peekable;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::super::bounded_text::{BoundedText, exceed};
use super::arithmetic::Number;
use super::spec::Spec;
use super::text::{write_ascii, write_repr, write_text};

/// What a text with `%` is filled with.
pub(in crate::prompt) struct Arguments {
    /// Taken in order; there must be neither more nor fewer than fields.
    values: Vec<Value>,
    /// Where `%(key)s` looks; the text need not name all of it.
    mapping: Option<Value>,
}

impl Arguments {
    /// The items of a tuple.
    pub(in crate::prompt) fn tuple(values: Vec<Value>) -> Self {
        Self { values, mapping: None }
    }

    /// A single value, which may be a dictionary.
    pub(in crate::prompt) fn single(value: Value) -> Self {
        let mapping = matches!(value.kind(), ValueKind::Map | ValueKind::Seq).then(|| value.clone());
        Self { values: vec![value], mapping }
    }
}

/// A text filled in, of so many bytes at most.
///
/// # Errors
/// What Python refuses: values of the wrong kind, too few or too many of them, a field that is none.
pub(in crate::prompt) fn format_percent(text: &str, arguments: Arguments, limit: usize) -> Result<String, Error> {
    let Arguments { values, mapping } = arguments;
    let mut out = BoundedText::new(limit);
    let mut values = values.into_iter();
    let mut named = false;
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push(&rest[..at])?;
        let behind = &rest[at + 1..];
        let read = Cell::new(0);
        let mut characters = behind.chars().inspect(|c| read.set(read.get() + c.len_utf8())).peekable();
        let field = Field::parse(&mut characters, &mut values)?;
        let ahead = characters.peek().map_or(0, |c| c.len_utf8());
        rest = &behind[read.get() - ahead..];
        if field.kind == '%' {
            out.push("%")?;
            continue;
        }
        let value = match &field.key {
            None => values.next().ok_or_else(|| refuse("the text has more fields than there are values"))?,
            Some(key) => {
                named = true;
                let mapping = mapping.as_ref().filter(|mapping| mapping.kind() == ValueKind::Map);
                let mapping = mapping.ok_or_else(|| refuse("a field with a name needs a dictionary"))?;
                let value = mapping.get_attr(key)?;
                if value.is_undefined() {
                    return Err(refuse(format!("the dictionary has no `{key}`")));
                }
                value
            }
        };
        field.write(&mut out, &value)?;
    }
    out.push(rest)?;
    if !named && mapping.is_none() && values.next().is_some() {
        return Err(refuse("there are more values than the text has fields"));
    }
    Ok(out.finish())
}

/// One field.
#[derive(Default)]
struct Field {
    key: Option<String>,
    spec: Spec,
    kind: char,
}

impl Field {
    /// Reads what follows a `%`; stars take from `values`.
    fn parse(
        rest: &mut Peekable<impl Iterator<Item = char>>,
        values: &mut impl Iterator<Item = Value>,
    ) -> Result<Self, Error> {
        let mut field = Self::default();
        if rest.next_if_eq(&'(').is_some() {
            let (mut key, mut depth) = (String::new(), 1usize);
            while depth > 0 {
                let character = rest.next().ok_or_else(incomplete)?;
                match character {
                    '(' => depth += 1,
                    ')' => depth -= 1,
                    _ => {}
                }
                key.extend((depth > 0).then_some(character));
            }
            field.key = Some(key);
        }
        let spec = &mut field.spec;
        while let Some(flag) = rest.next_if(|flag| "#0- +".contains(*flag)) {
            match flag {
                '#' => spec.alternate = true,
                '0' => spec.zero = true,
                '-' => spec.align = Some('<'),
                '+' => spec.sign = Some('+'),
                _ => spec.sign = spec.sign.or(Some(' ')),
            }
        }
        let width = read_count(rest, values)?;
        if width.is_some_and(|width| width < 0) {
            spec.align = Some('<');
        }
        spec.width = to_size(width.unwrap_or(0).unsigned_abs())?;
        if rest.next_if_eq(&'.').is_some() {
            let precision = read_count(rest, values)?.unwrap_or(0);
            spec.precision = Some(to_size(precision.max(0).unsigned_abs())?);
        }
        rest.next_if(|length| "hlL".contains(*length));
        field.kind = rest.next().ok_or_else(incomplete)?;
        Ok(field)
    }

    fn write(self, out: &mut BoundedText, value: &Value) -> Result<(), Error> {
        let Self { mut spec, kind, .. } = self;
        // Zeros on the right would make another number.
        spec.zero &= spec.align.is_none();
        let number = Number::read(value);
        match (kind, number) {
            ('s' | 'r' | 'a', _) => {
                let mut text = BoundedText::new(out.left());
                match kind {
                    's' => write_text(&mut text, value)?,
                    'r' => write_repr(&mut text, value)?,
                    _ => write_ascii(&mut text, value)?,
                }
                write_padded(out, spec, &text.finish())
            }
            ('d' | 'i' | 'u', Some(number)) => {
                let number = match number {
                    Number::Integer(number) => number,
                    Number::Float(float) if float.abs() < 2f64.powi(127) => float.trunc() as i128,
                    Number::Float(_) => return Err(refuse("a float beyond 128 bits is no integer")),
                };
                write_integer(out, &spec, number, ("", number.unsigned_abs().to_string()))
            }
            ('x', Some(Number::Integer(number))) => {
                write_integer(out, &spec, number, ("0x", format!("{:x}", number.unsigned_abs())))
            }
            ('X', Some(Number::Integer(number))) => {
                write_integer(out, &spec, number, ("0X", format!("{:X}", number.unsigned_abs())))
            }
            ('o', Some(Number::Integer(number))) => {
                write_integer(out, &spec, number, ("0o", format!("{:o}", number.unsigned_abs())))
            }
            ('e' | 'E' | 'f' | 'F' | 'g' | 'G', Some(number)) => {
                spec.kind = Some(kind);
                spec.write_number(out, Number::Float(number.to_float()))
            }
            ('c', Some(Number::Integer(number))) => {
                let character = u32::try_from(number).ok().and_then(char::from_u32);
                let character = character.ok_or_else(|| refuse(format!("{number} is no character")))?;
                write_padded(out, spec, &character.to_string())
            }
            ('c', _) => match value.as_str().filter(|text| text.chars().count() == 1) {
                Some(character) => write_padded(out, spec, character),
                None => Err(refuse("`%c` needs a character or its number")),
            },
            ('d' | 'i' | 'u' | 'x' | 'X' | 'o' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G', _) => {
                Err(refuse(format!("`%{kind}` does not take {}", value.kind())))
            }
            _ => Err(refuse(format!("`%{kind}` is no field"))),
        }
    }
}

fn write_padded(out: &mut BoundedText, spec: Spec, text: &str) -> Result<(), Error> {
    let align = Some(spec.align.unwrap_or('>'));
    Spec { width: spec.width, precision: spec.precision, align, ..Spec::default() }.write_str(out, text)
}

/// Digits, at least as many as the precision says.
fn write_integer(
    out: &mut BoundedText,
    spec: &Spec,
    number: i128,
    (prefix, digits): (&str, String),
) -> Result<(), Error> {
    let missing = spec.precision.unwrap_or(0).saturating_sub(digits.len());
    if missing > out.left() {
        return Err(exceed("it builds a text that is too long"));
    }
    let prefix = if spec.alternate { prefix } else { "" };
    let digits = "0".repeat(missing) + &digits;
    Spec { precision: None, ..spec.clone() }.write_digits(out, (number < 0, prefix), &digits, "")
}

/// A number in the text, or the next value for a star.
fn read_count(
    rest: &mut Peekable<impl Iterator<Item = char>>,
    values: &mut impl Iterator<Item = Value>,
) -> Result<Option<i128>, Error> {
    if rest.next_if_eq(&'*').is_some() {
        let value = values.next().ok_or_else(|| refuse("`*` has no value"))?;
        return match Number::read(&value) {
            Some(Number::Integer(number)) => Ok(Some(number)),
            _ => Err(refuse("`*` needs an integer")),
        };
    }
    let mut number: Option<i128> = None;
    while let Some(digit) = rest.next_if(char::is_ascii_digit).and_then(|digit| digit.to_digit(10)) {
        number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(digit.into()));
    }
    Ok(number)
}

fn to_size(number: u128) -> Result<usize, Error> {
    usize::try_from(number).map_err(|_| exceed("it builds a text that is too long"))
}

fn incomplete() -> Error {
    refuse("a field ends too early")
}

fn refuse(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("format: {}", reason.into()))
}
