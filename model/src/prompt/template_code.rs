//! The code inside a template's tags, as far as it must be understood: quoted texts, brackets, separators, names.

/// The bytes of a tag that stand outside its quoted texts, with their places.
pub(super) fn code_bytes(tag: &str) -> impl Iterator<Item = (usize, u8)> {
    let mut quote = None;
    let mut escaped = false;
    tag.bytes().enumerate().filter(move |&(_, byte)| match quote {
        Some(_) if escaped => {
            escaped = false;
            false
        }
        Some(open) => {
            escaped = byte == b'\\';
            if byte == open {
                quote = None;
            }
            false
        }
        None => {
            if matches!(byte, b'\'' | b'"') {
                quote = Some(byte);
            }
            quote.is_none()
        }
    })
}

/// Where the bracket that closes a tag begins: `bracket` and `}`, outside quoted texts and inner brackets.
pub(super) fn find_end(tag: &str, bracket: u8) -> Option<usize> {
    let mut depth = 0usize;
    code_bytes(tag).skip(2).find_map(|(at, byte)| {
        if depth == 0 && byte == bracket && tag.as_bytes().get(at + 1) == Some(&b'}') {
            return Some(at);
        }
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        None
    })
}

/// Where `{% endraw %}` begins, after `from`.
pub(super) fn find_endraw(text: &str, from: usize) -> Option<usize> {
    text[from..].match_indices("{%").map(|(at, _)| from + at).find(|&at| {
        let body = text[at + 2..].trim_start_matches(['-', '+']).trim_start();
        body.strip_prefix("endraw")
            .is_some_and(|rest| rest.trim_start().trim_start_matches(['-', '+']).starts_with("%}"))
    })
}

/// Splits at `separator` outside quotes and brackets; `==`, `<=` and their like are no `=`.
pub(super) fn split_level(list: &str, separator: u8) -> Vec<&str> {
    let bytes = list.as_bytes();
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0usize, 0);
    for (at, byte) in code_bytes(list) {
        let compares = byte == b'='
            && (bytes.get(at + 1) == Some(&b'=') || at > 0 && matches!(bytes[at - 1], b'=' | b'!' | b'<' | b'>'));
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ if byte == separator && depth == 0 && !compares => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts
}

/// The names in what stands before `=` or `in`: one, or several with commas, perhaps in parentheses.
pub(super) fn split_targets(targets: &str) -> Vec<&str> {
    split_level(targets.trim().trim_matches(['(', ')']), b',')
}

/// Where the parenthesis closes that was opened before `list`; its end, if it doesn't.
pub(super) fn find_parenthesis(list: &str) -> usize {
    let mut depth = 0usize;
    let close = code_bytes(list).find(|(_, byte)| {
        match byte {
            b'(' => depth += 1,
            b')' if depth == 0 => return true,
            b')' => depth -= 1,
            _ => {}
        }
        false
    });
    close.map_or(list.len(), |(at, _)| at)
}

/// Lists and dictionaries written out in a tag: brackets that index nothing.
pub(super) fn count_lists(tag: &str) -> usize {
    let bytes = tag.as_bytes();
    let opens = code_bytes(tag).skip(2).filter(|&(at, byte)| match byte {
        b'{' => true,
        b'[' => {
            let before = tag[..at].trim_end();
            let word = before.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            let indexes = match before.len().checked_sub(1).map(|last| bytes[last]) {
                Some(b']' | b')' | b'}' | b'\'' | b'"') => true,
                _ => !word.is_empty() && !KEYWORDS.contains(&word),
            };
            !indexes
        }
        _ => false,
    });
    opens.count()
}

/// Words after which a bracket begins a list.
const KEYWORDS: [&str; 9] = ["and", "else", "elif", "if", "in", "is", "not", "or", "set"];

/// Whether `text` is a name, or a name and the names of fields.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.split('.').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_texts_are_no_code() {
        let code: String = code_bytes(r#"a 'b\'*' "c'*" d"#).map(|(_, byte)| char::from(byte)).collect();
        assert_eq!(code, "a   d");
        assert_eq!(find_end("{{ '}}' ~ {'a': {}} }}", b'}'), Some(20));
        assert_eq!(find_end("{% if '%}' %}", b'%'), Some(11));
        assert_eq!(find_end("{{ 'a", b'}'), None);
    }

    #[test]
    fn lists_are_told_from_indexes() {
        for (tag, lists) in [
            ("{{ a[0].b['c'][1] }}", 0),
            ("{{ f(x)[0] ~ 'a'[1:] }}", 0),
            ("{{ [a, [b]] ~ {'c': [d]} }}", 4),
            ("{% for x in [1] if x in[2] %}", 2),
            ("{{ 1 and [x] or y else [z] }}", 2),
        ] {
            assert_eq!(count_lists(tag), lists, "{tag}");
        }
    }

    #[test]
    fn separators_count_outside_brackets() {
        assert_eq!(split_level("a, (b, c), ',', [d]", b','), ["a", " (b, c)", " ','", " [d]"]);
        assert_eq!(split_level("a == b", b'='), ["a == b"]);
        assert_eq!(split_level("x = a != b", b'='), ["x ", " a != b"]);
        assert_eq!(split_level("x = a >= b", b'='), ["x ", " a >= b"]);
        for (text, expected) in
            [("a", true), ("a.b_1", true), ("", false), ("a.", false), ("1a", false), ("a b", false)]
        {
            assert_eq!(is_name(text), expected, "{text}");
        }
    }
}
