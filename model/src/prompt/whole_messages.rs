//! Whether a template takes messages as a whole (`message | tojson`), so that it reads all of their keys.
//!
//! A message is what a loop over `messages` gives, or a name that is set to one. It is taken whole where it is rendered
//! or joined, goes through a filter, into a function or `in`, or gives its `items`, `keys` or `values`. A name counts
//! wherever it stands: one that stands for something else too only makes a warning less.

use std::collections::BTreeSet;

use super::template_code::find_end;
use super::template_operators::cut_tokens;

/// The list of all messages.
const MESSAGES: &str = "messages";
/// Filters that write out all that a list of messages holds.
const WRITERS: [&str; 6] = ["tojson", "string", "list", "pprint", "join", "map"];
/// What gives all of a dictionary.
const PARTS: [&str; 3] = ["items", "keys", "values"];

/// Whether a template renders messages as a whole anywhere.
pub(super) fn takes_whole_messages(source: &str) -> bool {
    let tags = list_tags(source);
    let mut names = BTreeSet::from([MESSAGES]);
    // As often as a name can be given on.
    for _ in 0..tags.len().min(16) {
        let known = names.len();
        for words in &tags {
            match words.as_slice() {
                ["for", name, "in", from, ..] | ["set", name, "=", from, ..] if names.contains(from) => {
                    // What a key of a message holds is no message.
                    let field =
                        words.get(4) == Some(&".") || matches!(words.get(4..6), Some(["[", key]) if is_text(key));
                    if !field {
                        names.insert(name);
                    }
                }
                _ => {}
            }
        }
        if names.len() == known {
            break;
        }
    }
    tags.iter().any(|words| (0..words.len()).any(|at| names.contains(words[at]) && is_whole(words, at)))
}

/// Whether the name at `at` stands for all that it holds.
fn is_whole(words: &[&str], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| words.get(before)).copied();
    let mut next = at + 1;
    if before == Some(".") || matches!(before, Some("set")) {
        return false;
    }
    // `messages[0]` is one of them, `message['role']` is not.
    if words.get(next) == Some(&"[") {
        if words.get(next + 1).is_some_and(|word| is_text(word)) {
            return false;
        }
        next += words[next..].iter().position(|&word| word == "]").map_or(1, |close| close + 1);
    }
    let list = words[at] == MESSAGES && next == at + 1;
    match (before, words.get(next).copied()) {
        (_, Some("|")) => !list || words.get(next + 1).is_some_and(|filter| WRITERS.contains(filter)),
        (_, Some(".")) => words.get(next + 1).is_some_and(|part| PARTS.contains(part)),
        (Some("in"), _) => !list,
        (Some("for" | "," | "is" | "if" | "elif" | "and" | "or" | "not"), _) => false,
        (_, None | Some("~" | ")")) => true,
        (_, Some(",")) => before == Some("("),
        _ => before == Some("~"),
    }
}

fn is_text(word: &str) -> bool {
    word.starts_with(['\'', '"'])
}

/// The words of each tag.
fn list_tags(source: &str) -> Vec<Vec<&str>> {
    let mut tags = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find("{%").into_iter().chain(rest.find("{{")).min() {
        let tag = &rest[at..];
        let block = tag.starts_with("{%");
        let Some(end) = find_end(tag, if block { b'%' } else { b'}' }) else { break };
        let body = tag[2..end].trim_start_matches(['-', '+']).trim_end_matches(['-', '+']);
        let words = cut_tokens(body);
        tags.push(words.iter().map(|token| &body[token.place.clone()]).collect());
        rest = &tag[end + 2..];
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::takes_whole_messages;

    #[test]
    fn whole_messages_are_told_from_their_parts() {
        for source in [
            "{% for message in messages %}{{ message | tojson }}{% endfor %}",
            "{% for m in messages[1:] %}{% set x = m %}{{ x|tojson(indent=2) }}{% endfor %}",
            "{{ messages | tojson }}",
            "{{ messages[0] | tojson }}",
            "{{- messages -}}",
            "{% for m in messages %}{{ m }}{% endfor %}",
            "{% for m in messages %}{{ 'a' ~ m ~ 'b' }}{% endfor %}",
            "{% for m in messages %}{% for key, value in m.items() %}{{ value }}{% endfor %}{% endfor %}",
            "{% for m in messages %}{% for key in m %}{{ m[key] }}{% endfor %}{% endfor %}",
            "{% for m in messages %}{{ render(m) }}{{ render(m, 1) }}{% endfor %}",
        ] {
            assert!(takes_whole_messages(source), "{source}");
        }
        for source in [
            "{% for message in messages %}{{ message.content | tojson }}{{ message['role'] }}{% endfor %}",
            "{% for m in messages %}{% set c = m.content %}{{ c | tojson }}{{ m.content.items() }}{% endfor %}",
            "{% if messages[0].role == 'system' %}{{ messages[0]['content'] }}{% endif %}{{ messages | length }}",
            "{% for m in messages %}{% if not loop.last and m.role %}{{ m.x ~ 1 }}{% endif %}{% endfor %}",
            "{{ tools | tojson }}",
            "",
            "{{ unclosed",
        ] {
            assert!(!takes_whole_messages(source), "{source}");
        }
        let released = super::super::CHATML_TEMPLATE;
        assert!(!takes_whole_messages(released));
    }
}
