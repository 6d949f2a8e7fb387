//! How problems are put into words.

use serde_json::Value;

/// Longest piece of a user's text that a message repeats, in characters.
const CLIP: usize = 60;

/// How a sentence about an unknown word ends: with the word that was meant, or, where none is near, with a full stop.
pub fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(|| ".".to_owned(), |near| format!("; did you mean `{near}`?"))
}

/// The known word that `word` was most likely meant to be.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let folded = word.to_lowercase();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&folded, &candidate.to_lowercase());
    let length = word.chars().count();
    let bound = (length / 3).clamp(1, 3);
    let near = |candidate: &&str| {
        let shortened = length >= 3 && candidate.to_lowercase().starts_with(&folded);
        shortened || distance(candidate) <= bound
    };
    known.filter(near).min_by_key(|candidate| distance(candidate))
}

/// `A, B or C`.
pub fn any_of(words: &[&str]) -> String {
    enumerate(words, "or")
}

/// `A, B and C`.
pub fn all_of(words: &[&str]) -> String {
    enumerate(words, "and")
}

fn enumerate(words: &[&str], last: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => "nothing".to_owned(),
        Some((only, [])) => only.clone(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
    }
}

/// The last name of a path, without its index: `spec.peers[0].address` is `address`, `spec.peers[0]` is `peers`.
pub fn last(path: &str) -> &str {
    let name = path.rsplit('.').next().unwrap_or(path);
    name.split('[').next().unwrap_or(name)
}

/// What a path names, as the beginning of a sentence.
pub fn subject(path: &str) -> String {
    match (path, path.ends_with(']')) {
        ("", _) => "The object".to_owned(),
        (_, true) => format!("An entry of `{}`", last(path)),
        (_, false) => format!("`{}`", last(path)),
    }
}

/// A rule's message as a sentence: its first word capitalised, or quoted where it names a field, and a full stop.
pub fn sentence(message: &str) -> String {
    let message = message.trim_end_matches('.');
    let (first, rest) = message.split_once(' ').unwrap_or((message, ""));
    let names_a_field = first.contains(|c: char| c.is_uppercase() || c == '.');
    let verb_follows = ["must ", "may "].iter().any(|verb| rest.starts_with(verb));
    let first = if first.starts_with('`') {
        first.to_owned()
    } else if names_a_field || verb_follows {
        format!("`{first}`")
    } else {
        let mut letters = first.chars();
        letters.next().map_or_else(String::new, |letter| letter.to_uppercase().chain(letters).collect())
    };
    if rest.is_empty() { format!("{first}.") } else { format!("{first} {rest}.") }
}

/// The first sentence of a description, without its full stop and with a small letter where it begins with a word.
pub fn first_sentence(description: &str) -> Option<String> {
    let sentence = description.split(['\n']).next()?.split(". ").next()?.trim_end_matches('.');
    let mut letters = sentence.chars();
    let first = letters.next()?;
    let rest = letters.as_str();
    let acronym = rest.starts_with(|c: char| c.is_uppercase());
    Some(if acronym { sentence.to_owned() } else { format!("{}{rest}", first.to_lowercase()) })
}

/// A user's text, shortened.
pub fn clip(text: &str) -> String {
    if text.chars().count() <= CLIP {
        return text.to_owned();
    }
    let head: String = text.chars().take(CLIP).collect();
    format!("{head}…")
}

/// A type of the schema.
pub fn type_name(name: &str) -> &'static str {
    match name {
        "object" => "a mapping",
        "array" => "a list",
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        _ => "something else",
    }
}

/// What a value is.
pub const fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_offered_only_when_it_is_near() {
        let known = ["clusterRef", "network", "codecs", "language"];
        for (word, wanted) in [
            ("clusterref", Some("clusterRef")),
            ("netwrok", Some("network")),
            ("codec", Some("codecs")),
            ("lang", Some("language")),
            ("flavour", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), wanted, "{word}");
        }
    }

    #[test]
    fn a_rule_becomes_a_sentence() {
        for (rule, wanted) in [
            ("last must be greater than first", "`last` must be greater than first."),
            ("a step must have exactly one verb", "A step must have exactly one verb."),
            ("bindAddress must be an IP address", "`bindAddress` must be an IP address."),
            ("metadata.name must be lower case", "`metadata.name` must be lower case."),
        ] {
            assert_eq!(sentence(rule), wanted);
        }
    }
}
