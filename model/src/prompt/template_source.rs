//! Prepares the text of a chat template for the engine.
//!
//! Three things are done to it, none of which changes what it renders:
//!
//! - HF's `{% generation %}` blocks, which mark the assistant's tokens for training, become `{% with %}` blocks: the
//!   engine has no tags of its own making, and an empty `with` renders its body in a scope of its own, as HF does;
//! - after each tag that gives a value a name, and before each long text, stands a call of [`CHECK`] or [`SPEND`], so
//!   that a template that doubles a text thirty times is stopped where it begins to matter
//!   ([`super::template_limits`]);
//! - products and joined texts become calls, which look at the size of the result first
//!   ([`super::template_operators`]).
//!
//! An inserted tag comes right after another one and takes over its sign (`-%}`), so white space is trimmed where it
//! was.
//!
//! Tags and chains of `elif` so long that the engine's recursion would exhaust the stack are refused. Templates of
//! released checkpoints have neither.

use super::template_code::{
    code_bytes, count_lists, find_end, find_endraw, find_parenthesis, is_name, split_level, split_targets,
};
use super::template_operators::{COMPUTE, JOIN, TUPLE, rewrite_operators};

/// The function that checks values which have just been given names.
pub(super) const CHECK: &str = "kiln_check_values";
/// The function that is told of a text which is about to be rendered.
pub(super) const SPEND: &str = "kiln_spend_bytes";
/// Texts up to this length cost no more than the instruction that renders them.
const FREE_TEXT_BYTES: usize = 128;
/// The most concatenations in one tag: each may be as long as a value may be. Released templates have 6.
const MAX_JOINS: usize = 64;
/// The most lists written out in a tag that also joins as many values: a list becomes a text with quotes and escapes,
/// so that each `[..] ~ ''` may double what is in it.
const MAX_QUOTED: usize = 6;
/// The most code in one tag, bytes, quoted texts not counted: `- - - 1` is as deep as it is long. Released templates
/// have 150.
const MAX_CODE_BYTES: usize = 1024;
/// The most `elif` of one `if`.
const MAX_ELIFS: usize = 64;
/// The largest template, bytes. Released ones have 5 KB.
const MAX_SOURCE_BYTES: usize = 1 << 18;

/// Rewrites `source`.
///
/// # Errors
/// A sentence, for a template that is too large, uses our names, or joins too many values in one tag.
pub(super) fn prepare_source(source: &str) -> Result<String, String> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(format!("it has {} bytes, more than the {MAX_SOURCE_BYTES} that are accepted", source.len()));
    }
    if let Some(name) = [CHECK, SPEND, COMPUTE, JOIN, TUPLE].into_iter().find(|name| source.contains(name)) {
        return Err(format!("it uses the name `{name}`"));
    }
    let mut prepared = String::with_capacity(source.len() + source.len() / 2);
    // What the next text must be preceded by, and the sign that it waits with.
    let mut last: Option<Tag> = None;
    // How many `elif` each open `if` has.
    let mut elifs: Vec<usize> = Vec::new();
    let mut rest = source;
    loop {
        let text_end = find_tag(rest).unwrap_or(rest.len());
        let (text, from_tag) = rest.split_at(text_end);
        let spend = (text.len() > FREE_TEXT_BYTES).then_some(text.len());
        close_tag(&mut prepared, last.as_ref(), spend);
        prepared.push_str(text);
        let Some((tag, after)) = Tag::cut(from_tag) else {
            // No tag, or one without an end: the engine says so.
            prepared.push_str(from_tag);
            return Ok(prepared);
        };
        tag.refuse_excess()?;
        match tag.word() {
            "if" => elifs.push(0),
            "elif" => {
                let count = elifs.last_mut().map_or(0, |count| {
                    *count += 1;
                    *count
                });
                if count > MAX_ELIFS {
                    return Err(format!("an `if` has more than {MAX_ELIFS} `elif`"));
                }
            }
            "endif" => drop(elifs.pop()),
            _ => {}
        }
        tag.open(&mut prepared);
        last = Some(tag);
        rest = after;
    }
}

/// Where the next tag of `text` begins.
fn find_tag(text: &str) -> Option<usize> {
    text.as_bytes().windows(2).position(|pair| pair[0] == b'{' && matches!(pair[1], b'{' | b'%' | b'#'))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Block,
    Variable,
    Comment,
    /// From `{% raw %}` to `{% endraw %}`.
    Raw,
}

/// A tag, without the sign and the bracket that close it.
struct Tag<'a> {
    kind: Kind,
    /// From the bracket that opens it to the sign that closes it.
    source: &'a str,
    /// `-`, `+` or nothing.
    sign: &'a str,
}

impl<'a> Tag<'a> {
    /// Cuts a tag from the beginning of `text`.
    fn cut(text: &'a str) -> Option<(Self, &'a str)> {
        let kind = match text.as_bytes().get(1)? {
            b'%' => Kind::Block,
            b'{' => Kind::Variable,
            _ => Kind::Comment,
        };
        let mut end = match kind {
            Kind::Comment => 2 + text.get(2..)?.find("#}")?,
            _ => find_end(text, if kind == Kind::Block { b'%' } else { b'}' })?,
        };
        let mut tag = Self { kind, source: "", sign: "" };
        let body = text[2..end].trim_start_matches(['-', '+']).trim_end_matches(['-', '+']);
        if kind == Kind::Block && body.trim() == "raw" {
            let close = find_endraw(text, end)?;
            end = find_end(&text[close..], b'%')? + close;
            tag.kind = Kind::Raw;
        }
        let signed = end > 2 && matches!(text.as_bytes()[end - 1], b'-' | b'+') && end > 3;
        let source_end = if signed { end - 1 } else { end };
        (tag.source, tag.sign) = (&text[..source_end], &text[source_end..end]);
        Some((tag, &text[end + 2..]))
    }

    /// What stands between the signs.
    fn body(&self) -> &'a str {
        self.source.get(2..).unwrap_or_default().trim_start_matches(['-', '+']).trim()
    }

    /// The first word of a block.
    fn word(&self) -> &'a str {
        match self.kind {
            Kind::Block => self.body().split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default(),
            _ => "",
        }
    }

    /// Writes the tag up to where its sign would stand.
    fn open(&self, prepared: &mut String) {
        let replaced = match self.body() {
            "generation" if self.kind == Kind::Block => Some(("generation", "with")),
            "endgeneration" if self.kind == Kind::Block => Some(("endgeneration", "endwith")),
            _ => None,
        };
        if let Some((word, other)) = replaced {
            prepared.push_str(&self.source.replacen(word, other, 1));
            return;
        }
        // The sign that opens the tag is no operator.
        let code = self.source.get(2..).unwrap_or_default();
        let code = code.strip_prefix(['-', '+']).unwrap_or(code);
        let operators = matches!(self.kind, Kind::Block | Kind::Variable).then(|| rewrite_operators(code)).flatten();
        match operators {
            Some(rewritten) => {
                prepared.push_str(&self.source[..self.source.len() - code.len()]);
                prepared.push_str(&rewritten);
            }
            None => prepared.push_str(self.source),
        }
    }

    /// The names that the tag gives values to.
    fn bound_names(&self) -> Vec<&'a str> {
        let word = self.word();
        let rest = &self.body()[word.len()..];
        let names = match word {
            "set" => match split_level(rest, b'=').as_slice() {
                [targets, _, ..] => split_targets(targets),
                _ => Vec::new(),
            },
            "for" => rest.split(|c: char| !c.is_alphanumeric() && c != '_').take_while(|&word| word != "in").collect(),
            "with" => split_level(rest, b','),
            "macro" | "call" => {
                let parameters = rest.split_once('(').map(|(_, rest)| &rest[..find_parenthesis(rest)]);
                parameters.map_or_else(Vec::new, |list| split_level(list, b','))
            }
            _ => Vec::new(),
        };
        let name = |part: &'a str| part.split('=').next().unwrap_or_default().trim();
        names.into_iter().map(name).filter(|name| is_name(name)).collect()
    }

    fn refuse_excess(&self) -> Result<(), String> {
        if !matches!(self.kind, Kind::Block | Kind::Variable) {
            return Ok(());
        }
        let (mut joins, mut length) = (0, 0);
        let lists = count_lists(self.source);
        for (_, byte) in code_bytes(self.source) {
            length += usize::from(!byte.is_ascii_whitespace());
            match byte {
                b'~' | b'+' => joins += 1,
                _ => {}
            }
        }
        if joins > MAX_JOINS {
            return Err(format!("it joins {joins} values, more than {MAX_JOINS}: {}", shorten(self.source)));
        }
        if joins.min(lists) > MAX_QUOTED {
            return Err(format!("it joins {joins} values with {lists} lists in a tag: {}", shorten(self.source)));
        }
        if length > MAX_CODE_BYTES {
            return Err(format!("a tag has more than {MAX_CODE_BYTES} bytes of code: {}", shorten(self.source)));
        }
        Ok(())
    }
}

/// Closes the last tag, with the calls that belong between it and a text that costs `spend` bytes.
fn close_tag(prepared: &mut String, last: Option<&Tag>, spend: Option<usize>) {
    let Some(tag) = last else {
        if let Some(bytes) = spend {
            prepared.push_str(&format!("{{{{ {SPEND}({bytes}) }}}}"));
        }
        return;
    };
    let names = if tag.kind == Kind::Block { tag.bound_names() } else { Vec::new() };
    let spend = if tag.kind == Kind::Raw { Some(spend.unwrap_or(0) + tag.source.len()) } else { spend };
    let mut calls = Vec::new();
    if !names.is_empty() {
        calls.push(format!("{CHECK}([{}])", names.join(", ")));
    }
    if let Some(bytes) = spend {
        calls.push(format!("{SPEND}({bytes})"));
    }
    let bracket = match tag.kind {
        Kind::Block | Kind::Raw => "%}",
        Kind::Variable => "}}",
        Kind::Comment => "#}",
    };
    if calls.is_empty() {
        prepared.push_str(tag.sign);
        prepared.push_str(bracket);
        return;
    }
    prepared.push_str(bracket);
    let call = calls.join(" or ");
    match tag.kind {
        Kind::Variable => prepared.push_str(&format!("{{{{ {call} {}}}}}", tag.sign)),
        _ => prepared.push_str(&format!("{{% if {call} %}}{{% endif {}%}}", tag.sign)),
    }
}

/// The beginning of a tag, for a message.
fn shorten(tag: &str) -> String {
    tag.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inserts_checks_and_moves_signs() {
        let check = |names: &str, sign: &str| format!("{{% if {CHECK}([{names}]) %}}{{% endif {sign}%}}");
        for (source, expected) in [
            ("a{%- set x = 1 -%} b", format!("a{{%- set x = 1 %}}{} b", check("x", "-"))),
            ("{% set a.b = c == '=' %}", format!("{{% set a.b = c == '=' %}}{}", check("a.b", ""))),
            ("{% set x, y = 1, 2 %}", format!("{{% set x, y = 1, 2 %}}{}", check("x, y", ""))),
            ("{% set x %}t{% endset %}", "{% set x %}t{% endset %}".to_owned()),
            ("{% macro m(a, b=[1, 2]) %}", format!("{{% macro m(a, b=[1, 2]) %}}{}", check("a, b", ""))),
            ("{% for a, b in x %}", format!("{{% for a, b in x %}}{}", check("a, b", ""))),
            ("{% for (a,b)\nin[x] %}", format!("{{% for (a,b)\nin[x] %}}{}", check("a, b", ""))),
            ("{% call(a) m(1) %}", format!("{{% call(a) m(1) %}}{}", check("a", ""))),
            ("{% call m(1) %}", "{% call m(1) %}".to_owned()),
            ("{% macro m(a=f(1), b) %}", format!("{{% macro m(a=f(1), b) %}}{}", check("a, b", ""))),
            ("{% with a = f(1, 2), b = 3 %}", format!("{{% with a = f(1, 2), b = 3 %}}{}", check("a, b", ""))),
            ("{%- generation -%}x{% endgeneration %}", "{%- with -%}x{% endwith %}".to_owned()),
            ("{{ '{% generation %}%}}}' }}", "{{ '{% generation %}%}}}' }}".to_owned()),
            ("{{ {'a': {'b': 1}} }}{# {{ #}c", "{{ {'a': {'b': 1}} }}{# {{ #}c".to_owned()),
            ("{% unclosed", "{% unclosed".to_owned()),
            ("{{ 'unclosed }}", "{{ 'unclosed }}".to_owned()),
        ] {
            assert_eq!(prepare_source(source).unwrap(), expected);
        }
        let raw = prepare_source("{% raw %}{{ * }}{%- endraw -%} b").unwrap();
        assert_eq!(raw, format!("{{% raw %}}{{{{ * }}}}{{%- endraw %}}{{% if {SPEND}(27) %}}{{% endif -%}} b"));
    }

    #[test]
    fn counts_long_texts() {
        let text = "t".repeat(200);
        assert_eq!(prepare_source(&text).unwrap(), format!("{{{{ {SPEND}(200) }}}}{text}"));
        assert_eq!(
            prepare_source(&format!("{{{{ a -}}}}{text}")).unwrap(),
            format!("{{{{ a }}}}{{{{ {SPEND}(200) -}}}}{text}")
        );
    }

    #[test]
    fn products_become_calls() {
        for (source, expected) in [
            ("{{- 'a' * 9 -}}", "{{- kiln_compute('a' , '*', 9) -}}"),
            ("{%+ if a % 2 %}", "{%+ if kiln_compute(a , '%', 2) %}"),
            ("{{-'a'*9}}", "{{-kiln_compute('a', '*',9)}}"),
            ("* {{ '*' }}", "* {{ '*' }}"),
            ("{# * #}", "{# * #}"),
        ] {
            assert_eq!(prepare_source(source).unwrap(), expected);
        }
        let raw = prepare_source("{% raw %}{{ 2 * 2 }}{% endraw %}").unwrap();
        assert!(raw.starts_with("{% raw %}{{ 2 * 2 }}{% endraw %}"), "{raw}");
    }

    #[test]
    fn refuses_what_is_too_much() {
        assert!(prepare_source(&format!("{{{{ x{} }}}}", " ~ x".repeat(65))).unwrap_err().contains("65 values"));
        let nested = |depth: usize| format!("{{{{ {}x{} }}}}", "[".repeat(depth), "] ~ ''".repeat(depth));
        prepare_source(&nested(6)).unwrap();
        assert!(prepare_source(&nested(7)).unwrap_err().contains("7 lists"));
        assert!(prepare_source("{% macro kiln_check_values(x) %}{% endmacro %}").unwrap_err().contains("the name"));
        assert!(prepare_source(&" ".repeat(MAX_SOURCE_BYTES + 1)).unwrap_err().contains("262145 bytes"));
    }
}
