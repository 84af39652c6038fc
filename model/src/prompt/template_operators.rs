//! Operators that become calls.
//!
//! The engine computes `*`, `/`, `//`, `%`, `**` and `~` by itself, before anybody can look at how large the result
//! will be, and not as Python does (`-7 // -2`, `'=' * -1`, `1e16 ~ ''`). So each chain of them becomes one call of a
//! function of ours, which gets the values and the operators in order:
//!
//! ```text
//! a * b // c          ->  kiln_compute(a, '*', b, '//', c)
//! x ~ y * 2 ~ z       ->  kiln_join_values(x, kiln_compute(y, '*', 2), z)
//! 'a%s' % (x, y)      ->  kiln_compute('a%s', '%()', kiln_make_tuple(x, y))
//! (x, y)              ->  kiln_make_tuple(x, y)
//! ```
//!
//! Precedence is Jinja2's: `+ -`, then `~`, then `* / // %`, then `**`, all from left to right; a sign, a filter, a
//! test and what follows a name bind tighter; everything else binds less tightly and ends an operand.

use std::ops::Range;

/// The function that computes a chain of products, quotients and powers.
pub(super) const COMPUTE: &str = "kiln_compute";
/// The function that makes a tuple, which the engine takes for a list.
pub(super) const TUPLE: &str = "kiln_make_tuple";
/// The function that joins texts.
pub(super) const JOIN: &str = "kiln_join_values";

/// Words that end an operand.
const WORDS: [&str; 9] = ["and", "or", "not", "if", "else", "elif", "in", "for", "recursive"];
/// Words that begin a block's tag and belong to no expression.
const TAGS: [&str; 9] = ["set", "with", "call", "filter", "do", "print", "macro", "include", "block"];

/// Rewrites the code between the brackets of a tag; `None` where nothing is to be done.
pub(super) fn rewrite_operators(code: &str) -> Option<String> {
    let tokens = cut_tokens(code);
    let text = |token: &Token| &code[token.place.clone()];
    let interesting = |(at, token): (usize, &Token)| match token.kind {
        Kind::Operator => matches!(text(token), "*" | "/" | "//" | "%" | "**" | "~"),
        // Behind a name they are a call's.
        Kind::Open => text(token) == "(" && !at.checked_sub(1).is_some_and(|before| tokens[before].kind.ends_value()),
        _ => false,
    };
    if !tokens.iter().enumerate().any(interesting) {
        return None;
    }
    let first = tokens.first().map_or("", text);
    // Parentheses before `=` and `in` hold names, and those of `call` parameters.
    let targets = ["for", "set", "with", "call"].contains(&first);
    let mut rewriter = Rewriter { code, tokens: &tokens, at: 0, targets };
    let mut out = String::with_capacity(code.len() * 2);
    let mut end = 0;
    if let Some(token) = tokens.first().filter(|token| TAGS.contains(&&code[token.place.clone()])) {
        end = token.place.end;
        out.push_str(&code[..end]);
        rewriter.at = 1;
    }
    rewriter.level(&mut out, &mut end);
    // A bracket too many: the engine says so.
    out.push_str(&code[end..]);
    Some(out)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name, a number or a quoted text.
    Operand,
    /// A word or a sign that ends an operand.
    Separator,
    /// `+ - ~ * / // % **`.
    Operator,
    /// `.`, `|`.
    Joint,
    Open,
    Close,
}

impl Kind {
    /// Whether what follows in parentheses are the arguments of a call.
    fn ends_value(self) -> bool {
        matches!(self, Self::Operand | Self::Close)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) place: Range<usize>,
}

/// What the code between the brackets of a tag consists of.
pub(super) fn cut_tokens(code: &str) -> Vec<Token> {
    let bytes = code.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let rest = &code[at..];
        let (kind, length) = match byte {
            byte if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'\'' | b'"' => (Kind::Operand, quoted_length(rest)),
            b'0'..=b'9' => (Kind::Operand, number_length(rest)),
            b'(' | b'[' | b'{' => (Kind::Open, 1),
            b')' | b']' | b'}' => (Kind::Close, 1),
            b'.' | b'|' => (Kind::Joint, 1),
            b'*' | b'/' => (Kind::Operator, if bytes.get(at + 1) == Some(&byte) { 2 } else { 1 }),
            b'+' | b'-' | b'~' | b'%' => (Kind::Operator, 1),
            byte if byte == b'_' || byte.is_ascii_alphanumeric() || !byte.is_ascii() => {
                let word = |c: char| c == '_' || c.is_alphanumeric() || !c.is_ascii();
                let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
                // `a.in` is a name.
                let attribute = tokens.last().is_some_and(|last: &Token| last.kind == Kind::Joint);
                let separates = !attribute && WORDS.contains(&&rest[..length]);
                (if separates { Kind::Separator } else { Kind::Operand }, length)
            }
            b'=' | b'!' | b'<' | b'>' if bytes.get(at + 1) == Some(&b'=') => (Kind::Separator, 2),
            _ => (Kind::Separator, 1),
        };
        tokens.push(Token { kind, place: at..at + length });
        at += length;
    }
    tokens
}

fn quoted_length(text: &str) -> usize {
    let quote = text.as_bytes()[0];
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == quote && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

/// Digits, perhaps a fraction, perhaps an exponent with a sign.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        bytes[from.min(bytes.len())..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count()
    };
    let mut end = digits(0);
    let fraction = bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
    if fraction {
        end += 1 + digits(end + 1);
    }
    let exponent = matches!(bytes[end - 1], b'e' | b'E') && matches!(bytes.get(end), Some(b'+' | b'-'));
    if exponent && !text.starts_with("0x") && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        end += 1 + digits(end + 1);
    }
    end
}

/// Walks over the tokens. What it writes has the code's own white space in it.
struct Rewriter<'a> {
    code: &'a str,
    tokens: &'a [Token],
    at: usize,
    /// Whether what stands here is given values, and has none.
    targets: bool,
}

impl<'a> Rewriter<'a> {
    fn peek(&self) -> Option<(Kind, &'a str)> {
        let token = self.tokens.get(self.at)?;
        Some((token.kind, &self.code[token.place.clone()]))
    }

    /// Writes the next token and the white space before it; `end` is how far the code has been written.
    fn copy(&mut self, out: &mut String, end: &mut usize) {
        if let Some(token) = self.tokens.get(self.at) {
            out.push_str(&self.code[*end..token.place.end]);
            *end = token.place.end;
            self.at += 1;
        }
    }

    /// Everything up to the bracket that closes this level: expressions and what stands between them.
    fn level(&mut self, out: &mut String, end: &mut usize) {
        while let Some((kind, _)) = self.peek() {
            match kind {
                Kind::Close => return,
                Kind::Separator => {
                    self.targets &= !matches!(self.peek(), Some((_, "=" | "in")));
                    self.copy(out, end);
                }
                _ => self.sum(out, end),
            }
        }
    }

    /// Terms with `+` and `-` between them, which stay.
    fn sum(&mut self, out: &mut String, end: &mut usize) {
        self.joined(out, end);
        while matches!(self.peek(), Some((Kind::Operator, "+" | "-"))) {
            self.copy(out, end);
            self.joined(out, end);
        }
    }

    /// Values joined by `~`.
    fn joined(&mut self, out: &mut String, end: &mut usize) {
        let is = |operator: &str| operator == "~";
        self.chain(out, end, (JOIN, false), is, |this, out, end| this.product(out, end));
    }

    fn product(&mut self, out: &mut String, end: &mut usize) {
        let is = |operator: &str| matches!(operator, "*" | "/" | "//" | "%");
        self.chain(out, end, (COMPUTE, true), is, |this, out, end| this.power(out, end));
    }

    fn power(&mut self, out: &mut String, end: &mut usize) {
        self.chain(out, end, (COMPUTE, true), |operator| operator == "**", |this, out, end| this.operand(out, end));
    }

    /// Operands with operators of one rank between them: one call, with the operators in it where `named` says so.
    fn chain(
        &mut self,
        out: &mut String,
        end: &mut usize,
        (function, named): (&str, bool),
        is: impl Fn(&str) -> bool,
        next: impl Fn(&mut Self, &mut String, &mut usize),
    ) {
        let start = out.len();
        next(self, out, end);
        let mut calls = false;
        while let Some((Kind::Operator, operator)) = self.peek() {
            if !is(operator) {
                break;
            }
            if !calls {
                // White space before the first operand stays before the call.
                let blank = out[start..].len() - out[start..].trim_start().len();
                out.insert_str(start + blank, &format!("{function}("));
                calls = true;
            }
            let token = &self.tokens[self.at];
            out.push_str(&self.code[*end..token.place.start]);
            *end = token.place.end;
            self.at += 1;
            if named {
                let tuple = operator == "%" && self.is_tuple();
                out.push_str(&format!(", '{operator}{}'", if tuple { "()" } else { "" }));
            }
            out.push(',');
            next(self, out, end);
        }
        if calls {
            out.push(')');
        }
    }

    /// Whether a tuple stands here: parentheses with a comma in them, or nothing.
    fn is_tuple(&self) -> bool {
        if !matches!(self.peek(), Some((Kind::Open, "("))) {
            return false;
        }
        let mut depth = 0usize;
        for (index, token) in self.tokens[self.at..].iter().enumerate() {
            match (token.kind, &self.code[token.place.clone()]) {
                (Kind::Open, _) => depth += 1,
                (Kind::Close, _) if depth == 1 => return index == 1,
                (Kind::Close, _) => depth -= 1,
                (Kind::Separator, ",") if depth == 1 => return true,
                _ => {}
            }
        }
        false
    }

    /// A value: signs (and the stars of `f(*x)`) before it, names, brackets, filters and tests.
    fn operand(&mut self, out: &mut String, end: &mut usize) {
        while matches!(self.peek(), Some((Kind::Operator, _))) {
            self.copy(out, end);
        }
        if !self.targets && self.is_tuple() {
            let start = self.tokens[self.at].place.start;
            out.push_str(&self.code[*end..start]);
            out.push_str(TUPLE);
            *end = start;
        }
        while let Some((kind, text)) = self.peek() {
            match kind {
                Kind::Operand => {
                    self.copy(out, end);
                    // `x is not y` is one operand.
                    if text == "is" && matches!(self.peek(), Some((Kind::Separator, "not"))) {
                        self.copy(out, end);
                    }
                }
                Kind::Joint => self.copy(out, end),
                Kind::Open => {
                    self.copy(out, end);
                    self.level(out, end);
                    if matches!(self.peek(), Some((Kind::Close, _))) {
                        self.copy(out, end);
                    }
                }
                Kind::Separator | Kind::Operator | Kind::Close => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::rewrite_operators;

    #[test]
    fn chains_become_calls() {
        for (code, expected) in [
            (" a * b ", " kiln_compute(a , '*', b) "),
            ("a*b//c", "kiln_compute(a, '*',b, '//',c)"),
            ("a + b * -c - d", "a + kiln_compute(b , '*', -c) - d"),
            ("x ~ y * 2 ~ z", "kiln_join_values(x , kiln_compute(y , '*', 2) , z)"),
            ("2 ** 3 ** 2 * 4", "kiln_compute(kiln_compute(2 , '**', 3 , '**', 2) , '*', 4)"),
            ("-2 ** 2", "kiln_compute(-2 , '**', 2)"),
            ("set x = [0] * n", "set x = kiln_compute([0] , '*', n)"),
            ("if a * 2 == b and not c", "if kiln_compute(a , '*', 2) == b and not c"),
            ("f(1 * 2, k=(3 * 4))", "f(kiln_compute(1 , '*', 2), k=(kiln_compute(3 , '*', 4)))"),
            ("f(*x, **y)[1 * 2:]", "f(*x, **y)[kiln_compute(1 , '*', 2):]"),
            ("a|length * 'x'|upper", "kiln_compute(a|length , '*', 'x'|upper)"),
            ("'%s' % (a, b)", "kiln_compute('%s' , '%()', kiln_make_tuple(a, b))"),
            ("(1, (2,), f(3, 4), ())", "kiln_make_tuple(1, kiln_make_tuple(2,), f(3, 4), kiln_make_tuple())"),
            ("for (a, b) in (c, d)", "for (a, b) in kiln_make_tuple(c, d)"),
            ("set (a, b) = (c, d)", "set (a, b) = kiln_make_tuple(c, d)"),
            ("set a, b = (b, a)", "set a, b = kiln_make_tuple(b, a)"),
            ("call(a, b) m((1, 2))", "call(a, b) m((1, 2))"),
            ("if a in (b, c)", "if a in kiln_make_tuple(b, c)"),
            ("'%s' % (a)", "kiln_compute('%s' , '%', (a))"),
            ("for x in range(2) * 3 if x % 2", "for x in kiln_compute(range(2) , '*', 3) if kiln_compute(x , '%', 2)"),
            ("1e-5 * 2.5E+3", "kiln_compute(1e-5 , '*', 2.5E+3)"),
            ("x is not none ~ 1", "kiln_join_values(x is not none , 1)"),
            ("{'a': 1 * 2}['a']", "{'a': kiln_compute(1 , '*', 2)}['a']"),
            ("a.in * 2", "kiln_compute(a.in , '*', 2)"),
            ("\"\\\" *\" * 2", "kiln_compute(\"\\\" *\" , '*', 2)"),
        ] {
            assert_eq!(rewrite_operators(code).as_deref(), Some(expected), "{code}");
        }
    }

    #[test]
    fn other_code_stays() {
        for code in
            ["a + b - 1", "f(a, b)", "[a, b][0](c, d)", "'a * b' | upper", "x is divisibleby 3", "set x = -1", ""]
        {
            assert_eq!(rewrite_operators(code), None, "{code}");
        }
        // What is no expression is left to the engine.
        for code in ["* 2", "a *", "(a * 2", "a * 2)", "~", "a ** ** b", "[1 * (2]"] {
            rewrite_operators(code);
        }
    }
}
