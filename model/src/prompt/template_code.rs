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
