//! Small pieces of English.

/// Numbers that are written as words.
pub const NUMBERS: [&str; 11] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

/// Beginnings of words that are spoken with a consonant though they are written with a vowel.
const CONSONANT_SOUNDS: [&str; 2] = ["unicorn", "ufo"];

/// A phrase with "a" or "an"; a word or a number that was written gets "the".
pub fn indefinite(phrase: &str) -> String {
    if is_written(phrase) {
        return format!("the {phrase}");
    }
    let vowel = phrase.starts_with(['a', 'e', 'i', 'o', 'u']) || phrase.starts_with("hour");
    let vowel = vowel && !CONSONANT_SOUNDS.iter().any(|begin| phrase.starts_with(begin));
    format!("{} {phrase}", if vowel { "an" } else { "a" })
}

/// Whether a phrase is that of written text: `word "sun"`, `number 7`.
pub fn is_written(phrase: &str) -> bool {
    phrase.starts_with("word \"")
        || phrase.strip_prefix("number ").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
}

/// `count` of a thing: "a cat", "two cats".
pub fn counted(count: usize, phrase: &str, plural: &str) -> String {
    if count == 1 { indefinite(phrase) } else { format!("{} {plural}", NUMBERS[count.min(10)]) }
}

/// "a, b and c".
pub fn join(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// A sentence: a capital at its beginning, a full stop at its end.
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn articles_follow_the_sound() {
        for (phrase, expected) in [
            ("cat", "a cat"),
            ("owl", "an owl"),
            ("unicorn", "a unicorn"),
            ("ufo", "a ufo"),
            ("umbrella", "an umbrella"),
            ("unknown thing", "an unknown thing"),
            ("hourglass", "an hourglass"),
            ("orange star", "an orange star"),
            ("word \"ox\"", "the word \"ox\""),
            ("number 18", "the number 18"),
        ] {
            assert_eq!(indefinite(phrase), expected);
        }
    }

    #[test]
    fn lists_and_sentences() {
        let items = ["a cat", "a dog", "an owl"].map(str::to_owned);
        assert_eq!(sentence(&join(&items)), "A cat, a dog and an owl.");
        assert_eq!(join(&items[..2]), "a cat and a dog");
        assert_eq!(counted(3, "cat", "cats"), "three cats");
    }
}
