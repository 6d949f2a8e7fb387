//! Which of a few phrases a transcript is.

/// Least likeness, in percent, of what is not said word for word.
const LIKE_MIN: u32 = 75;
/// A phrase within other words, in percent: “the billing department, please”.
const WITHIN: u32 = 90;
/// Letters of a transcript that are looked at.
const LETTERS_MAX: usize = 400;

/// The phrase, by its place, and how sure that is in percent, given how sure the transcript is. None: it is none of them, or
/// two are equally like it.
#[must_use]
pub fn which(transcript: &str, sure: u8, phrases: &[String]) -> Option<(u16, u8)> {
    let said = normal(transcript);
    if said.is_empty() {
        return None;
    }
    let (mut best, mut twice) = (None::<(u32, usize, usize)>, false);
    for (place, phrase) in phrases.iter().enumerate() {
        let phrase = normal(phrase);
        let like = likeness(&said, &phrase);
        if phrase.is_empty() || like < LIKE_MIN {
            continue;
        }
        // Of two that are within it the longer one is meant: “sales”, “sales support”.
        let rank = (like, phrase.len());
        match best.map(|(like, length, _)| (like, length)) {
            Some(known) if known > rank => {}
            Some(known) if known == rank => twice = true,
            _ => (best, twice) = (Some((like, phrase.len(), place)), false),
        }
    }
    let (like, _, place) = best.filter(|_| !twice)?;
    let sure = (u32::from(sure.min(100)) * like / 100).clamp(1, 100);
    Some((u16::try_from(place).ok()?, u8::try_from(sure).ok()?))
}

/// Small letters and figures, words apart by one space.
#[must_use]
pub fn normal(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars().take(LETTERS_MAX) {
        if letter.is_alphanumeric() {
            out.extend(letter.to_lowercase());
        // An apostrophe parts nothing: “don't” is “dont”.
        } else if !matches!(letter, '\'' | '’') && !out.is_empty() && !out.ends_with(' ') {
            out.push(' ');
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// In percent.
fn likeness(said: &str, phrase: &str) -> u32 {
    if said == phrase {
        return 100;
    }
    if !phrase.is_empty() && format!(" {said} ").contains(&format!(" {phrase} ")) {
        return WITHIN;
    }
    let (said, phrase): (Vec<char>, Vec<char>) = (said.chars().collect(), phrase.chars().collect());
    let longest = said.len().max(phrase.len()).max(1);
    // What is not word for word is surely no better than what is.
    let like = 100 - 100 * distance(&said, &phrase) / longest;
    u32::try_from(like).unwrap_or(0).min(WITHIN - 1)
}

/// Levenshtein's.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let change = corner + usize::from(from != to);
            corner = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_transcript_is_the_phrase_that_it_is_most_like() {
        let phrases = ["sales", "Buy something", "sales support", "I don't know", "yes", "Überweisung"];
        let phrases = phrases.map(str::to_owned);
        for (said, wanted) in [
            ("Sales.", Some((0, 80))),
            (" buy SOMETHING!", Some((1, 80))),
            ("I'd like sales, please", Some((0, 72))),
            ("the sales support department", Some((2, 72))),
            ("I dont know", Some((3, 80))),
            ("buy somethin", Some((1, 71))),
            ("überweisung", Some((5, 80))),
            ("Yes, yes.", Some((4, 72))),
            ("yesterday", None),
            ("something else", None),
            ("", None),
            ("...", None),
        ] {
            assert_eq!(which(said, 80, &phrases), wanted, "{said}");
        }
    }

    #[test]
    fn what_is_two_phrases_at_once_is_neither() {
        let phrases = ["north".to_owned(), "south".to_owned()];
        assert_eq!(which("north or south", 90, &phrases), None);
    }

    proptest! {
        #[test]
        fn no_transcript_panics(said in ".{0,500}", phrase in ".{0,64}", sure: u8) {
            let found = which(&said, sure, &[phrase]);
            prop_assert!(found.is_none_or(|(place, sure)| place == 0 && (1..=100).contains(&sure)));
        }
    }
}
