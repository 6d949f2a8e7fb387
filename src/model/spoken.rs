//! Numbers, dates, times and places in a queue as words, for a voice to speak: English, Spanish, French and German, and English
//! where a language is none of them.
//!
//! A voice reads digits by itself, so cardinal numbers stay digits; what depends on the language is put into words here.

use std::time::Duration;

use jiff::civil;

use crate::program::{Pronunciation, Value};

/// Languages that words are known for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Language {
    English,
    AmericanEnglish,
    Spanish,
    French,
    German,
}

const MONTHS: [[&str; 12]; 4] = [
    [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    [
        "enero",
        "febrero",
        "marzo",
        "abril",
        "mayo",
        "junio",
        "julio",
        "agosto",
        "septiembre",
        "octubre",
        "noviembre",
        "diciembre",
    ],
    [
        "janvier",
        "février",
        "mars",
        "avril",
        "mai",
        "juin",
        "juillet",
        "août",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
    ],
    [
        "Januar",
        "Februar",
        "März",
        "April",
        "Mai",
        "Juni",
        "Juli",
        "August",
        "September",
        "Oktober",
        "November",
        "Dezember",
    ],
];

const WEEKDAYS: [[&str; 7]; 4] = [
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"],
    ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"],
    ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"],
];

impl Language {
    fn of(tag: &str) -> Self {
        let mut parts = tag.split(['-', '_']);
        let (language, region) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match language.to_ascii_lowercase().as_str() {
            "es" => Self::Spanish,
            "fr" => Self::French,
            "de" => Self::German,
            "en" if region.eq_ignore_ascii_case("us") || region.is_empty() => Self::AmericanEnglish,
            _ => Self::English,
        }
    }

    const fn row(self) -> usize {
        match self {
            Self::English | Self::AmericanEnglish => 0,
            Self::Spanish => 1,
            Self::French => 2,
            Self::German => 3,
        }
    }
}

/// A value of a flow as a voice is to read it.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub fn pronounced(value: &Value, how: Pronunciation, language: &str) -> Result<String, String> {
    let wrong = |wanted: &str| format!("`{value}` cannot be read as {wanted}");
    match (how, value) {
        (Pronunciation::Text, Value::String(text)) => Ok(text.clone()),
        (Pronunciation::Number, Value::Integer(figure)) => Ok(number(*figure, language)),
        (Pronunciation::Digits, Value::String(text)) => match digits(text) {
            read if read.is_empty() => Err(wrong("digits: it has none")),
            read => Ok(read),
        },
        (Pronunciation::Date, Value::String(text)) => {
            let day = text.parse::<civil::Date>();
            let day = day.map_err(|_| wrong("a date such as 2026-12-24 or 2026-12-24T14:05:00Z"))?;
            Ok(date(day, language))
        }
        (Pronunciation::Time, Value::String(text)) => {
            let at = text.parse::<civil::Time>();
            let at = at.map_err(|_| wrong("a time such as 14:05 or 2026-12-24T14:05:00Z"))?;
            Ok(time(at, language))
        }
        (Pronunciation::Number, _) => Err(wrong("a whole number")),
        (
            Pronunciation::Text | Pronunciation::Digits | Pronunciation::Date | Pronunciation::Time,
            Value::Boolean(_) | Value::Integer(_),
        ) => Err(wrong("text")),
    }
}

/// A number, with the language's sign before its fraction.
#[must_use]
pub fn number(value: i64, language: &str) -> String {
    match (Language::of(language), value) {
        (Language::Spanish, ..0) => format!("menos {}", value.unsigned_abs()),
        (Language::French, ..0) => format!("moins {}", value.unsigned_abs()),
        (Language::English | Language::AmericanEnglish | Language::German, ..0) => {
            format!("minus {}", value.unsigned_abs())
        }
        _ => value.to_string(),
    }
}

/// Digits one by one, as a telephone number or a code is read: in groups of three or four, with a pause between them.
#[must_use]
pub fn digits(text: &str) -> String {
    let digits: Vec<char> = text.chars().filter(char::is_ascii_digit).collect();
    let mut groups = Vec::new();
    let mut rest = &digits[..];
    while !rest.is_empty() {
        // Nobody likes a single digit left over.
        let length = if rest.len() > 4 { 3 } else { rest.len() };
        let (group, more) = rest.split_at(length);
        groups.push(group.iter().map(char::to_string).collect::<Vec<_>>().join(" "));
        rest = more;
    }
    groups.join(", ")
}

/// A place in a queue, from 1 on, as a sentence.
#[must_use]
pub fn position(place: u32, language: &str) -> String {
    match (Language::of(language), place) {
        (Language::English | Language::AmericanEnglish, 0 | 1) => "You are next in line.".to_owned(),
        (Language::English | Language::AmericanEnglish, _) => format!("You are number {place} in line."),
        (Language::Spanish, 0 | 1) => "Usted es el siguiente.".to_owned(),
        (Language::Spanish, _) => format!("Usted es el número {place} en la cola."),
        (Language::French, 0 | 1) => "Vous êtes le prochain.".to_owned(),
        (Language::French, _) => format!("Vous êtes en position {place} dans la file d'attente."),
        (Language::German, 0 | 1) => "Sie sind als Nächster an der Reihe.".to_owned(),
        (Language::German, _) => format!("Sie sind an Position {place} in der Warteschlange."),
    }
}

/// How long somebody will still wait, in whole minutes, as a sentence.
#[must_use]
pub fn wait(time: Duration, language: &str) -> String {
    let minutes = time.as_secs().div_ceil(60);
    match (Language::of(language), minutes) {
        (Language::English | Language::AmericanEnglish, 0 | 1) => {
            "Your wait will be about a minute.".to_owned()
        }
        (Language::English | Language::AmericanEnglish, _) => {
            format!("Your wait will be about {minutes} minutes.")
        }
        (Language::Spanish, 0 | 1) => "Su espera será de un minuto aproximadamente.".to_owned(),
        (Language::Spanish, _) => format!("Su espera será de unos {minutes} minutos."),
        (Language::French, 0 | 1) => "Votre attente sera d'environ une minute.".to_owned(),
        (Language::French, _) => format!("Votre attente sera d'environ {minutes} minutes."),
        (Language::German, 0 | 1) => "Sie warten noch etwa eine Minute.".to_owned(),
        (Language::German, _) => format!("Sie warten noch etwa {minutes} Minuten."),
    }
}

/// What an agent is told whose telephone has answered: that there is a contact, perhaps of which queue, and which key takes it.
#[must_use]
pub fn offer(queue: Option<&str>, key: char, language: &str) -> String {
    let name = queue.map(|queue| queue.replace(['-', '.'], " ")).unwrap_or_default();
    let of =
        |preposition: &str| if name.is_empty() { String::new() } else { format!(" {preposition} {name}") };
    match Language::of(language) {
        Language::English | Language::AmericanEnglish => {
            format!("You have a call{}. To take it, press {key}.", of("for"))
        }
        Language::Spanish => format!("Tiene una llamada{}. Para atenderla, pulse {key}.", of("para")),
        Language::French => format!("Vous avez un appel{}. Pour le prendre, tapez {key}.", of("pour")),
        Language::German => {
            format!("Sie haben einen Anruf{}. Um ihn anzunehmen, drücken Sie {key}.", of("für"))
        }
    }
}

/// A day with its weekday and without its year.
#[must_use]
pub fn date(date: civil::Date, language: &str) -> String {
    let language = Language::of(language);
    let month = MONTHS[language.row()][usize::from(date.month().unsigned_abs() - 1)];
    let weekday =
        WEEKDAYS[language.row()][usize::from(date.weekday().to_monday_zero_offset().unsigned_abs())];
    let day = date.day();
    match language {
        Language::AmericanEnglish => format!("{weekday}, {month} {}", ordinal(day)),
        Language::English => format!("{weekday} the {} of {month}", ordinal(day)),
        Language::Spanish if day == 1 => format!("{weekday}, primero de {month}"),
        Language::Spanish => format!("{weekday}, {day} de {month}"),
        Language::French if day == 1 => format!("{weekday} premier {month}"),
        Language::French => format!("{weekday} {day} {month}"),
        // A full stop after it makes a number an ordinal one.
        Language::German => format!("{weekday}, der {day}. {month}"),
    }
}

/// A time of day: by twelve hours in American English, by 24 elsewhere.
#[must_use]
pub fn time(time: civil::Time, language: &str) -> String {
    let (hour, minute) = (time.hour(), time.minute());
    match (Language::of(language), minute) {
        (Language::AmericanEnglish, _) => {
            let half = if hour < 12 { "a.m." } else { "p.m." };
            let twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
            match minute {
                0 => format!("{twelve} {half}"),
                1..10 => format!("{twelve} oh {minute} {half}"),
                _ => format!("{twelve} {minute} {half}"),
            }
        }
        (Language::English, 0) => format!("{hour} hundred hours"),
        (Language::English, 1..10) => format!("{hour} oh {minute}"),
        (Language::English, _) => format!("{hour} {minute}"),
        (Language::Spanish, 0) => format!("{} en punto", spanish_hour(hour)),
        (Language::Spanish, _) => format!("{} y {minute}", spanish_hour(hour)),
        (Language::French, 0) => format!("{hour} {}", french_hours(hour)),
        (Language::French, _) => format!("{hour} {} {minute}", french_hours(hour)),
        (Language::German, 0) => format!("{} Uhr", german_hour(hour)),
        (Language::German, _) => format!("{} Uhr {minute}", german_hour(hour)),
    }
}

fn ordinal(day: i8) -> String {
    let ending = match (day % 10, day) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{day}{ending}")
}

fn spanish_hour(hour: i8) -> String {
    if hour == 1 { "la una".to_owned() } else { format!("las {hour}") }
}

const fn french_hours(hour: i8) -> &'static str {
    if hour == 1 { "heure" } else { "heures" }
}

fn german_hour(hour: i8) -> String {
    if hour == 1 { "ein".to_owned() } else { hour.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flows_value_is_read_as_it_says_or_told_to_be_wrong() {
        use Pronunciation::{Date, Digits, Number, Text, Time};
        let text = |text: &str| Value::String(text.into());
        for (value, how, language, wanted) in [
            (text("Your ticket is A-1"), Text, "en", Ok("Your ticket is A-1")),
            (Value::Integer(-42), Number, "es", Ok("menos 42")),
            (text("+1 (212) 555-0199"), Digits, "en", Ok("1 2 1, 2 5 5, 5 0 1, 9 9")),
            (text("2026-11-26"), Date, "en-US", Ok("Thursday, November 26th")),
            (text("2026-11-26T14:05:00-05:00"), Date, "de", Ok("Donnerstag, der 26. November")),
            (text("2026-11-26T14:05:00-05:00"), Time, "en-US", Ok("2 oh 5 p.m.")),
            (text("14:05"), Time, "de", Ok("14 Uhr 5")),
            (text("14:05"), Number, "en", Err("`14:05` cannot be read as a whole number")),
            (text("none"), Digits, "en", Err("`none` cannot be read as digits: it has none")),
            (
                text("2026-02-30"),
                Date,
                "en",
                Err("`2026-02-30` cannot be read as a date such as 2026-12-24 or 2026-12-24T14:05:00Z"),
            ),
            (
                text("25:00"),
                Time,
                "en",
                Err("`25:00` cannot be read as a time such as 14:05 or 2026-12-24T14:05:00Z"),
            ),
            (Value::Boolean(true), Text, "en", Err("`true` cannot be read as text")),
        ] {
            let read = pronounced(&value, how, language);
            assert_eq!(read, wanted.map(str::to_owned).map_err(str::to_owned), "{value} as {how:?}");
        }
    }

    #[test]
    fn a_wait_is_said_in_whole_minutes() {
        for (seconds, language, wanted) in [
            (0, "en", "Your wait will be about a minute."),
            (61, "en-GB", "Your wait will be about 2 minutes."),
            (600, "es", "Su espera será de unos 10 minutos."),
            (30, "fr", "Votre attente sera d'environ une minute."),
            (181, "de", "Sie warten noch etwa 4 Minuten."),
        ] {
            assert_eq!(wait(Duration::from_secs(seconds), language), wanted);
        }
    }

    #[test]
    fn days_are_said_as_the_language_says_them() {
        let table = [
            ("en-US", "Thursday, November 26th", "Sunday, March 1st"),
            ("en-GB", "Thursday the 26th of November", "Sunday the 1st of March"),
            ("es-MX", "jueves, 26 de noviembre", "domingo, primero de marzo"),
            ("fr", "jeudi 26 novembre", "dimanche premier mars"),
            ("de-AT", "Donnerstag, der 26. November", "Sonntag, der 1. März"),
            ("pt-BR", "Thursday the 26th of November", "Sunday the 1st of March"),
        ];
        for (language, one, other) in table {
            assert_eq!(date(civil::date(2026, 11, 26), language), one);
            assert_eq!(date(civil::date(2026, 3, 1), language), other);
        }
        let ordinals = [1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 30, 31].map(ordinal);
        assert_eq!(ordinals.join(" "), "1st 2nd 3rd 4th 11th 12th 13th 21st 22nd 23rd 30th 31st");
    }

    #[test]
    fn times_are_said_as_the_language_says_them() {
        let table = [
            ("en", ["12 a.m.", "1 oh 5 a.m.", "12 30 p.m.", "5 p.m."]),
            ("en-GB", ["0 hundred hours", "1 oh 5", "12 30", "17 hundred hours"]),
            ("es", ["las 0 en punto", "la una y 5", "las 12 y 30", "las 17 en punto"]),
            ("fr-FR", ["0 heures", "1 heure 5", "12 heures 30", "17 heures"]),
            ("de", ["0 Uhr", "ein Uhr 5", "12 Uhr 30", "17 Uhr"]),
        ];
        for (language, wanted) in table {
            let said = [(0, 0), (1, 5), (12, 30), (17, 0)]
                .map(|(hour, minute)| time(civil::time(hour, minute, 0, 0), language));
            assert_eq!(said, wanted, "{language}");
        }
    }

    #[test]
    fn numbers_digits_and_places_are_said() {
        assert_eq!(
            [number(-3, "es"), number(-3, "fr"), number(-3, "de"), number(1_200, "en")].join("|"),
            "menos 3|moins 3|minus 3|1200"
        );
        assert_eq!(digits("+1 (212) 555-0100"), "1 2 1, 2 5 5, 5 0 1, 0 0");
        assert_eq!(digits("4711"), "4 7 1 1");
        assert_eq!(position(1, "de-DE"), "Sie sind als Nächster an der Reihe.");
        assert_eq!(offer(None, '1', "en-GB"), "You have a call. To take it, press 1.");
        assert_eq!(
            offer(Some("new-sales"), '1', "en-US"),
            "You have a call for new sales. To take it, press 1."
        );
        assert_eq!(
            offer(Some("ventas"), '1', "es-US"),
            "Tiene una llamada para ventas. Para atenderla, pulse 1."
        );
        assert_eq!(offer(None, '1', "fr-CA"), "Vous avez un appel. Pour le prendre, tapez 1.");
        assert_eq!(
            offer(Some("technik"), '1', "de-DE"),
            "Sie haben einen Anruf für technik. Um ihn anzunehmen, drücken Sie 1."
        );
        assert_eq!(position(4, "en-US"), "You are number 4 in line.");
        assert_eq!(position(4, "es-US"), "Usted es el número 4 en la cola.");
        assert_eq!(position(4, "fr-CA"), "Vous êtes en position 4 dans la file d'attente.");
    }
}
