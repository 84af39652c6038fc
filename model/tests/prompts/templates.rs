//! The built-in template against the released ones, and templates that must be stopped.

use crate::case;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, UNIX_EPOCH};

use case::locate;
use qwen3_vl_burn::prompt::{
    ChatTemplate, Content, Message, PromptError, RenderOptions, TemplateValue, ToolCall, parse_tool_calls,
    split_thinking,
};

/// A conversation rendered by Jinja2 with a released template (`released.py`).
#[derive(serde::Deserialize)]
struct Released {
    edition: String,
    name: String,
    messages: Vec<Message>,
    options: BTreeMap<String, TemplateValue>,
    prompt: String,
}

fn read_released() -> Vec<Released> {
    serde_json::from_str(&std::fs::read_to_string(locate("templates/released.json")).unwrap()).unwrap()
}

fn read_options(mut variables: BTreeMap<String, TemplateValue>) -> RenderOptions {
    RenderOptions {
        add_generation_prompt: variables.remove("add_generation_prompt").unwrap().is_true(),
        add_vision_id: variables.remove("add_vision_id").is_some_and(|value| value.is_true()),
        tools: variables.remove("tools").map(|tools| tools.try_iter().unwrap().collect()).unwrap_or_default(),
        variables,
    }
}

#[test]
fn the_builtin_template_renders_what_the_released_ones_do() {
    let builtin = ChatTemplate::chatml().unwrap();
    let cases = read_released();
    assert_eq!(cases.len(), 51);
    for case in cases {
        let mut options = read_options(case.options);
        if case.edition == "thinking" {
            options.variables.insert("enable_thinking".to_owned(), true.into());
        }
        let prompt = builtin.render(&case.messages, &options).unwrap();
        assert_eq!(prompt, case.prompt, "{}: {}", case.edition, case.name);
    }
}

/// The tools of a case, made of Rust values and read back from what a model would write.
#[test]
fn helpers_make_the_messages_of_tools() {
    let case = read_released().into_iter().find(|case| case.name == "two rounds of calls").unwrap();
    let written =
        case.prompt.split("<|im_start|>assistant\n").skip(1).map(|turn| turn.split("<|im_end|>").next().unwrap());
    let mut turns = written.map(|turn| {
        let answer = parse_tool_calls(turn);
        let calls: Vec<ToolCall> = answer.calls.into_iter().collect::<Result<_, _>>().unwrap();
        if calls.is_empty() {
            Message::text("assistant", answer.content)
        } else {
            Message::assistant_tool_calls(answer.content, &calls)
        }
    });
    let mut turn = || turns.next().unwrap();
    let messages = [
        Message::text("user", "Find it."),
        turn(),
        Message::tool_response("one"),
        turn(),
        Message::tool_response(r#"{"a": 1}"#),
        Message::tool_response(""),
        turn(),
        Message::text("user", "More."),
        turn(),
    ];
    let prompt = ChatTemplate::chatml().unwrap().render(&messages, &read_options(case.options)).unwrap();
    assert_eq!(prompt, case.prompt);
}

#[test]
fn thoughts_stay_out_of_earlier_turns() {
    let answer = split_thinking("<think>\nsecret\n</think>\n\nHello");
    let messages = [Message::text("user", "Hi"), Message::assistant_answer(&answer), Message::text("user", "Bye")];
    let expected = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n\
                    <|im_start|>assistant\n";
    let builtin = ChatTemplate::chatml().unwrap();
    assert_eq!(builtin.render(&messages, &RenderOptions::default()).unwrap(), expected);
    let variables = BTreeMap::from([("enable_thinking".to_owned(), true.into())]);
    let thinking = RenderOptions { variables, ..Default::default() };
    assert_eq!(builtin.render(&messages, &thinking).unwrap(), format!("{expected}<think>\n"));
}

#[test]
fn the_builtin_template_refuses_what_it_would_drop() {
    let refuse =
        |messages: &[Message]| match ChatTemplate::chatml().unwrap().render(messages, &RenderOptions::default()) {
            Err(PromptError::Refused { message, .. }) => message,
            other => panic!("{other:?}"),
        };
    let late = [Message::text("user", "Hi"), Message::text("system", "Be brief.")];
    assert_eq!(refuse(&late), "the system turn comes first, not as turn 2");
    assert_eq!(refuse(&[Message::text("owner", "Hi")]), "turn 1 is of the unknown role owner");
}

fn render(source: &str, options: &RenderOptions) -> Result<String, PromptError> {
    let content = vec![Content::Text("x".into())];
    ChatTemplate::new(source, "test")?.render(&[Message::new("user", content)], options)
}

fn render_plain(source: &str) -> String {
    render(source, &RenderOptions::default()).unwrap_or_else(|error| panic!("{source}: {error}"))
}

#[test]
fn generation_blocks_are_rendered() {
    assert_eq!(render_plain("a\n{% generation %}\nb{{ messages[0].content }}\n{% endgeneration %}\nc"), "a\nbx\nc");
    assert_eq!(render_plain("a {%- generation -%} b {%- endgeneration -%} c"), "abc");
    // Names set inside stay inside, as in HF.
    assert_eq!(render_plain("{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}"), "21");
}

#[test]
fn strftime_now_tells_the_time_it_is_given() {
    let tell = |format: &str| {
        let template = ChatTemplate::new(format!("{{{{ strftime_now('{format}') }}}}"), "test").unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(1_772_366_400);
        template.with_time(time).render(&[], &RenderOptions::default())
    };
    assert_eq!(tell("%d %b %Y, %H:%M").unwrap(), "01 Mar 2026, 12:00");
    assert!(matches!(tell("%Q"), Err(PromptError::Template { .. })));
    // Without one, the present: this was written in 2025 or later.
    assert!(render_plain("{{ strftime_now('%Y') }}").parse::<u32>().unwrap() >= 2025);
}

/// White space as Jinja2 leaves it, where checks are inserted: expected texts are Jinja2's.
#[test]
fn inserted_checks_change_no_white_space() {
    let long = "t".repeat(300);
    for (source, expected) in [
        ("a\n  {% set x = 1 %}\n  b{{ x }}\n", "a\n  b1"),
        ("a {%- set x = 1 -%} b", "ab"),
        ("a {% set x = 1 +%}\n b", "a \n b"),
        ("{% macro m(a, b=2) %}\n [{{ a }}{{ b }}]\n{% endmacro %}\n{{ m(1) }}", " [12]\n"),
        ("{% with a = 1, b = 2 %}\n{{ a }}{{ b }}\n{% endwith %}\nc", "12\nc"),
        ("{% set t %}\nx\n{% endset %}\n[{{ t }}]", "[x\n]"),
        ("{% raw %}\n{{ * }}\n{% endraw %}\nb", "{{ * }}\nb"),
    ] {
        assert_eq!(render_plain(source), expected, "{source}");
    }
    for (source, expected) in [
        (format!("\n{long}\n"), format!("\n{long}")),
        (format!("{{{{ 1 }}}}\n {long}"), format!("1\n {long}")),
        (format!("{{{{ 1 -}}}}\n {long}"), format!("1{long}")),
        (format!("{{% if 1 %}}\n {long}\n {{% endif %}}"), format!(" {long}\n")),
        (format!("{{# c #}}\n {long}"), format!(" {long}")),
        (format!("{{% if 1 -%}}\n {long}{{%- endif %}}"), long.clone()),
    ] {
        assert_eq!(render_plain(&source), expected, "{source}");
    }
}

#[test]
fn filters_that_are_replaced_do_the_same() {
    for (source, expected) in [
        (
            "{{ 'a-b-c' | replace('-', '+') }} {{ 'aXbX'.replace('X', '') }} {{ 'aXbX'.replace('X', '', 1) }}",
            "a+b+c ab abX",
        ),
        ("{{ [1, 'b', none] | join(', ') }} {{ ['a', 'b'] | join }} {{ ', '.join(['a', 'b']) }}", "1, b, None ab a, b"),
        ("{{ 'a\nb\n\nc' | indent }}", "a\n    b\n\n    c"),
        (
            "{{ 'a\n\nb' | indent(2, true) }}|{{ 'a\n\nb' | indent(width=1, first=true, blank=true) }}",
            "  a\n\n  b| a\n \n b",
        ),
    ] {
        assert_eq!(render_plain(source), expected, "{source}");
    }
}

#[track_caller]
fn assert_stopped(source: &str, part: &str) {
    let start = Instant::now();
    match render(source, &RenderOptions::default()) {
        Err(PromptError::Unbounded { reason, .. }) => assert!(reason.contains(part), "{source}: {reason}"),
        other => panic!("{source}: {:?}", other.map(|text| text.len())),
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{source}");
}

#[test]
fn stops_templates_that_loop_for_ever() {
    let range = "range(100000)";
    assert_stopped(
        &format!("{{% for a in {range} %}}{{% for b in {range} %}}{{% endfor %}}{{% endfor %}}"),
        "instructions",
    );
    assert_stopped(
        &format!("{{% for a in {range} %}}{{% for b in {range} %}}x{{% endfor %}}{{% endfor %}}"),
        "instructions",
    );
    // A macro that calls itself ends at the engine's depth.
    let recursive = render("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", &RenderOptions::default());
    assert!(matches!(recursive, Err(PromptError::Template { .. })), "{recursive:?}");
}

#[test]
fn stops_templates_that_write_without_end() {
    let long = "t".repeat(1000);
    assert_stopped(&format!("{{% for a in range(100000) %}}{long}{{% endfor %}}"), "more than");
    assert_stopped(&format!("{{% for a in range(100000) %}}{{{{ '{long}' }}}}{{% endfor %}}"), "more than");
    assert_stopped(
        &format!("{{% set x %}}{{% for a in range(100000) %}}{long}{{% endfor %}}{{% endset %}}"),
        "more than",
    );
    assert_stopped(
        &format!("{{% for a in range(100000) %}}{{% raw %}}{long}{{% endraw %}}{{% endfor %}}"),
        "more than",
    );
}

#[test]
fn stops_templates_that_double() {
    let doubling =
        |step: &str| format!("{{% set n = namespace(x='abcdefgh') %}}{{% for i in range(60) %}}{step}{{% endfor %}}");
    assert_stopped(&doubling("{% set n.x = n.x ~ n.x %}"), "too long");
    assert_stopped(&doubling("{% set n.x = n.x + n.x %}"), "too long");
    assert_stopped(&doubling("{% set n.x = [n.x, n.x] | join %}"), "too long");
    assert_stopped(&doubling("{% set n.x = n.x | replace('a', n.x) %}"), "too long");
    assert_stopped(&doubling("{% set n.x = n.x.replace('', n.x) %}"), "too long");
    assert_stopped(&doubling("{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}"), "too long");
    assert_stopped(&doubling("{% set n.x = [n.x, n.x] %}"), "too");
    assert_stopped(&doubling("{% set n.x = {'a': n.x, 'b': n.x} %}"), "too");
    assert_stopped(
        "{% macro m(x, n) %}{{ m(x ~ x, n - 1) if n else '' }}{% endmacro %}{{ m('abcdefgh', 40) }}",
        "too long",
    );
    let mut nested = "{% with x = 'abcdefgh' %}".to_owned();
    nested += &"{% with x = x ~ x %}".repeat(40);
    nested += &"{% endwith %}".repeat(41);
    assert_stopped(&nested, "too long");
}

#[test]
fn refuses_templates_that_cannot_be_bounded() {
    assert_stopped(&"{{ x }}".repeat(60_000), "bytes");
    assert_stopped(&format!("{{{{ x{} }}}}", " ~ x".repeat(100)), "values");
    let batch = render("{{ [1] | batch(1000000000, 0) }}", &RenderOptions::default());
    assert!(matches!(batch, Err(PromptError::Template { .. })), "{batch:?}");
    assert!(matches!(render("{{ 'a' | indent(1000000000) }}", &RenderOptions::default()), Ok(text) if text == "a"));
    assert_stopped("{{ 'a' | indent(1000000000, true) }}", "too long");
}

/// Source that nests deeper than a parser should follow.
#[test]
fn survives_deep_nesting() {
    for source in [
        format!("{{{{ {}1{} }}}}", "(".repeat(20_000), ")".repeat(20_000)),
        format!("{{{{ {} }}}}", "[".repeat(20_000)),
        format!("{}{}", "{% if 1 %}".repeat(5_000), "{% endif %}".repeat(5_000)),
        format!("{{{{ {}1 }}}}", "not ".repeat(20_000)),
        format!("{{{{ {}1 }}}}", "-".repeat(20_000)),
        format!("{}{}", "{% for x in [1] %}".repeat(5_000), "{% endfor %}".repeat(5_000)),
        format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(10_000)),
        format!("{{{{ x{} }}}}", ".a".repeat(20_000)),
        format!("{{{{ 'x'{} }}}}", "|upper".repeat(20_000)),
        format!("{{{{ x{} }}}}", "[0]".repeat(20_000)),
        format!("{{{{ 1{} }}}}", " - 1".repeat(20_000)),
        format!("{{{{ 1{} }}}}", " and 1".repeat(20_000)),
        format!("{{{{ 1{} }}}}", " if 1 else 1".repeat(9_000)),
        format!("{{{{ {}1{} }}}}", "f(".repeat(20_000), ")".repeat(20_000)),
        format!("{{{{ {}1{} }}}}", "{1:".repeat(20_000), "}".repeat(20_000)),
    ] {
        for length in [500, 2_000, source.len()] {
            // Cut, it is no valid template; it must be refused all the same.
            let rendered = render(&source[..length.min(source.len())], &RenderOptions::default());
            let refused = matches!(rendered, Err(PromptError::Template { .. } | PromptError::Unbounded { .. }));
            assert!(refused, "{source:.40}");
        }
    }
    // As deep as is accepted.
    for source in [
        format!("{{{{ {}1 }}}}", "-".repeat(900)),
        format!("{{{{ {}1 }}}}", "not ".repeat(240)),
        format!("{{{{ 1{} }}}}", "|abs".repeat(240)),
        format!("{{{{ 1{} }}}}", " - 1".repeat(240)),
        format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(60)),
    ] {
        render(&source, &RenderOptions::default()).unwrap();
    }
}

#[test]
fn refuses_files_that_hold_no_template() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str, content: &[u8]| {
        std::fs::write(folder.path().join(name), content).unwrap();
        let loaded = ChatTemplate::load(folder.path());
        std::fs::remove_file(folder.path().join(name)).unwrap();
        loaded
    };
    for content in [r#"{"chat_template": 5}"#, r#"{"chat_template": [{"name": "default", "template": 5}]}"#, "[", ""] {
        for name in ["chat_template.json", "tokenizer_config.json"] {
            assert!(matches!(load(name, content.as_bytes()), Err(PromptError::Json { .. })), "{name}: {content}");
        }
    }
    // Nothing that would do: the built-in one.
    for content in ["{}", r#"{"chat_template": null}"#, r#"{"chat_template": [{"name": "tool_use", "template": "x"}]}"#]
    {
        load("tokenizer_config.json", content.as_bytes()).unwrap();
    }
    let large = load("chat_template.jinja", &vec![b' '; (8 << 20) + 1]);
    let Err(error @ PromptError::TooLarge { limit: 8_388_608, .. }) = large else { panic!("{large:?}") };
    assert!(error.to_string().contains("chat_template.jinja has more than 8388608 bytes"), "{error}");
    std::fs::create_dir(folder.path().join("chat_template.jinja")).unwrap();
    assert!(matches!(ChatTemplate::load(folder.path()), Err(PromptError::Read { .. })));
}

/// A fault of minijinja 2.24. Where it is mended, an empty list.
#[test]
fn a_panic_of_the_engine_is_an_error() {
    match render("{{ [][::-1] }}", &RenderOptions::default()) {
        Err(PromptError::Engine { reason, .. }) => assert!(reason.contains("out of bounds"), "{reason}"),
        other => assert_eq!(other.unwrap(), "[]"),
    }
}

#[test]
fn a_long_conversation_is_no_runaway() {
    let builtin = ChatTemplate::chatml().unwrap();
    let turn = "A sentence of some length, as people write them. ".repeat(20);
    let messages: Vec<Message> =
        (0..4000).map(|i| Message::text(["user", "assistant"][i % 2], turn.as_str())).collect();
    let prompt = builtin.render(&messages, &RenderOptions::default()).unwrap();
    assert!(prompt.len() > 3_900_000);
    for unit in ["x", "漢"] {
        let long = unit.repeat(20 << 20);
        let prompt = builtin.render(&[Message::text("user", long.as_str())], &RenderOptions::default()).unwrap();
        assert_eq!(prompt, format!("<|im_start|>user\n{long}<|im_end|>\n<|im_start|>assistant\n"));
    }
}
