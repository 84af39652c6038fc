//! `chat` in a terminal, as a person uses it.
#![cfg(unix)]

mod scripted;

use rexpect::session::{PtySession, spawn_command};
use std::process::Command;
use std::time::Duration;

const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/picture.png");
/// Loading and answering take well under a second; a busy machine may take longer.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(arguments: &[&str]) -> PtySession {
    let mut command = Command::new(scripted::program("chat"));
    command.args(arguments).env("TERM", "dumb").env_remove("RUST_LOG");
    let mut session = spawn_command(command, Some(PATIENCE.as_millis() as u64)).unwrap();
    session.exp_string("/help for commands").unwrap();
    session.exp_string("> ").unwrap();
    session
}

/// Types a line and waits for what the program answers.
fn type_line(session: &mut PtySession, line: &str, answer: &str) {
    session.send_line(line).unwrap();
    session.exp_string(answer).unwrap_or_else(|error| panic!("{line}: no {answer:?}: {error}"));
}

#[test]
fn a_conversation_with_pictures_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    scripted::write(dir.path(), &["Hello", ", you"]);
    let model = dir.path().to_str().unwrap();
    let saved = dir.path().join("talk.json");
    let saved = saved.to_str().unwrap();
    let mut session = start(&["--model", model, "--system", "Be brief."]);

    type_line(&mut session, "Hi", "Hello, you");
    // `<|im_start|>system\nBe brief.<|im_end|>\n`, the question and `<|im_start|>assistant\n`: bytes and three times
    // two marks.
    let turn = |role: &str, text: &str| 3 + role.len() + text.len() + 1;
    let first = turn("system", "Be brief.") + turn("user", "Hi") + 2 + "assistant".len();
    session.exp_string(&format!("[prompt {first} tokens, 0 of them kept; answer 3 tokens")).unwrap();

    type_line(&mut session, &format!("/image {PICTURE}"), "tokens, for the next question");
    type_line(&mut session, "And this?", "Hello, you");
    // The first turn is kept whole: prompt and answer, but for the mark that ended it.
    session.exp_string(&format!(" tokens, {} of them kept; answer 3 tokens", first + 2)).unwrap();

    type_line(&mut session, "/frobnicate", "no command");
    type_line(&mut session, "/image nowhere.png", "nowhere.png");
    type_line(&mut session, &format!("/save {saved}"), "5 messages in");
    type_line(&mut session, &format!("/save {saved}"), "not overwritten");
    type_line(&mut session, "/undo", "3 messages");
    type_line(&mut session, "/again", "Hello, you");
    type_line(&mut session, "/reset", "a new conversation");
    type_line(&mut session, "Hi", &format!("[prompt {first} tokens, 0 of them kept"));
    type_line(&mut session, "/quit", "");
    session.exp_eof().unwrap();

    let text = std::fs::read_to_string(saved).unwrap();
    let messages: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(messages[0]["role"], "system");
    assert_eq!(messages[3]["content"][0]["type"], "image");
    assert_eq!(messages[4]["content"][0]["text"], "Hello, you");

    // The conversation goes on in another process, its picture read again.
    let mut session = start(&["--model", model, "--load", saved]);
    type_line(&mut session, "And now?", "Hello, you");
    type_line(&mut session, "/quit", "");
    session.exp_eof().unwrap();
}

#[test]
fn ctrl_c_ends_an_answer_and_not_the_program() {
    let dir = tempfile::tempdir().unwrap();
    scripted::write_endless(dir.path(), "on and ");
    let mut session = start(&["--model", dir.path().to_str().unwrap(), "--max-new-tokens", "250000"]);
    session.send_line("Go on for ever").unwrap();
    session.exp_string("on and on and on and ").unwrap();
    session.send_control('c').unwrap();
    session.exp_string("broken off]").unwrap();
    type_line(&mut session, "/help", "/reset");
    session.send_control('d').unwrap();
    session.exp_eof().unwrap();
}

#[test]
fn lines_can_come_from_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    scripted::write(dir.path(), &["Yes."]);
    let lines = "first line \\\nsecond line\n/quit\nnever\n";
    let input = dir.path().join("lines");
    std::fs::write(&input, lines).unwrap();
    let output = Command::new(scripted::program("chat"))
        .args(["--model", dir.path().to_str().unwrap()])
        .stdin(std::fs::File::open(&input).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "Yes.\n");
}
