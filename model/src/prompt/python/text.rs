//! `str` and `repr`: values as Python prints them.

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::super::bounded_text::{BoundedText, exceed};
use super::float::format_float;
use super::tuple::Tuple;

/// The deepest lists that are written: a writer recurses.
pub(super) const MAX_DEPTH: usize = 128;

/// Appends `str(value)`: a text as it is, numbers as Python writes them, lists and dictionaries with `repr` of what is
/// in them.
pub(in crate::prompt) fn write_text(out: &mut BoundedText, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) => out.push(text),
        None if value.is_undefined() => Ok(()),
        None => write_nested(out, value, 0),
    }
}

/// Appends `repr(value)`. Lists that are made on the way are printed where their length is known.
pub(super) fn write_repr(out: &mut BoundedText, value: &Value) -> Result<(), Error> {
    write_nested(out, value, 0)
}

fn write_nested(out: &mut BoundedText, value: &Value, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(exceed("it builds a list that is too deep"));
    }
    match value.kind() {
        ValueKind::String => write_quoted(out, value.as_str().unwrap_or_default()),
        ValueKind::Undefined => out.push("Undefined"),
        ValueKind::Number if !value.is_integer() => match f64::try_from(value.clone()) {
            Ok(number) => out.push(&format_float(number)),
            Err(_) => out.push(&value.to_string()),
        },
        ValueKind::Seq | ValueKind::Iterable if value.len().is_some() => {
            let tuple = value.downcast_object_ref::<Tuple>().is_some();
            out.push(if tuple { "(" } else { "[" })?;
            for (index, item) in value.try_iter()?.enumerate() {
                out.push(if index > 0 { ", " } else { "" })?;
                write_nested(out, &item, depth + 1)?;
            }
            out.push(match (tuple, value.len()) {
                (true, Some(1)) => ",)",
                (true, _) => ")",
                (false, _) => "]",
            })
        }
        ValueKind::Map => {
            out.push("{")?;
            for (index, key) in value.try_iter()?.enumerate() {
                out.push(if index > 0 { ", " } else { "" })?;
                write_nested(out, &key, depth + 1)?;
                out.push(": ")?;
                write_nested(out, &value.get_item(&key)?, depth + 1)?;
            }
            out.push("}")
        }
        _ => out.push(&value.to_string()),
    }
}

/// Single quotes, or double ones where only single ones are inside; escapes for what is not printed.
fn write_quoted(out: &mut BoundedText, text: &str) -> Result<(), Error> {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push_char(quote)?;
    for character in text.chars() {
        match character {
            '\n' => out.push("\\n")?,
            '\r' => out.push("\\r")?,
            '\t' => out.push("\\t")?,
            '\\' => out.push("\\\\")?,
            _ if character == quote => {
                out.push("\\")?;
                out.push_char(character)?;
            }
            _ if is_printed(character) => out.push_char(character)?,
            _ => out.push(&match u32::from(character) {
                code @ 0..=0xFF => format!("\\x{code:02x}"),
                code @ 0x100..=0xFFFF => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            })?,
        }
    }
    out.push_char(quote)
}

/// Whether Python prints a character in `repr`: no control, separator (but the blank), format or private character.
/// Which code points are unassigned is left out: that differs between versions of Unicode.
fn is_printed(character: char) -> bool {
    let hidden = matches!(
        character,
        '\u{AD}' | '\u{600}'..='\u{605}' | '\u{61C}' | '\u{6DD}' | '\u{70F}' | '\u{180E}' | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{E000}'..='\u{F8FF}' | '\u{FEFF}'
            | '\u{FFF0}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}' | '\u{F0000}'..='\u{10FFFF}'
    );
    character == ' ' || !(hidden || character.is_control() || character.is_whitespace())
}

/// `repr` of a text whose every character beyond ASCII is escaped (`ascii`, `%a`).
pub(super) fn write_ascii(out: &mut BoundedText, value: &Value) -> Result<(), Error> {
    let mut whole = BoundedText::new(out.left());
    write_repr(&mut whole, value)?;
    for character in whole.finish().chars() {
        match u32::from(character) {
            0..=0x7F => out.push_char(character)?,
            code @ 0x80..=0xFF => out.push(&format!("\\x{code:02x}"))?,
            code @ 0x100..=0xFFFF => out.push(&format!("\\u{code:04x}"))?,
            code => out.push(&format!("\\U{code:08x}"))?,
        }
    }
    Ok(())
}
