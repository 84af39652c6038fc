//! Answers taken apart: thoughts and calls of tools.

use qwen3_vl_burn::prompt::{
    Answer, AnswerPiece, ThinkingStream, ToolCallError, opens_thinking, parse_tool_calls, split_opened_thinking,
    split_thinking,
};
use serde_json::{Value, json};

fn answer(thinking: Option<&str>, content: &str, unfinished: bool) -> Answer {
    Answer { thinking: thinking.map(str::to_owned), content: content.to_owned(), unfinished }
}

/// Text; what it holds where the prompt is unknown; what where the prompt opened the block.
fn cases() -> Vec<(&'static str, Answer, Answer)> {
    let both = |text, expected: Answer| (text, expected.clone(), expected);
    vec![
        both("<think>\nhm\n\nso\n</think>\n\nHello\n", answer(Some("hm\n\nso"), "Hello\n", false)),
        both("<think></think>x", answer(Some(""), "x", false)),
        both("<think>\n\n</think>\n\n", answer(Some(""), "", false)),
        both(" \n<think>hm</think>x", answer(Some("hm"), "x", false)),
        both("hm\n</think>\n\nHello", answer(Some("hm"), "Hello", false)),
        both("</think>x", answer(Some(""), "x", false)),
        both("<think>\nhm, a < b\n", answer(Some("hm, a < b"), "", true)),
        both("<think>", answer(Some(""), "", true)),
        both("<think>hm</thin", answer(Some("hm</thin"), "", true)),
        // Later tags belong to the answer.
        both("<think>a</think>Write <think>b</think>.", answer(Some("a"), "Write <think>b</think>.", false)),
        both("<think>a<think>b</think>c</think>d", answer(Some("a<think>b"), "c</think>d", false)),
        ("Hello", answer(None, "Hello", false), answer(Some("Hello"), "", true)),
        ("", answer(None, "", false), answer(Some(""), "", true)),
        ("\n\nHello <think>", answer(None, "\n\nHello <think>", false), answer(Some("Hello <think>"), "", true)),
        ("<thin", answer(None, "<thin", false), answer(Some("<thin"), "", true)),
        both("漢<字\n</think>\n🙂", answer(Some("漢<字"), "🙂", false)),
    ]
}

#[test]
fn thoughts_are_split_from_the_answer() {
    for (text, expected, opened) in cases() {
        assert_eq!(split_thinking(text), expected, "{text:?}");
        assert_eq!(split_opened_thinking(text), opened, "{text:?}");
    }
    assert!(opens_thinking("<|im_start|>assistant\n<think>\n"));
    assert!(!opens_thinking("<|im_start|>assistant\n"));
    assert!(!opens_thinking("<|im_start|>assistant\n<think>\n\n</think>\n\n"));
}

/// Joins the pieces of a stream; no piece may be empty.
fn join(pieces: impl IntoIterator<Item = AnswerPiece>) -> (String, String) {
    let (mut thinking, mut content) = (String::new(), String::new());
    for piece in pieces {
        match piece {
            AnswerPiece::Thinking(text) => {
                assert!(!text.is_empty() && content.is_empty());
                thinking += &text;
            }
            AnswerPiece::Content(text) => {
                assert!(!text.is_empty());
                content += &text;
            }
        }
    }
    (thinking, content)
}

#[test]
fn streamed_pieces_join_to_the_whole() {
    for (text, expected, opened) in cases() {
        // Where only the closing tag appears, the prompt opened the block.
        let starts_open = expected.thinking.is_some();
        for (prompt_opened, expected) in [(starts_open, expected), (true, opened)] {
            // One character a push, two, and so on; and every cut into two.
            let characters: Vec<char> = text.chars().collect();
            let mut cuttings: Vec<Vec<String>> =
                (1..6).map(|size| characters.chunks(size).map(|chunk| chunk.iter().collect()).collect()).collect();
            let ends = text.char_indices().map(|(at, _)| at);
            cuttings.extend(ends.map(|at| vec![text[..at].to_owned(), text[at..].to_owned()]));
            for cutting in cuttings {
                let mut stream = ThinkingStream::new(prompt_opened);
                let mut pieces = Vec::new();
                for piece in &cutting {
                    pieces.extend(stream.push(piece));
                }
                assert_eq!(stream.is_thinking(), expected.unfinished, "{cutting:?}");
                pieces.extend(stream.finish());
                let (thinking, content) = join(pieces);
                assert_eq!(thinking, expected.thinking.clone().unwrap_or_default(), "{cutting:?}");
                assert_eq!(content, expected.content, "{cutting:?}");
            }
        }
    }
}

#[test]
fn streaming_waits_no_longer_than_it_must() {
    let mut stream = ThinkingStream::new(false);
    assert_eq!(stream.push("<think>\n"), []);
    assert_eq!(stream.push("hm\n"), [AnswerPiece::Thinking("hm".into())]);
    assert_eq!(stream.push("so <"), [AnswerPiece::Thinking("\nso ".into())]);
    assert_eq!(stream.push("/b>"), [AnswerPiece::Thinking("</b>".into())]);
    assert_eq!(stream.push("\n</think>\n"), []);
    assert_eq!(stream.push("\nHi"), [AnswerPiece::Content("Hi".into())]);
    assert_eq!(stream.push("\n</think>"), [AnswerPiece::Content("\n</think>".into())]);
}

#[test]
fn calls_are_read_in_order() {
    let text = "I'll look.\n<tool_call>\n{\"name\": \"find\", \"arguments\": {\"z\": 1, \"a\": [true, {\"y\": null, \"b\": \"</tool_call>\"}]}}\n\
                </tool_call>\n<tool_call>\n{\"arguments\": {}, \"name\": \"clock\"}\n</tool_call>";
    let answer = parse_tool_calls(text);
    assert_eq!(answer.content, "I'll look.");
    let calls: Vec<_> = answer.calls.into_iter().collect::<Result<_, _>>().unwrap();
    assert_eq!((calls[0].name.as_str(), calls[1].name.as_str()), ("find", "clock"));
    // The order of keys is kept.
    let keys: Vec<String> = calls[0].arguments.try_iter().unwrap().map(|key| key.to_string()).collect();
    assert_eq!(keys, ["z", "a"]);
    let arguments: Value = calls[0].read_arguments().unwrap();
    assert_eq!(arguments, json!({"z": 1, "a": [true, {"y": null, "b": "</tool_call>"}]}));
    assert_eq!(calls[1].read_arguments::<Value>().unwrap(), json!({}));

    #[derive(serde::Deserialize)]
    struct Wrong {
        #[allow(dead_code, reason = "never read: it doesn't fit")]
        z: String,
    }
    let error = calls[0].read_arguments::<Wrong>().map(|_| ()).unwrap_err();
    assert!(matches!(&error, ToolCallError::Type { name, .. } if name == "find"), "{error}");
}

#[test]
fn text_around_calls_is_kept() {
    let call = r#"<tool_call>{"name":"f"}</tool_call>"#;
    for (text, content, calls) in [
        ("no calls at all\n", "no calls at all\n", 0),
        (&*format!("a\n\n{call}\nb\n{call}c"), "a\n\nbc", 2),
        (&*format!("{call}{call}"), "", 2),
        ("</tool_call>", "</tool_call>", 0),
        ("<tool_call", "<tool_call", 0),
    ] {
        let answer = parse_tool_calls(text);
        assert_eq!(answer.calls.len(), calls, "{text}");
        assert!(answer.calls.iter().all(Result::is_ok), "{text}");
        assert_eq!(answer.content, content, "{text}");
    }
}

#[test]
fn arguments_may_be_absent_or_text() {
    let read = |block: &str| {
        let mut answer = parse_tool_calls(&format!("<tool_call>{block}</tool_call>"));
        answer.calls.remove(0).unwrap().read_arguments::<Value>().unwrap()
    };
    assert_eq!(read(r#"{"name":"f"}"#), json!({}));
    assert_eq!(read(r#"{"name":"f","arguments":"{\"a\":1}"}"#), json!({"a": 1}));
    assert_eq!(read(r#"{"name":"f","arguments":{"a":1},"id":7}"#), json!({"a": 1}));
}

#[test]
fn blocks_that_are_no_calls_are_errors_in_their_place() {
    let fail = |block: &str| {
        let good = r#"<tool_call>{"name":"good","arguments":{}}</tool_call>"#;
        let mut answer = parse_tool_calls(&format!("a\n{good}\n<tool_call>\n{block}\n</tool_call>\n{good}\nb"));
        assert_eq!(answer.content, "a\nb", "{block}");
        assert_eq!(answer.calls.len(), 3, "{block}");
        assert!(answer.calls[0].is_ok() && answer.calls[2].is_ok(), "{block}");
        let error = answer.calls.remove(1).unwrap_err();
        assert_eq!(error.raw().trim(), block);
        assert!(error.to_string().contains(block), "{error}");
        error
    };
    for block in [
        "",
        "find cats",
        "{'name': 'f'}",
        r#"{"name":"f""#,
        r#"{"name":"f","arguments":{"a":NaN}}"#,
        r#"{"name":"f","arguments":{"a":1e999}}"#,
        r#"{"name":"f"} {"name":"g"}"#,
        r#"{"name":"f","arguments":"{"}"#,
    ] {
        assert!(matches!(fail(block), ToolCallError::Json { .. }), "{block}");
    }
    for block in ["[]", "\"f\"", "null", "3"] {
        assert!(matches!(fail(block), ToolCallError::NotAnObject { .. }), "{block}");
    }
    for block in ["{}", r#"{"arguments":{}}"#, r#"{"name":3}"#, r#"{"name":null,"arguments":{}}"#] {
        assert!(matches!(fail(block), ToolCallError::MissingName { .. }), "{block}");
    }
    for block in
        [r#"{"name":"f","arguments":[]}"#, r#"{"name":"f","arguments":null}"#, r#"{"name":"f","arguments":"3"}"#]
    {
        let ToolCallError::Arguments { name, .. } = fail(block) else { panic!("{block}") };
        assert_eq!(name, "f");
    }
    let deep = format!("{{\"name\":\"f\",\"arguments\":{}", "[".repeat(100_000));
    let answer = parse_tool_calls(&format!("<tool_call>{deep}</tool_call>"));
    assert!(matches!(answer.calls[0], Err(ToolCallError::Json { .. })));
}

#[test]
fn unclosed_blocks_keep_their_text() {
    for block in [r#"{"name":"f","arguments":{}}"#, r#"{"name":"f","argum"#, "", "\n"] {
        let answer = parse_tool_calls(&format!("Wait.\n<tool_call>{block}"));
        assert_eq!(answer.content, "Wait.");
        let [Err(ToolCallError::Unclosed { raw })] = answer.calls.as_slice() else {
            panic!("{block}: {:?}", answer.calls)
        };
        assert_eq!(raw, block);
    }
}
