//! Values as models write them: JSON, and what is often put in its place.
//!
//! | written | read as |
//! | --- | --- |
//! | `'text'`, `(1, 2)`, `None`, `True` | Python's forms of texts, lists and words |
//! | `[1, 2,]`, `{..,}` | the same without the last comma |
//! | line breaks and tabs in a text | themselves |
//! | `{bbox_2d: ..}`, `{label: cat}` | keys and words without quotes |
//! | `"the "red" one"`, `'it's'` | a text ends at a quote behind which `,`, `:`, a closing bracket or nothing follows, if no brace comes before it |
//!
//! Texts are borrowed until they are wanted, and where the next quote is that ends one is remembered, so that a text
//! that is looked at from each of its brackets costs no more than its length each time.

use serde_json::{Map, Number, Value};

/// The deepest nesting that is read.
const MAX_DEPTH: usize = 128;

/// A value that borrows its texts.
#[derive(Debug)]
pub(super) enum Loose<'a> {
    /// What stands between quotes, escapes and all.
    Text(&'a str),
    /// A number or a word.
    Word(&'a str),
    /// Items in brackets or parentheses.
    List(Vec<Loose<'a>>),
    /// Keys, in quotes or not, and values.
    Object(Vec<(&'a str, Loose<'a>)>),
}

/// Why there is no value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LooseError {
    /// The text ends inside it.
    Ends,
    /// Something else stands where this was expected.
    Expected(&'static str),
}

/// Reads values out of a text.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// What was found last for each kind of quote.
    ends: [Option<Known>; 2],
}

/// Between `from` and `to` no quote ends a text by what follows it.
#[derive(Clone, Copy)]
struct Known {
    from: usize,
    to: usize,
    /// Whether a brace stands at `to`, and not the quote that does, or the end of everything.
    brace: bool,
}

/// The next quote from `start` on that no backslash stands before.
fn find_quote(bytes: &[u8], start: usize, quote: u8) -> Option<usize> {
    let mut escaped = false;
    let found = bytes.get(start..)?.iter().position(|&byte| {
        let ends = byte == quote && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    found.map(|at| start + at)
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, ends: [None; 2] }
    }

    /// The value that begins at `start`, and where it ends.
    ///
    /// # Errors
    /// Where it is none, or ends too early.
    pub(super) fn read(&mut self, start: usize) -> Result<(Loose<'a>, usize), LooseError> {
        self.at = start;
        let value = self.value(0)?;
        Ok((value, self.at))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Loose<'a>, LooseError> {
        if depth == MAX_DEPTH {
            return Err(LooseError::Expected("no more than 128 brackets in each other"));
        }
        self.skip_blanks();
        match self.peek().ok_or(LooseError::Ends)? {
            b'[' => self.list(b']', depth),
            b'(' => self.list(b')', depth),
            b'{' => self.object(depth),
            quote @ (b'"' | b'\'') => self.quoted(quote).map(Loose::Text),
            _ => self.word().map(Loose::Word),
        }
    }

    fn list(&mut self, close: u8, depth: usize) -> Result<Loose<'a>, LooseError> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.skip_blanks();
            if self.peek() == Some(close) {
                self.at += 1;
                return Ok(Loose::List(items));
            }
            items.push(self.value(depth + 1)?);
            self.separate(close)?;
        }
    }

    fn object(&mut self, depth: usize) -> Result<Loose<'a>, LooseError> {
        self.at += 1;
        let mut entries = Vec::new();
        loop {
            self.skip_blanks();
            let key = match self.peek().ok_or(LooseError::Ends)? {
                b'}' => {
                    self.at += 1;
                    return Ok(Loose::Object(entries));
                }
                quote @ (b'"' | b'\'') => self.quoted(quote)?,
                _ => self.word()?,
            };
            self.skip_blanks();
            match self.peek().ok_or(LooseError::Ends)? {
                b':' => self.at += 1,
                _ => return Err(LooseError::Expected("`:` behind a key")),
            }
            entries.push((key, self.value(depth + 1)?));
            self.separate(b'}')?;
        }
    }

    /// A comma, or the bracket that closes.
    fn separate(&mut self, close: u8) -> Result<(), LooseError> {
        self.skip_blanks();
        match self.peek().ok_or(LooseError::Ends)? {
            b',' => self.at += 1,
            byte if byte == close => {}
            _ => return Err(LooseError::Expected("`,` or a closing bracket behind a value")),
        }
        Ok(())
    }

    fn quoted(&mut self, quote: u8) -> Result<&'a str, LooseError> {
        let start = self.at + 1;
        let end = self.find_end(start, quote);
        if end == self.text.len() {
            return Err(LooseError::Ends);
        }
        self.at = end + 1;
        Ok(&self.text[start..end])
    }

    /// Where a quote ends the text that begins at `start`; the length of everything if none does.
    ///
    /// A quote that something else follows is inside of the text, but not where a brace comes before the one that would
    /// end it: then a comma or a colon is missing, and the text must not swallow the objects behind it.
    fn find_end(&mut self, start: usize, quote: u8) -> usize {
        let bytes = self.text.as_bytes();
        let known = &mut self.ends[usize::from(quote == b'\'')];
        if let Some(Known { from, to, brace }) = *known
            && (from..=to).contains(&start)
        {
            if !brace {
                return to;
            }
            if let Some(at) = find_quote(&bytes[..to], start, quote) {
                return at;
            }
        }
        let mut inner = None;
        let mut at = start;
        loop {
            let found = find_quote(bytes, at, quote);
            let end = found.unwrap_or(bytes.len());
            if let Some(inner) = inner
                && let Some(brace) = bytes[at..end].iter().position(|byte| matches!(byte, b'{' | b'}'))
            {
                *known = Some(Known { from: start, to: at + brace, brace: true });
                return inner;
            }
            let ends = |end: usize| {
                let next = bytes[end + 1..].iter().find(|byte| !byte.is_ascii_whitespace());
                matches!(next, None | Some(b',' | b':' | b']' | b'}' | b')'))
            };
            if found.is_none_or(ends) {
                *known = Some(Known { from: start, to: end, brace: false });
                return end;
            }
            inner = inner.or(found);
            at = end + 1;
        }
    }

    fn word(&mut self) -> Result<&'a str, LooseError> {
        let rest = &self.text[self.at..];
        let ends =
            |c: char| c.is_whitespace() || matches!(c, ',' | ':' | '[' | ']' | '{' | '}' | '(' | ')' | '"' | '\'');
        let length = rest.find(ends).unwrap_or(rest.len());
        if length == 0 {
            return Err(LooseError::Expected("a value"));
        }
        self.at += length;
        if self.at == self.text.len() {
            return Err(LooseError::Ends);
        }
        Ok(&rest[..length])
    }
}

impl Loose<'_> {
    /// The value as JSON has it. A word that is no number, truth value or null becomes a text.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => Value::String(unescape(text)),
            Self::Word("true" | "True") => Value::Bool(true),
            Self::Word("false" | "False") => Value::Bool(false),
            Self::Word("null" | "None") => Value::Null,
            Self::Word(word) => read_number(word).unwrap_or_else(|| Value::String((*word).to_owned())),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Object(entries) => {
                entries.iter().map(|(key, value)| (unescape(key), value.to_json())).collect::<Map<_, _>>().into()
            }
        }
    }
}

/// A number; none that begins with a letter (`nan`, `inf`) or is beyond the range.
fn read_number(word: &str) -> Option<Value> {
    if word.starts_with(|c: char| c.is_alphabetic()) {
        return None;
    }
    match word.parse::<i64>() {
        Ok(number) => Some(number.into()),
        Err(_) => word.parse().ok().and_then(Number::from_f64).map(Value::Number),
    }
}

/// A text without its escapes; what is none stays as it is.
fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(letter) = rest.chars().next() else {
            out.push('\\');
            break;
        };
        rest = &rest[letter.len_utf8()..];
        match letter {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{C}'),
            '"' | '\'' | '\\' | '/' => out.push(letter),
            'u' | 'x' => match read_code(rest, letter) {
                Some((character, length)) => {
                    out.push(character);
                    rest = &rest[length..];
                }
                None => out.extend(['\\', letter]),
            },
            other => out.extend(['\\', other]),
        }
    }
    out + rest
}

/// The character of `\uXXXX`, of two of them that are one, or of `\xXX`, and how many bytes it takes.
fn read_code(rest: &str, letter: char) -> Option<(char, usize)> {
    let digits = if letter == 'u' { 4 } else { 2 };
    let code = |at: usize| u32::from_str_radix(rest.get(at..at + digits)?, 16).ok();
    let first = code(0)?;
    if !(0xD800..0xDC00).contains(&first) {
        return Some((char::from_u32(first)?, digits));
    }
    let second = rest.get(4..6).filter(|&head| head == "\\u").and_then(|_| code(6))?;
    let low = second.checked_sub(0xDC00).filter(|&low| low < 0x400)?;
    Some((char::from_u32(0x10000 + ((first - 0xD800) << 10) + low)?, 10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Value, LooseError> {
        Reader::new(text).read(0).map(|(value, _)| value.to_json())
    }

    #[test]
    fn json_is_read_as_json() {
        for text in [
            r#"{"a": [1, -2.5, 1e3, true, false, null, "x\n\"\\\/\u00e9\ud83d\ude42"], "b": {"c": []}, "": {}}"#,
            "[ ]",
            "\n[\t1 , 2 ] ",
        ] {
            assert_eq!(read(text).unwrap(), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn what_is_often_written_is_read_too() {
        for (text, expected) in [
            ("{'a': 'it's', 'b': None, 'c': (1, True)}", json!({"a": "it's", "b": null, "c": [1, true]})),
            ("{\"a\": \"the \"red\" one\",}", json!({"a": "the \"red\" one"})),
            ("{\"a\": \"two\nlines\t\"}", json!({"a": "two\nlines\t"})),
            ("{a: cat, b: 1.5.2}", json!({"a": "cat", "b": "1.5.2"})),
            ("['\\'', '\\x41', '\\q', '\\u12']", json!(["'", "A", "\\q", "\\u12"])),
            ("[NaN, -inf, 1e999, 007]", json!(["NaN", "-inf", "1e999", 7])),
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
        for text in ["[1 2]", "{1 2}", "[,]", "{\"a\" 1}", "[:]"] {
            assert!(matches!(read(text), Err(LooseError::Expected(_))), "{text}");
        }
        for text in ["[", "[1", "[1,", "{\"a\": \"b", "{\"a", "{", "['a"] {
            assert_eq!(read(text), Err(LooseError::Ends), "{text}");
        }
    }
}
