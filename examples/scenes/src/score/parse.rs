//! Reads captions and lists of the grammar.

use crate::caption::NOTHING;
use crate::expected::Claim;
use crate::grammar::NUMBERS;
use crate::place::Place;

/// What a caption says.
#[derive(Debug, Default, PartialEq)]
pub struct Said {
    /// Things, one entry for each of several, with their places.
    pub named: Vec<(String, Option<Place>)>,
    /// Parts that are not of the grammar.
    pub unreadable: usize,
    /// It says that there is nothing.
    pub says_nothing: bool,
}

/// An item is counted at most so often.
const MOST: usize = 10;

/// Reads a caption; `claims` tell which plural belongs to which name.
pub fn read_caption(answer: &str, claims: &[Claim]) -> Said {
    let mut said = Said::default();
    if super::normal(answer) == NOTHING {
        said.says_nothing = true;
        return said;
    }
    for item in split_list(answer) {
        let place = Place::ALL
            .into_iter()
            .find_map(|place| Some((item.strip_suffix(place.phrase())?.strip_suffix(' ')?, place)));
        let (thing, place) = place.map_or((item, None), |(thing, place)| (thing, Some(place)));
        match read_counted(thing) {
            Some((1, name)) => said.named.push((name.to_owned(), place)),
            Some((count, plural)) => {
                let name =
                    claims.iter().find(|claim| claim.plural == plural).map_or(plural, |claim| claim.phrase.as_str());
                said.named.extend(std::iter::repeat_n((name.to_owned(), place), count));
            }
            None => said.unreadable += 1,
        }
    }
    said
}

/// The items of "A, b and c.", without the capital. What is inside of quotes stays together.
pub fn split_list(answer: &str) -> Vec<&str> {
    let text = answer.trim();
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut items = Vec::new();
    let (mut begin, mut quoted) = (0, false);
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let separator = [", ", " and "].into_iter().find(|separator| !quoted && rest.starts_with(separator));
        match separator {
            Some(separator) => {
                items.push(&text[begin..at]);
                at += separator.len();
                begin = at;
            }
            None => {
                quoted ^= rest.starts_with('"');
                at += rest.chars().next().map_or(1, char::len_utf8);
            }
        }
    }
    items.push(&text[begin..]);
    items
}

/// The count and the name of "a cat", "two cats", "the word "sun"".
fn read_counted(item: &str) -> Option<(usize, &str)> {
    let (first, name) = item.split_once(' ').filter(|(_, name)| !name.is_empty())?;
    let written = crate::grammar::is_written(name);
    match first.to_lowercase().as_str() {
        "a" | "an" if !written => Some((1, name)),
        "the" if written => Some((1, name)),
        word => {
            let count = NUMBERS.iter().position(|number| *number == word)?;
            (2..=MOST).contains(&count).then_some((count, name))
        }
    }
}

/// Whether two items say the same: a capital at the beginning and "an" for "a" don't count.
pub fn same_item(said: &str, expected: &str) -> bool {
    read_counted(said).is_some_and(|said| Some(said) == read_counted(expected))
}
