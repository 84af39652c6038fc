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

/// Texts that are made out of others, over and over, are counted too.
#[test]
fn what_is_made_again_and_again_is_stopped() {
    let long = "{% set long = 'abcdefghij' * 100000 %}{% for i in range(100000) %}";
    for expression in [
        "long ~ i",
        "[long] | tojson",
        "[long] | string",
        "[long, i] | join",
        "[long, i] | join(', ')",
        "', '.join([long, 'x'])",
        "long | replace('a', 'b')",
        "long.replace('a', 'b')",
        "long | indent(2)",
        "long | center(2000000)",
        "long.rjust(2000000)",
        "long.zfill(2000000)",
        "long.rsplit('x')",
        "long | wordwrap(100000)",
    ] {
        let rendered =
            render(&format!("{long}{{% if ({expression}) is none %}}{{% endif %}}{{% endfor %}}"), &BTreeMap::new());
        let Err(PromptError::Unbounded { reason, .. }) = rendered else { panic!("{expression}: {rendered:?}") };
        assert!(reason.contains("makes more than"), "{expression}: {reason}");
    }
    // A prompt that is joined of all messages, each as long as a value may be without them.
    let source =
        "{% set n = namespace(x='') %}{% for m in messages %}{% set n.x = n.x ~ m.content %}{% endfor %}{{ n.x }}";
    let messages = vec![Message::text("user", "m".repeat(100_000)); 100];
    let template = ChatTemplate::new(source, "test").unwrap();
    assert_eq!(template.render(&messages, &RenderOptions::default()).unwrap().len(), 10_000_000);
}

/// Methods, filters and tuples as Jinja2 3.1 has them on Python 3.11.
#[test]
fn padding_wrapping_rounding_and_tuples_are_as_in_jinja2() {
    for (source, expected) in [
        ("{{ 'a.b.c'.rsplit('.', 1) }}", "['a.b', 'c']"),
        ("{{ ' a  b '.rsplit() }}", "['a', 'b']"),
        ("{{ 'a b c'.rsplit(maxsplit=1)[0] }}", "a b"),
        ("{{ '-7'.zfill(4) }}{{ '7'.zfill(3) }}{{ '+'.zfill(2) }}{{ 'abc'.zfill(-1) }}", "-007007+0abc"),
        ("{{ 'ab'.center(5) }}|{{ 'abc'.center(6, '*') }}|{{ 'ab'.center(1) }}", "  ab |*abc**|ab"),
        ("{{ 'ab'.rjust(4) }}|{{ 'ab'.ljust(4, '.') }}", "  ab|ab.."),
        ("{{ 'ab' | center(5) }}|{{ 5 | center(width=4) }}|{{ ('x' | center) | length }}", "  ab | 5  |80"),
        ("{{ 'the quick brown fox' | wordwrap(10) }}", "the quick\nbrown fox"),
        ("{{ 'well-known state-of-the-art' | wordwrap(12) }}", "well-known\nstate-of-\nthe-art"),
        ("{{ 'abcdefghij kl' | wordwrap(4, wrapstring='|') }}", "abcd|efgh|ij|kl"),
        ("{{ 'abcdefghij kl' | wordwrap(4, break_long_words=false) }}", "abcdefghij\nkl"),
        ("{{ 'one two\n\nthree' | wordwrap(4) }}", "one\ntwo\n\nthre\ne"),
        ("{{ 'a--b and c' | wordwrap(3) }}", "a--\nb\nand\nc"),
        ("{{ 2.5 | round }} {{ 3.5 | round }} {{ -0.5 | round }} {{ 7 | round }}", "2.0 4.0 -0.0 7"),
        ("{{ 2.675 | round(2) }} {{ 0.125 | round(2) }} {{ 42.55 | round(1, 'floor') }}", "2.67 0.12 42.5"),
        ("{{ 42.55 | round(method='ceil') }} {{ 1250 | round(-2) }} {{ 1250.0 | round(-2) }}", "43.0 1200 1200.0"),
        ("{{ (1, 'a') }} {{ (1,) }} {{ () }} {{ [(1, 2)] }}", "(1, 'a') (1,) () [(1, 2)]"),
        ("{{ {'a': 1}.items() | list }} {{ {'b': 2} | dictsort }}", "[('a', 1)] [('b', 2)]"),
        ("{% for a, b in ((1, 2), (3, 4)) %}{{ a + b }}{% endfor %} {{ 2 in (1, 2) }}", "37 True"),
        ("{{ (1, 2)[1] }} {{ (1, 2) | length }} {{ (1, 2) | join('-') }} {{ (1, 2) * 2 }}", "2 2 1-2 (1, 2, 1, 2)"),
        ("{{ 'x.py'.endswith(('.rs', '.py')) }} {{ (1, 2) | tojson }} {{ (1, 2) | list }}", "True [1, 2] [1, 2]"),
        ("{% set (a, b) = (3, 4) %}{{ a }}{{ b }} {{ '%s-%s' % (a, b) }}", "34 3-4"),
    ] {
        assert_eq!(
            render(source, &BTreeMap::new()).unwrap_or_else(|error| panic!("{source}: {error}")),
            expected,
            "{source}"
        );
    }
    for source in ["{{ 'a'.rsplit('') }}", "{{ 'a' | wordwrap(0) }}", "{{ 'a' | round }}", "{{ 1 | round(0, 'up') }}"] {
        assert!(matches!(render(source, &BTreeMap::new()), Err(PromptError::Template { .. })), "{source}");
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
