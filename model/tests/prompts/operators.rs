//! Operators, `format` and `tojson` of chat templates against Jinja2, and what is too much of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::case::locate;
use qwen3_vl_burn::prompt::{ChatTemplate, Message, PromptError, RenderOptions, TemplateValue};

/// What Jinja2 renders (`operators.py`).
#[derive(serde::Deserialize)]
struct Rendered {
    variables: BTreeMap<String, TemplateValue>,
    cases: Vec<Case>,
}

/// A template and its text, or that it fails.
#[derive(serde::Deserialize)]
struct Case {
    source: String,
    text: Option<String>,
}

fn render(source: &str, variables: &BTreeMap<String, TemplateValue>) -> Result<String, PromptError> {
    let options = RenderOptions { variables: variables.clone(), ..Default::default() };
    ChatTemplate::new(source, "test")?.render(&[Message::text("user", "hi")], &options)
}

#[test]
fn every_expression_is_rendered_as_jinja2_does() {
    let text = std::fs::read_to_string(locate("templates/operators.json")).unwrap();
    let Rendered { variables, cases } = serde_json::from_str(&text).unwrap();
    assert_eq!(cases.len(), 383);
    let mut wrong = Vec::new();
    for Case { source, text } in &cases {
        match (render(source, &variables), text) {
            (Ok(found), Some(expected)) if found == *expected => {}
            (Err(PromptError::Template { .. }), None) => {}
            (found, expected) => wrong.push(format!("{source}\n  found    {found:?}\n  expected {expected:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Nothing, any number of times, is nothing, and at once; a million fields take no longer than they are long.
#[test]
fn what_is_little_takes_no_time() {
    let start = Instant::now();
    for (source, expected) in [
        ("{{ '' * 10 ** 15 }}", ""),
        ("{{ ([] * 10 ** 15) | length }}", "0"),
        ("{{ ('%%' * 1000000 % ()) | length }}", "1000000"),
        ("{{ '{x}'.format(x=none) }}", "None"),
    ] {
        assert_eq!(render(source, &BTreeMap::new()).unwrap(), expected, "{source}");
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(render("{{ '{:z.1f}'.format(-0.01) }}", &BTreeMap::new()).is_err());
    // An operator inside of as many brackets as a tag may have.
    let source = format!("{{{{ {}2 * 3{} }}}}", "(".repeat(500), ")".repeat(500));
    let rendered = render(&source, &BTreeMap::new());
    assert!(matches!(rendered, Err(PromptError::Template { .. } | PromptError::Unbounded { .. })), "{rendered:?}");
}

/// A text or list that is too large is refused before it is made, wherever it would come from.
#[test]
fn what_is_too_large_is_stopped() {
    for source in [
        "{{ 'a' * 100000000 }}",
        "{{ 'a' * 10 ** 30 }}",
        "{{ ([0] * 1000000000000) | list }}",
        "{{ ([0] * 100000) * 100000 }}",
        "{{ [[0] * 100000] * 100 }}",
        "{{ ['a' * 1000000] * 1000 }}",
        "{{ ('a' * 1000000) * 1000000 }}",
        "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x * 2 %}{% endfor %}",
        "{% for i in range(100000) %}{{ ('a' * 1000000) | length }}{% endfor %}",
        "{% for i in range(100000) %}{{ ([0] * 100000) | length }}{% endfor %}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ '%.1000000000d' % 1 }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '%.1000000000f' % 1.5 }}",
        "{{ '%99999999999999999999999999999999999999d' % 1 }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ '{:01000000000,}'.format(1) }}",
        "{{ '{:.1000000000f}'.format(1.0) }}",
        "{{ '{:{}}'.format('a', 1000000000) }}",
        "{{ ('{0}' * 10000).format('a' * 10000) }}",
        "{% for i in range(100000) %}{{ '%1000000d' | format(1) | length }}{% endfor %}",
        "{{ messages | tojson(indent=1000000000) }}",
        "{{ [[1]] | tojson(indent='x' * 3000000) }}",
        "{{ ([1] * 1000) | tojson(separators=('x' * 1000000, ':')) }}",
        "{% set n = namespace(x='a\\n') %}{% for i in range(60) %}{% set n.x = [n.x] ~ '' %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% set n = namespace(x=1) %}{% for i in range(500) %}{% set n.x = [n.x][0:] %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=1) %}{% for i in range(500) %}{% set n.x = [n.x][0:] %}{% endfor %}{{ n.x | tojson }}",
    ] {
        let start = Instant::now();
        match render(source, &BTreeMap::new()) {
            Err(PromptError::Unbounded { reason, .. }) => {
                assert!(reason.contains("too") || reason.contains("more than"), "{source}: {reason}");
            }
            other => panic!("{source}: {:?}", other.map(|text| text.len())),
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{source}: {:?}", start.elapsed());
    }
}

#[test]
fn long_chains_and_deep_brackets_end() {
    for source in [
        format!("{{{{ 1{} }}}}", " * 1".repeat(400)),
        format!("{{{{ 1{} }}}}", " ** 1".repeat(300)),
        format!("{{{{ ''{} }}}}", " ~ ''".repeat(60)),
        format!("{{{{ {}1{} }}}}", "(1 * ".repeat(30), ")".repeat(30)),
    ] {
        render(&source, &BTreeMap::new()).unwrap_or_else(|error| panic!("{source:.60}: {error}"));
    }
    for source in [
        format!("{{{{ {}1{} }}}}", "(1 * ".repeat(5_000), ")".repeat(5_000)),
        format!("{{{{ {}1{} }}}}", "(1 * ".repeat(170), ")".repeat(170)),
        format!("{{{{ 1{} }}}}", " * ".repeat(20_000)),
        format!("{{{{ 1{} }}}}", " * -1 ** 2 ~ '' % (".repeat(2_000)),
    ] {
        let refused = render(&source, &BTreeMap::new());
        assert!(matches!(refused, Err(PromptError::Template { .. } | PromptError::Unbounded { .. })), "{source:.40}");
    }
}
