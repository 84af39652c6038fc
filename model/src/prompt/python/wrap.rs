//! Lines of a text no wider than asked for, as Python's `textwrap` breaks them for Jinja's `wordwrap`: white space is
//! kept within a line and dropped where it is broken.
//!
//! ```text
//! a line is cut into chunks: white space, dashes (`--`) behind a word, words
//! a word ends behind a hyphen between letters
//! chunks are put on a line as long as they fit; a chunk wider than a line is broken behind a hyphen, or anywhere
//! ```

use std::ops::Range;

/// How lines are broken.
#[derive(Clone, Copy, Debug)]
pub(in crate::prompt) struct Wrapping {
    /// Characters of a line at most, at least 1.
    pub width: usize,
    /// Whether a word wider than a line is broken.
    pub long_words: bool,
    /// Whether a word may be broken behind a hyphen.
    pub hyphens: bool,
}

/// The lines of a text without line breaks.
pub(in crate::prompt) fn wrap_line(text: &str, wrapping: Wrapping) -> Vec<String> {
    let text: Vec<char> = text.chars().collect();
    let mut chunks = cut_chunks(&text, wrapping.hyphens);
    chunks.reverse();
    let blank = |chunk: &Range<usize>| text[chunk.clone()].iter().all(|c| c.is_whitespace());
    let mut lines = Vec::new();
    while let Some(last) = chunks.last() {
        if !lines.is_empty() && blank(last) {
            chunks.pop();
        }
        let (mut line, mut length) = (Vec::new(), 0);
        while let Some(chunk) = chunks.last().filter(|chunk| length + chunk.len() <= wrapping.width).cloned() {
            chunks.pop();
            length += chunk.len();
            line.push(chunk);
        }
        if let Some(chunk) = chunks.last_mut().filter(|chunk| chunk.len() > wrapping.width) {
            if wrapping.long_words {
                let room = wrapping.width - length;
                let cut = find_cut(&text[chunk.clone()], room, wrapping.hyphens);
                line.push(chunk.start..chunk.start + cut);
                chunk.start += cut;
            } else if line.is_empty() {
                line.push(chunk.clone());
                chunks.pop();
            }
        }
        if line.last().is_some_and(blank) {
            line.pop();
        }
        if !line.is_empty() {
            lines.push(line.into_iter().flat_map(|chunk| text[chunk].iter()).collect());
        }
    }
    lines
}

/// Where a long word is cut that has `room` on its line: behind its last hyphen there, if anything else comes before
/// it.
fn find_cut(word: &[char], room: usize, hyphens: bool) -> usize {
    let hyphen = word[..room].iter().rposition(|&c| c == '-').filter(|_| hyphens && word.len() > room);
    match hyphen {
        Some(at) if at > 0 && word[..at].iter().any(|&c| c != '-') => at + 1,
        _ => room,
    }
}

fn cut_chunks(text: &[char], hyphens: bool) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let end = if is_space(text[start]) {
            end_of(text, start, is_space)
        } else if hyphens {
            find_dashes(text, start).unwrap_or_else(|| find_word_end(text, start))
        } else {
            end_of(text, start, |c| !is_space(c))
        };
        chunks.push(start..end);
        start = end;
    }
    chunks
}

fn end_of(text: &[char], start: usize, is: impl Fn(char) -> bool) -> usize {
    text[start..].iter().position(|&c| !is(c)).map_or(text.len(), |length| start + length)
}

/// What may be broken at: of Unicode's white space, that of ASCII.
fn is_space(c: char) -> bool {
    matches!(c, '\t'..='\r' | ' ')
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_letter(c: char) -> bool {
    is_word(c) && !c.is_numeric()
}

/// The end of two dashes or more with a word before them, or its punctuation, and one behind them.
fn find_dashes(text: &[char], start: usize) -> Option<usize> {
    let before = *text.get(start.checked_sub(1)?)?;
    let end = end_of(text, start, |c| c == '-');
    let framed = is_word(before) || "!\"'&.,?".contains(before);
    (framed && end - start >= 2 && text.get(end).is_some_and(|&c| is_word(c))).then_some(end)
}

/// The end of a word: behind a hyphen between letters, at white space, or before dashes.
fn find_word_end(text: &[char], start: usize) -> usize {
    let letter = |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(|&c| is_letter(c));
    let dash = |at: usize| text.get(at) == Some(&'-');
    for at in start + 1..text.len() {
        if text[at] == '-' {
            let two = letter(at.checked_sub(1)) && letter(at.checked_sub(2));
            let one = letter(at.checked_sub(1)) && at >= 2 && dash(at - 2) && letter(at.checked_sub(3));
            let goes_on = letter(Some(at + 1)) && (letter(Some(at + 2)) || dash(at + 2) && letter(Some(at + 3)));
            if (two || one) && goes_on {
                return at + 1;
            }
        }
        if is_space(text[at]) || find_dashes(text, at).is_some() {
            return at;
        }
    }
    text.len()
}
