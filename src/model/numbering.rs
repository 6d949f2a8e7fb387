//! How numbers are written where they are not in E.164: prefixes of countries (ITU-T E.123, E.129); where they are, and what
//! calls to them cost.

mod costs;
mod places;

pub use costs::{CostClass, cost};
pub use places::{Place, is_country, place};

use crate::{
    E164,
    trunk::{NumberFormat, NumberFormats},
};

/// How a country dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Country {
    /// ISO 3166-1 code.
    pub iso: &'static str,
    /// Country code.
    pub code: &'static str,
    /// Before numbers of other countries.
    pub international: &'static str,
    /// Before numbers of the country, where such are written with it.
    pub trunk: &'static str,
    /// Whether the trunk prefix is only heard: numbers are written without it.
    pub bare: bool,
}

const fn country(
    iso: &'static str,
    code: &'static str,
    international: &'static str,
    trunk: &'static str,
) -> Country {
    Country { iso, code, international, trunk, bare: false }
}

/// All that are known, by their codes.
pub const COUNTRIES: &[Country] = &[
    country("AT", "43", "00", "0"),
    country("AU", "61", "0011", "0"),
    country("BE", "32", "00", "0"),
    country("BR", "55", "00", "0"),
    Country { iso: "CA", code: "1", international: "011", trunk: "1", bare: true },
    country("CH", "41", "00", "0"),
    country("DE", "49", "00", "0"),
    country("DK", "45", "00", ""),
    country("ES", "34", "00", ""),
    country("FR", "33", "00", "0"),
    country("GB", "44", "00", "0"),
    country("IE", "353", "00", "0"),
    country("IN", "91", "00", "0"),
    // The zero of Italian numbers is theirs, and stays abroad too.
    country("IT", "39", "00", ""),
    country("JP", "81", "010", "0"),
    country("MX", "52", "00", ""),
    country("NL", "31", "00", "0"),
    country("NO", "47", "00", ""),
    country("NZ", "64", "00", "0"),
    country("PL", "48", "00", ""),
    country("PT", "351", "00", ""),
    country("SE", "46", "00", "0"),
    Country { iso: "US", code: "1", international: "011", trunk: "1", bare: true },
];

/// Digits of a national number of the North American plan.
const NANP: usize = 10;

impl Country {
    /// By its ISO 3166-1 code.
    #[must_use]
    pub fn of(iso: &str) -> Option<&'static Self> {
        COUNTRIES.iter().find(|country| country.iso == iso)
    }
}

impl NumberFormat {
    /// Whether it cannot be read or written without a country.
    #[must_use]
    pub const fn needs_country(self) -> bool {
        matches!(self, Self::National | Self::International)
    }
}

impl NumberFormats {
    /// A number of a call that comes in. `None`: it is none in this form.
    ///
    /// Visual separators (RFC 3966 §5.1.1) and parameters are nobody's digits; a number with a plus is in E.164 whatever
    /// the format.
    #[must_use]
    pub fn read(&self, written: &str) -> Option<E164> {
        let digits = digits(written)?;
        let country = self.country.as_deref().and_then(Country::of);
        let whole = match (self.inbound, country) {
            (NumberFormat::E164 | NumberFormat::E164WithoutPlus, _) | (_, None) => digits,
            _ if written.starts_with('+') => digits,
            (NumberFormat::International, Some(country)) => {
                digits.strip_prefix(country.international).map(str::to_owned).unwrap_or(digits)
            }
            (NumberFormat::National, Some(country)) => country.whole(&digits),
        };
        format!("+{whole}").parse().ok()
    }

    /// A number of a call that leaves.
    #[must_use]
    pub fn write(&self, number: E164) -> String {
        let text = number.to_string();
        let digits = text.trim_start_matches('+');
        let country = self.country.as_deref().and_then(Country::of);
        match (self.outbound, country) {
            (NumberFormat::E164, _) | (NumberFormat::National | NumberFormat::International, None) => text,
            (NumberFormat::E164WithoutPlus, _) => digits.to_owned(),
            (NumberFormat::International, Some(country)) => format!("{}{digits}", country.international),
            (NumberFormat::National, Some(country)) => match digits.strip_prefix(country.code) {
                Some(national) if country.bare => national.to_owned(),
                Some(national) => format!("{}{national}", country.trunk),
                None => format!("{}{digits}", country.international),
            },
        }
    }
}

impl Country {
    /// The digits of E.164 for what is dialled within the country.
    fn whole(&self, dialled: &str) -> String {
        if let Some(abroad) = dialled.strip_prefix(self.international) {
            return abroad.to_owned();
        }
        // A number of ten digits has no prefix before it, even if it begins like one.
        let prefixed = !self.bare || dialled.len() > NANP;
        let national = dialled.strip_prefix(self.trunk).filter(|_| prefixed).unwrap_or(dialled);
        format!("{}{national}", self.code)
    }
}

/// Fewest digits of a number in E.164 that can be whole.
const WHOLE: usize = 7;

/// Why what was dialled is no number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDialled {
    /// There are other characters than digits.
    #[error("`{0}` is no telephone number")]
    NotANumber(String),
    /// There are too few digits, or too many.
    #[error("`{0}` has not as many digits as a number has that is dialled in {1}")]
    Incomplete(String, String),
    /// Only E.164 can be understood there.
    #[error("`{0}` must begin with a plus: how numbers are dialled in {1} is not known")]
    NoPlan(String, String),
}

/// The number that somebody in a country dials: in E.164 with a plus, as within the country, or with its international
/// prefix.
///
/// # Errors
/// When it is none, or not whole.
pub fn dialled(country: &str, written: &str) -> Result<E164, NotDialled> {
    let none = || NotDialled::NotANumber(written.to_owned());
    let plain = digits(written).filter(|digits| !digits.is_empty()).ok_or_else(none)?;
    let is_whole = written.starts_with('+');
    if !is_whole && Country::of(country).is_none() {
        return Err(NotDialled::NoPlan(written.to_owned(), country.to_owned()));
    }
    let incomplete = || NotDialled::Incomplete(written.to_owned(), country.to_owned());
    let whole = match Country::of(country).filter(|_| !is_whole) {
        Some(country) => country.whole(&plain),
        None => plain,
    };
    let length = whole.len();
    let fits = if whole.starts_with('1') { length == 1 + NANP } else { length >= WHOLE };
    format!("+{whole}").parse().ok().filter(|_| fits).ok_or_else(incomplete)
}

fn digits(written: &str) -> Option<String> {
    let user = written.split(';').next().unwrap_or_default();
    let mut digits = String::with_capacity(16);
    for character in user.strip_prefix('+').unwrap_or(user).chars() {
        match character {
            '0'..='9' => digits.push(character),
            '-' | '.' | '(' | ')' => {}
            _ => return None,
        }
        if digits.len() > 20 {
            return None;
        }
    }
    Some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formats(inbound: NumberFormat, outbound: NumberFormat, country: &str) -> NumberFormats {
        NumberFormats { inbound, outbound, country: Some(country.to_owned()).filter(|iso| !iso.is_empty()) }
    }

    #[test]
    fn numbers_are_read_in_the_form_of_their_trunk() {
        use NumberFormat::{E164 as Plus, E164WithoutPlus, International, National};
        for (format, country, written, wanted) in [
            (Plus, "", "+18005550100", "+18005550100"),
            (Plus, "", "18005550100", "+18005550100"),
            (Plus, "", "+1-800-555.0100;npdi", "+18005550100"),
            (E164WithoutPlus, "", "18005550100", "+18005550100"),
            (National, "US", "2125550100", "+12125550100"),
            (National, "US", "12125550100", "+12125550100"),
            (National, "US", "+442079460000", "+442079460000"),
            (National, "US", "011442079460000", "+442079460000"),
            (National, "CA", "4165550100", "+14165550100"),
            (National, "GB", "02079460000", "+442079460000"),
            (National, "GB", "0012125550100", "+12125550100"),
            (National, "DE", "0301234567", "+49301234567"),
            (National, "DE", "00442079460000", "+442079460000"),
            (National, "FR", "0145678900", "+33145678900"),
            (National, "NL", "0201234567", "+31201234567"),
            (National, "ES", "912345678", "+34912345678"),
            (National, "IT", "0612345678", "+390612345678"),
            (National, "AU", "0298765432", "+61298765432"),
            (National, "AU", "001112125550100", "+12125550100"),
            (National, "JP", "0312345678", "+81312345678"),
            (National, "JP", "01012125550100", "+12125550100"),
            (National, "IN", "01123456789", "+911123456789"),
            (National, "BR", "01123456789", "+551123456789"),
            (National, "MX", "5512345678", "+525512345678"),
            (International, "US", "01112125550100", "+12125550100"),
            (International, "DE", "0049301234567", "+49301234567"),
            (International, "DE", "+49301234567", "+49301234567"),
        ] {
            let read = formats(format, Plus, country).read(written).map(|number| number.to_string());
            assert_eq!(read.as_deref(), Some(wanted), "{format:?} {country} {written}");
        }
        for none in ["", "sales", "+", "0800555", "123456789012345678901"] {
            assert_eq!(formats(Plus, Plus, "").read(none), None, "{none}");
        }
    }

    #[test]
    fn numbers_are_written_in_the_form_of_their_trunk() {
        use NumberFormat::{E164 as Plus, E164WithoutPlus, International, National};
        for (format, country, number, wanted) in [
            (Plus, "", "+12125550100", "+12125550100"),
            (E164WithoutPlus, "", "+12125550100", "12125550100"),
            (National, "US", "+12125550100", "2125550100"),
            (National, "US", "+442079460000", "011442079460000"),
            (National, "GB", "+442079460000", "02079460000"),
            (National, "GB", "+12125550100", "0012125550100"),
            (National, "IT", "+390612345678", "0612345678"),
            (National, "ES", "+34912345678", "912345678"),
            (National, "JP", "+81312345678", "0312345678"),
            (International, "US", "+12125550100", "01112125550100"),
            (International, "AU", "+12125550100", "001112125550100"),
        ] {
            let written = formats(Plus, format, country).write(number.parse().unwrap());
            assert_eq!(written, wanted, "{format:?} {country} {number}");
        }
    }

    #[test]
    fn people_dial_as_their_country_does() {
        for (country, written, wanted) in [
            ("US", "+12125550100", Ok("+12125550100")),
            ("US", "12125550100", Ok("+12125550100")),
            ("US", "212-555-0100", Ok("+12125550100")),
            ("US", "011442079460000", Ok("+442079460000")),
            ("GB", "02079460000", Ok("+442079460000")),
            ("GB", "0012125550100", Ok("+12125550100")),
            ("DE", "+442079460000", Ok("+442079460000")),
            ("KE", "+442079460000", Ok("+442079460000")),
            ("US", "5550100", Err("`5550100` has not as many digits as a number has that is dialled in US")),
            (
                "US",
                "+1212555",
                Err("`+1212555` has not as many digits as a number has that is dialled in US"),
            ),
            (
                "KE",
                "0201234567",
                Err("`0201234567` must begin with a plus: how numbers are dialled in KE is not known"),
            ),
            ("US", "sales", Err("`sales` is no telephone number")),
            ("US", "+", Err("`+` is no telephone number")),
        ] {
            let read = dialled(country, written);
            let read = read.map(|number| number.to_string()).map_err(|error| error.to_string());
            assert_eq!(read, wanted.map(str::to_owned).map_err(str::to_owned), "{country} {written}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same_number() {
        use NumberFormat::{E164 as Plus, E164WithoutPlus, International, National};
        for country in COUNTRIES {
            let own = format!("+{}2079460000", country.code);
            for number in [own.as_str(), "+4930123456", "+12125550100", "+8613812345678"] {
                for format in [Plus, E164WithoutPlus, International, National] {
                    let formats = formats(format, format, country.iso);
                    let number: E164 = number.parse().unwrap();
                    let written = formats.write(number);
                    assert_eq!(formats.read(&written), Some(number), "{} {format:?} {written}", country.iso);
                }
            }
        }
        assert!(COUNTRIES.is_sorted_by_key(|country| country.iso));
    }
}
