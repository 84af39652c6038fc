//! Stop strings in text that arrives in pieces.
//!
//! Text is shown as soon as no stop string can begin in it: what is held back is the longest end of the text that
//! begins one. The stop string that is complete first counts, and of several complete at the same character the
//! longest, so that how tokens cut the text makes no difference.

use std::ops::Range;

/// Looks for stop strings.
#[derive(Debug, Clone)]
pub(super) struct StopMatcher {
    /// None of them empty.
    stops: Vec<String>,
    /// Text that begins a stop string, not shown yet.
    held: String,
}

impl StopMatcher {
    /// For these stop strings, none of them empty.
    pub(super) fn new(stops: Vec<String>) -> Self {
        Self { stops, held: String::new() }
    }

    /// Takes more text; returns what may be shown, and the stop string that is complete. The text from there on is
    /// dropped.
    pub(super) fn push(&mut self, text: &str) -> (String, Option<usize>) {
        self.held.push_str(text);
        if let Some((index, place)) = self.find() {
            self.held.truncate(place.start);
            return (std::mem::take(&mut self.held), Some(index));
        }
        let begins = |&(at, _): &(usize, char)| self.stops.iter().any(|stop| stop.starts_with(&self.held[at..]));
        let end = self.held.char_indices().find(begins).map_or(self.held.len(), |(at, _)| at);
        let rest = self.held.split_off(end);
        (std::mem::replace(&mut self.held, rest), None)
    }

    /// Ends the text: what was held back is no stop string.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// The stop string that ends first, of those the one that begins first, of those the first.
    fn find(&self) -> Option<(usize, Range<usize>)> {
        let found = |(index, stop): (usize, &String)| {
            let start = self.held.find(stop.as_str())?;
            Some((index, start..start + stop.len()))
        };
        let places = self.stops.iter().enumerate().filter_map(found);
        places.min_by_key(|(index, place)| (place.end, place.start, *index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text shown and the stop string found when `text` comes in pieces of `size` characters.
    fn cut(stops: &[&str], text: &str, size: usize) -> (String, Option<usize>) {
        let mut matcher = StopMatcher::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let characters: Vec<char> = text.chars().collect();
        let mut shown = String::new();
        for piece in characters.chunks(size) {
            let (more, index) = matcher.push(&piece.iter().collect::<String>());
            shown += &more;
            if index.is_some() {
                return (shown, index);
            }
        }
        (shown + &matcher.finish(), None)
    }

    #[test]
    fn pieces_make_no_difference() {
        let cases: [(&[&str], &str, &str, Option<usize>); 9] = [
            (&["END"], "on and ENDless", "on and ", Some(0)),
            (&["END"], "EN EEND", "EN E", Some(0)),
            (&["END"], "the EN", "the EN", None),
            (&["aab"], "aaab", "a", Some(0)),
            // `bc` is complete before `abcd`.
            (&["abcd", "bc"], "xabcd", "xa", Some(1)),
            // Both are complete at once: the longer one.
            (&["c", "bc"], "abc", "a", Some(1)),
            (&["\n\n", "🙂é"], "ü🙂🙂é\n\n", "ü🙂", Some(1)),
            (&["é"], "e\u{301}é", "e\u{301}", Some(0)),
            (&[], "anything", "anything", None),
        ];
        for (stops, text, shown, index) in cases {
            for size in 1..=text.chars().count() {
                assert_eq!(cut(stops, text, size), (shown.to_owned(), index), "{stops:?} in {text:?} by {size}");
            }
        }
    }

    #[test]
    fn only_a_beginning_is_held() {
        let mut matcher = StopMatcher::new(vec!["###".to_owned(), "#a".to_owned()]);
        let shown: Vec<String> = ["x#", "#", "y#", "b", "##"].map(|piece| matcher.push(piece).0).to_vec();
        assert_eq!(shown, ["x", "", "##y", "#b", ""]);
        assert_eq!(matcher.finish(), "##");
    }
}
