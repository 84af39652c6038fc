//! Records in every format that people have, told apart by their names (the table in [`crate::data`]).
//!
//! Names of messages mean the same in each list: `role` and `from`, `content` and `value`.

use std::path::Path;

use qwen3_vl_burn::prompt::{Message, TemplateValue};

use super::json::{Json, mistype, shorten};
use super::media::{Media, Place};
use super::objects::read_objects;
use super::{Problem, Record, Source};

/// Under these, a list of messages.
const CONVERSATIONS: [&str; 3] = ["messages", "conversations", "conversation"];
/// What the user says, in pairs.
const QUESTIONS: [&str; 4] = ["human", "user", "query", "prompt"];
/// What the assistant says, in pairs.
const ANSWERS: [&str; 4] = ["assistant", "gpt", "response", "answer"];
/// Turns of the assistant that are calls of a tool.
const CALLS: [&str; 2] = ["function_call", "tool_call"];

/// Makes a record of an object; `media_root` is what relative paths are relative to.
///
/// # Errors
/// [`Problem`]: names that are missing, values of a wrong type, roles without meaning, placeholders that don't match
/// the files. No file is opened.
pub(super) fn read_record(json: Json, at: &Source, media_root: &Path) -> Result<Record, Problem> {
    let Json::Object(entries) = json else {
        return Err(mistype("record", &json, "an object"));
    };
    let field = |name: &str| entries.iter().find(|(key, value)| key == name && *value != Json::Null).map(|(_, v)| v);
    let mut media = Media::read(field, media_root)?;
    let mut turns = Turns { media: &mut media, record: Record::new(Vec::new(), at.clone()) };
    if let Some(system) = field("system") {
        let text = system.as_text().ok_or_else(|| mistype("system", system, "a text"))?;
        turns.record.messages.push(Message::text("system", text));
    }
    if let Some((name, list)) = CONVERSATIONS.iter().find_map(|name| Some((*name, field(name)?))) {
        let Json::List(list) = list else { return Err(mistype(name, list, "a list of messages")) };
        list.iter().try_for_each(|message| turns.push(message))?;
    } else if let (Some(query), Some(response)) = (field("query"), field("response")) {
        for pair in read_history(field("history"))? {
            turns.push_pair(&pair[0], &pair[1])?;
        }
        turns.push_pair(query, response)?;
    } else {
        let names: Vec<_> = entries.iter().take(8).map(|(name, _)| format!("`{}`", shorten(name))).collect();
        let found = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        return Err(Problem::NoConversation { found });
    }
    let mut record = turns.record;
    // The released template would drop the second one without a word.
    if field("system").is_some() && record.messages.get(1).is_some_and(|message| message.role == "system") {
        let reason = "a system turn, and `system` stands beside the conversation: keep one of them".to_owned();
        return Err(Problem::Message { message: 0, reason });
    }
    media.require_all_used()?;
    record.tools = field("tools").map_or(Ok(Vec::new()), read_tools)?;
    record.objects = field("objects").map(read_objects).transpose()?;
    Ok(record)
}

/// A conversation that grows.
struct Turns<'a> {
    media: &'a mut Media,
    record: Record,
}

impl Turns<'_> {
    fn push(&mut self, message: &Json) -> Result<(), Problem> {
        let number = self.record.messages.len();
        let Json::Object(entries) = message else {
            return Err(mistype(format!("messages[{number}]"), message, "an object"));
        };
        let find = |names: &[&str]| {
            names.iter().find_map(|name| entries.iter().find(|(key, _)| key == name).map(|(_, value)| value))
        };
        let Some(role) = find(&["role", "from"]) else {
            return match (find(&QUESTIONS), find(&ANSWERS)) {
                (Some(question), Some(answer)) => self.push_pair(question, answer),
                _ => Err(Problem::Message {
                    message: number,
                    reason: "expected `role` with `content`, `from` with `value`, or `human` with `assistant`"
                        .to_owned(),
                }),
            };
        };
        let role = role.as_text().ok_or_else(|| mistype(format!("messages[{number}].role"), role, "a text"))?;
        let content = find(&["content", "value"]).unwrap_or(&Json::Null);
        let place = if find(&["from"]).is_some() { Place::Trimmed } else { Place::Verbatim };
        let mut built = self.build(role, content, place)?;
        for (name, value) in entries {
            match name.as_str() {
                "role" | "from" | "content" | "value" => {}
                "loss" | "weight" => self.note_loss(name, value)?,
                _ if *value == Json::Null => {}
                _ => drop(built.extra.insert(name.clone(), value.to_template_value())),
            }
        }
        self.record.messages.push(built);
        Ok(())
    }

    /// Whether the message at hand is trained on: `loss` of ms-swift (a truth value), `weight` of OpenAI (0 or 1).
    fn note_loss(&mut self, name: &str, value: &Json) -> Result<(), Problem> {
        let message = self.record.messages.len();
        let trained = match (value, value.as_number()) {
            (Json::Null, _) => true,
            (Json::Bool(trained), _) => *trained,
            (_, Some(0.0)) => false,
            (_, Some(1.0)) => true,
            _ => return Err(mistype(format!("messages[{message}].{name}"), value, "true or false, 0 or 1")),
        };
        if !trained && !self.record.untrained.contains(&message) {
            self.record.untrained.push(message);
        }
        Ok(())
    }

    fn push_pair(&mut self, question: &Json, answer: &Json) -> Result<(), Problem> {
        let question = self.build("user", question, Place::Verbatim)?;
        self.record.messages.push(question);
        let answer = self.build("assistant", answer, Place::Verbatim)?;
        self.record.messages.push(answer);
        Ok(())
    }

    /// A message of this role, its pictures and videos in their places.
    fn build(&mut self, role: &str, content: &Json, place: Place) -> Result<Message, Problem> {
        let message = self.record.messages.len();
        if CALLS.contains(&role) {
            let call = content.as_text().ok_or_else(|| mistype(format!("messages[{message}]"), content, "a text"))?;
            return Ok(Message::text("assistant", format!("<tool_call>\n{}\n</tool_call>", call.trim())));
        }
        let Some(role) = normalise(role) else {
            return Err(Problem::Role { message, role: shorten(role) });
        };
        let content = match content {
            // What an assistant says is taken as it is.
            Json::Text(text) if role == "assistant" => Message::text(role, text.as_str()).content,
            Json::Text(text) => {
                // qwen-vl-finetune trims what the user says, and that alone.
                let place = if role == "user" { place } else { Place::Verbatim };
                self.media.place(text, place)
            }
            other => self.media.read_parts(message, other)?,
        };
        Ok(Message::new(role, content))
    }
}

/// The name that templates know a role by.
fn normalise(role: &str) -> Option<&'static str> {
    Some(match role {
        "system" => "system",
        "user" | "human" => "user",
        "assistant" | "gpt" | "chatgpt" | "bing" | "bard" | "model" => "assistant",
        "tool" | "tool_response" | "observation" | "function_response" => "tool",
        _ => return None,
    })
}

/// ms-swift's `history`: pairs of a question and its answer.
fn read_history(history: Option<&Json>) -> Result<Vec<&[Json]>, Problem> {
    const EXPECTED: &str = "a list of pairs [question, answer]";
    let Some(history) = history else { return Ok(Vec::new()) };
    let Json::List(pairs) = history else { return Err(mistype("history", history, EXPECTED)) };
    let pair = |pair: &'_ Json| matches!(pair, Json::List(pair) if pair.len() == 2);
    match pairs.iter().position(|found| !pair(found)) {
        Some(wrong) => Err(mistype(format!("history[{wrong}]"), &pairs[wrong], EXPECTED)),
        None => {
            Ok(pairs.iter().filter_map(|p| if let Json::List(p) = p { Some(p.as_slice()) } else { None }).collect())
        }
    }
}

/// Descriptions of tools: a list, or a text that holds one.
fn read_tools(tools: &Json) -> Result<Vec<TemplateValue>, Problem> {
    const EXPECTED: &str = "a list of tools, or a text that holds one in JSON";
    match tools {
        Json::List(list) => Ok(list.iter().map(Json::to_template_value).collect()),
        Json::Text(text) if text.trim().is_empty() => Ok(Vec::new()),
        Json::Text(text) => match Json::read(text.as_bytes(), 1, 1) {
            Ok(Json::List(list)) => Ok(list.iter().map(Json::to_template_value).collect()),
            _ => Err(mistype("tools", tools, EXPECTED)),
        },
        other => Err(mistype("tools", other, EXPECTED)),
    }
}
