//! Numbers and texts in a field: sign, digits, groups, width.
//!
//! `[[fill]align][sign][#][0][width][grouping][.precision][type]`, as in Python's `format`; `%` makes the same of its
//! flags.

use minijinja::{Error, ErrorKind};

use super::super::bounded_text::{BoundedText, exceed};
use super::arithmetic::Number;
use super::float::{format_float, name_special, write_fixed, write_general, write_scientific};

/// How a value is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spec {
    /// What fills the width; a blank if not given.
    pub(super) fill: Option<char>,
    /// `<`, `>`, `^`, or `=` for a fill between sign and digits.
    pub(super) align: Option<char>,
    /// `+`, `-` or a blank.
    pub(super) sign: Option<char>,
    /// `#`.
    pub(super) alternate: bool,
    /// `0`: zeros fill the width, between sign and digits of a number.
    pub(super) zero: bool,
    /// Least width, characters.
    pub(super) width: usize,
    /// `,` or `_`.
    pub(super) grouping: Option<char>,
    /// Digits after the point, significant digits, or characters of a text.
    pub(super) precision: Option<usize>,
    /// The letter at the end.
    pub(super) kind: Option<char>,
}

impl Spec {
    /// Reads a specification of Python's `format`.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let characters: Vec<char> = text.chars().collect();
        let mut rest = characters.as_slice();
        let mut spec = Self::default();
        let is_align = |c: &char| matches!(c, '<' | '>' | '=' | '^');
        if let [fill, align, ..] = rest
            && is_align(align)
        {
            (spec.fill, spec.align) = (Some(*fill), Some(*align));
            rest = &rest[2..];
        } else {
            spec.align = take(&mut rest, is_align);
        }
        spec.sign = take(&mut rest, |c| matches!(c, '+' | '-' | ' '));
        // Negative zeros as positive ones: not done here, and so not taken.
        if take(&mut rest, |&c| c == 'z').is_some() {
            return Err(invalid(text));
        }
        spec.alternate = take(&mut rest, |&c| c == '#').is_some();
        spec.zero = take(&mut rest, |&c| c == '0').is_some();
        spec.width = take_number(&mut rest)?.unwrap_or(0);
        spec.grouping = take(&mut rest, |c| matches!(c, ',' | '_'));
        if take(&mut rest, |&c| c == '.').is_some() {
            spec.precision = Some(take_number(&mut rest)?.ok_or_else(|| invalid(text))?);
        }
        spec.kind = take(&mut rest, |_| true);
        if rest.is_empty() { Ok(spec) } else { Err(invalid(text)) }
    }

    /// Appends a text.
    pub(super) fn write_str(&self, out: &mut BoundedText, text: &str) -> Result<(), Error> {
        let refused = self.sign.is_some() || self.alternate || self.grouping.is_some() || self.align == Some('=');
        if refused || !matches!(self.kind, None | Some('s')) {
            return Err(unsuited("a text"));
        }
        let end =
            self.precision.and_then(|precision| text.char_indices().nth(precision)).map_or(text.len(), |(at, _)| at);
        self.pad(out, ("", &text[..end]), '<')
    }

    /// Appends a number: an integer in digits of a base or as a character, or a float.
    pub(super) fn write_number(&self, out: &mut BoundedText, number: Number) -> Result<(), Error> {
        match (number, self.kind) {
            (Number::Integer(number), None | Some('d' | 'n' | 'b' | 'o' | 'x' | 'X')) => {
                self.write_integer(out, number)
            }
            (Number::Integer(number), Some('c')) => {
                let character = u32::try_from(number).ok().and_then(char::from_u32);
                let character = character.ok_or_else(|| unsuited("a number that is no character"))?;
                self.pad(out, ("", &character.to_string()), '<')
            }
            (number, None | Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | 'n' | '%')) => {
                self.write_float(out, number.to_float())
            }
            (Number::Integer(_), _) => Err(unsuited("an integer")),
            (Number::Float(_), _) => Err(unsuited("a float")),
        }
    }

    fn write_integer(&self, out: &mut BoundedText, number: i128) -> Result<(), Error> {
        if self.precision.is_some() {
            return Err(unsuited("an integer with a precision"));
        }
        let size = number.unsigned_abs();
        let (prefix, digits) = match self.kind {
            Some('b') => ("0b", format!("{size:b}")),
            Some('o') => ("0o", format!("{size:o}")),
            Some('x') => ("0x", format!("{size:x}")),
            Some('X') => ("0X", format!("{size:X}")),
            _ => ("", size.to_string()),
        };
        let prefix = if self.alternate { prefix } else { "" };
        self.write_digits(out, (number < 0, prefix), &digits, "")
    }

    fn write_float(&self, out: &mut BoundedText, number: f64) -> Result<(), Error> {
        let places = self.precision.unwrap_or(6);
        if places > out.left() {
            return Err(exceed("it builds a text that is too long"));
        }
        let size = number.abs();
        let upper = matches!(self.kind, Some('E' | 'F' | 'G'));
        let mut text = match self.kind {
            _ if !number.is_finite() => name_special(size).to_owned(),
            Some('e' | 'E') => write_scientific(size, places),
            Some('f' | 'F') => write_fixed(size, places),
            Some('%') => write_fixed(size * 100.0, places),
            Some(_) => write_general(size, places, self.alternate, false),
            None if self.precision.is_some() => write_general(size, places, self.alternate, true),
            None => format_float(size),
        };
        if self.alternate && number.is_finite() && !text.contains('.') {
            let at = text.find('e').unwrap_or(text.len());
            text.insert(at, '.');
        }
        if upper {
            text.make_ascii_uppercase();
        }
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (whole, rest) = text.split_at(digits);
        let percent = if self.kind == Some('%') { "%" } else { "" };
        let negative = number.is_sign_negative() && !number.is_nan();
        self.write_digits(out, (negative, ""), whole, &format!("{rest}{percent}"))
    }

    /// Sign, prefix, digits in groups and what follows them, in the width.
    pub(super) fn write_digits(
        &self,
        out: &mut BoundedText,
        (negative, prefix): (bool, &str),
        digits: &str,
        rest: &str,
    ) -> Result<(), Error> {
        let sign = match (negative, self.sign) {
            (true, _) => "-",
            (false, Some('+')) => "+",
            (false, Some(' ')) => " ",
            _ => "",
        };
        let head = format!("{sign}{prefix}");
        let usual = if self.zero { '=' } else { '>' };
        let Some(separator) = self.grouping else { return self.pad(out, (&head, &format!("{digits}{rest}")), usual) };
        let size = if matches!(self.kind, Some('b' | 'o' | 'x' | 'X')) { 4 } else { 3 };
        let mut count = digits.len();
        if self.fill() == '0' && self.align.unwrap_or('=') == '=' && (self.zero || self.align.is_some()) {
            // Zeros in front are grouped too; a separator is never the first.
            let room = self.width.saturating_sub(head.len() + rest.len());
            if room > out.left() {
                return Err(exceed("it builds a text that is too long"));
            }
            while count + count.saturating_sub(1) / size < room {
                count += 1;
            }
        }
        let zeros = std::iter::repeat_n('0', count - digits.len());
        let mut grouped = String::with_capacity(count + count / size);
        for (index, digit) in zeros.chain(digits.chars()).enumerate() {
            if index > 0 && (count - index).is_multiple_of(size) {
                grouped.push(separator);
            }
            grouped.push(digit);
        }
        self.pad(out, (&head, &format!("{grouped}{rest}")), usual)
    }

    fn fill(&self) -> char {
        self.fill.unwrap_or(if self.zero { '0' } else { ' ' })
    }

    /// Fills the width around a head (sign and prefix) and what belongs to it.
    fn pad(&self, out: &mut BoundedText, (head, text): (&str, &str), usual: char) -> Result<(), Error> {
        let missing = self.width.saturating_sub(head.chars().count() + text.chars().count());
        let (before, between, after) = match self.align.unwrap_or(usual) {
            '<' => (0, 0, missing),
            '^' => (missing / 2, 0, missing - missing / 2),
            '=' => (0, missing, 0),
            _ => (missing, 0, 0),
        };
        let fill = self.fill().to_string();
        out.repeat(&fill, before)?;
        out.push(head)?;
        out.repeat(&fill, between)?;
        out.push(text)?;
        out.repeat(&fill, after)
    }
}

/// Takes the first character if it fits.
fn take(rest: &mut &[char], fits: impl Fn(&char) -> bool) -> Option<char> {
    let (first, others) = rest.split_first()?;
    if !fits(first) {
        return None;
    }
    *rest = others;
    Some(*first)
}

/// Takes a number; none may have more digits than any text has characters.
fn take_number(rest: &mut &[char]) -> Result<Option<usize>, Error> {
    let mut number = None;
    while let Some(digit) = take(rest, char::is_ascii_digit).and_then(|digit| digit.to_digit(10)) {
        let grown = number.unwrap_or(0usize).checked_mul(10).and_then(|number| number.checked_add(digit as usize));
        number = Some(grown.ok_or_else(|| exceed("it builds a text that is too long"))?);
    }
    Ok(number)
}

fn invalid(text: &str) -> Error {
    let shown: String = text.chars().take(40).collect();
    Error::new(ErrorKind::InvalidOperation, format!("`{shown}` is no format specification"))
}

fn unsuited(what: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("the format does not suit {what}"))
}
