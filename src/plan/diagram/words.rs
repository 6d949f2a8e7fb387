//! Texts in pictures: how wide they are, how they are cut, and how XML wants them.

/// Characters of a line in a box.
pub(super) const LINE_MAX: usize = 36;

/// Lines of a box below its title.
pub(super) const LINES_MAX: usize = 5;

/// Cuts a line to [`LINE_MAX`] characters.
pub(super) fn cut(text: &str) -> String {
    cut_to(text, LINE_MAX)
}

/// Cuts a text to so many characters, an ellipsis included.
pub(super) fn cut_to(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// The first lines, and how many more there are.
pub(super) fn first_lines(all: Vec<String>) -> Vec<String> {
    if all.len() <= LINES_MAX {
        return all;
    }
    let more = all.len() - (LINES_MAX - 1);
    let kept = all.into_iter().take(LINES_MAX - 1);
    kept.chain([format!("and {more} more")]).collect()
}

/// Width in pixels at a font size, in a sans-serif font, on the wide side: which font there is, the reader's machine
/// decides.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let per_mille: u32 = text.chars().map(advance).sum();
    f64::from(per_mille) * size / 1_000.0
}

/// Thousandths of the font size; those of DejaVu Sans, the widest font in common use.
const fn advance(character: char) -> u32 {
    match character {
        'i' | 'j' | 'l' | 'I' | '\'' => 300,
        ' ' | '.' | ',' | ':' | ';' | '|' => 330,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '-' | '/' | '"' | '“' | '”' => 410,
        's' | 'c' | 'z' | 'k' | 'v' | 'x' | 'y' | 'J' => 575,
        'm' | 'M' | '…' | 'w' | 'W' | '@' | '%' => 975,
        'A'..='Z' | '+' | '=' | '<' | '>' | '&' => 740,
        '\u{1100}'.. => 1_000,
        _ => 635,
    }
}

/// As XML wants text and attributes (XML 1.0 §2.4); what XML cannot hold at all (§2.2) is a question mark.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('?'),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_characters_not_bytes() {
        assert_eq!(cut_to("Öffnungszeiten", 14), "Öffnungszeiten");
        assert_eq!(cut_to("Öffnungszeiten", 5), "Öffn…");
    }

    #[test]
    fn nothing_that_xml_forbids_gets_through() {
        assert_eq!(escape("a<b> & \"c\"\n\u{1}"), "a&lt;b&gt; &amp; &quot;c&quot; ?");
    }
}
