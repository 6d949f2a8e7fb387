//! What calls to a number cost.

use serde::{Deserialize, Serialize};

use crate::E164;

/// What calls to a number cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CostClass {
    /// Nothing.
    Free,
    /// What calls to places and mobiles cost.
    Normal,
    /// More than that.
    Premium,
    /// Much more.
    Satellite,
}

impl CostClass {
    /// As the YAML has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "Free",
            Self::Normal => "Normal",
            Self::Premium => "Premium",
            Self::Satellite => "Satellite",
        }
    }
}

use CostClass::{Free, Normal, Premium, Satellite};

/// Digits that numbers of E.164 begin with, how many digits such a number has in all (0: any), and what calls to it cost.
///
/// Of the countries of [`COUNTRIES`](super::COUNTRIES), by the published plans of those who assign their numbers: North
/// American Numbering Plan Administration (N00 and 5XX codes), Ofcom (National Telephone Numbering Plan), BNetzA
/// (Nummernplan), ARCEP (plan national de numérotation), RTR, BAKOM, BIPT, ACM, AGCOM, CNMC, ANACOM, ComReg, Energistyrelsen,
/// Nkom, PTS, UKE, ACMA, NZ NAD, the Ministry of Internal Affairs and Communications of Japan, DoT of India, Anatel and IFT;
/// and of the shared codes that ITU-T E.164 assigns to networks and services. What is shared between caller and callee but
/// dearer than a call to a place counts as Premium. The longest that fits holds; what is not listed is Normal.
const COSTS: &[(&str, usize, CostClass)] = &[
    ("1500", 11, Premium),
    ("1521", 11, Premium),
    ("1522", 11, Premium),
    ("1523", 11, Premium),
    ("1524", 11, Premium),
    ("1525", 11, Premium),
    ("1526", 11, Premium),
    ("1527", 11, Premium),
    ("1528", 11, Premium),
    ("1529", 11, Premium),
    ("1533", 11, Premium),
    ("1544", 11, Premium),
    ("1566", 11, Premium),
    ("1577", 11, Premium),
    ("1588", 11, Premium),
    ("1700", 11, Premium),
    ("1800", 11, Free),
    ("1833", 11, Free),
    ("1844", 11, Free),
    ("1855", 11, Free),
    ("1866", 11, Free),
    ("1877", 11, Free),
    ("1888", 11, Free),
    ("1900", 11, Premium),
    ("3118", 0, Premium),
    ("31800", 0, Free),
    ("3184", 0, Premium),
    ("3187", 0, Premium),
    ("31900", 0, Premium),
    ("31906", 0, Premium),
    ("31909", 0, Premium),
    ("3270", 0, Premium),
    ("32800", 0, Free),
    ("3290", 0, Premium),
    ("33118", 0, Premium),
    ("33800", 0, Free),
    ("33801", 0, Free),
    ("33802", 0, Free),
    ("33803", 0, Free),
    ("33804", 0, Free),
    ("33805", 0, Free),
    ("3381", 0, Premium),
    ("3382", 0, Premium),
    ("3389", 0, Premium),
    ("34118", 0, Premium),
    ("34800", 0, Free),
    ("34803", 0, Premium),
    ("34806", 0, Premium),
    ("34807", 0, Premium),
    ("34900", 0, Free),
    ("34901", 0, Premium),
    ("34902", 0, Premium),
    ("34905", 0, Premium),
    ("34907", 0, Premium),
    ("3516", 0, Premium),
    ("351707", 0, Premium),
    ("351708", 0, Premium),
    ("35176", 0, Premium),
    ("351800", 0, Free),
    // Dublin's numbers, which begin alike, have eleven digits.
    ("35315", 13, Premium),
    ("3531800", 13, Free),
    ("39100", 0, Premium),
    ("3912", 0, Premium),
    ("39144", 0, Premium),
    ("39166", 0, Premium),
    ("39178", 0, Premium),
    ("39199", 0, Premium),
    ("39800", 0, Free),
    ("39803", 0, Free),
    ("3984", 0, Premium),
    ("3989", 0, Premium),
    ("41800", 0, Free),
    ("4184", 0, Premium),
    ("41878", 0, Premium),
    ("4190", 0, Premium),
    ("43118", 0, Premium),
    ("43800", 0, Free),
    ("43810", 0, Premium),
    ("43820", 0, Premium),
    ("43821", 0, Premium),
    ("43828", 0, Premium),
    ("4390", 0, Premium),
    ("4393", 0, Premium),
    ("44118", 0, Premium),
    ("4470", 0, Premium),
    ("4476", 0, Premium),
    ("447624", 0, Normal),
    ("44800", 0, Free),
    ("44808", 0, Free),
    ("4484", 0, Premium),
    ("4487", 0, Premium),
    ("449", 0, Premium),
    ("4580", 0, Free),
    ("4590", 0, Premium),
    ("4620", 0, Free),
    ("46900", 0, Premium),
    ("46939", 0, Premium),
    ("46944", 0, Premium),
    ("4699", 0, Premium),
    ("4718", 0, Premium),
    ("47800", 10, Free),
    ("4782", 10, Premium),
    ("4870", 0, Premium),
    ("48800", 0, Free),
    ("49118", 0, Premium),
    ("49137", 0, Premium),
    ("4918", 0, Premium),
    ("49190", 0, Premium),
    ("49700", 0, Premium),
    ("49800", 0, Free),
    ("49900", 0, Premium),
    ("52800", 0, Free),
    ("52900", 0, Premium),
    ("55300", 0, Premium),
    ("55500", 0, Premium),
    ("55800", 0, Free),
    ("55900", 0, Premium),
    ("6114", 0, Satellite),
    ("61180", 0, Free),
    ("6119", 0, Premium),
    ("64508", 0, Free),
    ("64800", 0, Free),
    ("64900", 0, Premium),
    ("800", 0, Free),
    ("81120", 0, Free),
    ("81570", 0, Premium),
    ("81800", 0, Free),
    ("81990", 0, Premium),
    ("870", 0, Satellite),
    ("878", 0, Premium),
    ("881", 0, Satellite),
    ("882", 0, Satellite),
    ("883", 0, Satellite),
    ("911800", 0, Free),
    ("91900", 0, Premium),
    ("979", 0, Premium),
];

/// Digits of a number of the North American plan.
const NANP: usize = 11;

/// What a call to a number costs.
#[must_use]
pub fn cost(number: E164) -> CostClass {
    let text = number.to_string();
    let digits = text.trim_start_matches('+');
    // An exchange of the last century, in every area (976-XXXX).
    if digits.len() == NANP && digits.starts_with('1') && &digits[4..7] == "976" {
        return Premium;
    }
    let fits = |(prefix, length, _): &&(&str, usize, CostClass)| {
        digits.starts_with(prefix) && (*length == 0 || *length == digits.len())
    };
    let longest = COSTS.iter().filter(fits).max_by_key(|(prefix, ..)| prefix.len());
    longest.map_or(Normal, |(.., class)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_cost_what_the_plan_of_their_country_says() {
        for (number, wanted) in [
            ("+18005550100", Free),
            ("+18885550100", Free),
            ("+12125550100", Normal),
            ("+19005550100", Premium),
            ("+12129765550", Premium),
            ("+442079460000", Normal),
            ("+447700900000", Normal),
            ("+448081570000", Free),
            ("+449098790000", Premium),
            ("+447000000000", Premium),
            ("+447624000000", Normal),
            ("+4930123456", Normal),
            ("+49900123456", Premium),
            ("+498001234567", Free),
            ("+33899000000", Premium),
            ("+33145678900", Normal),
            ("+35315550100", Normal),
            ("+3531550123456", Premium),
            ("+3531800123456", Free),
            ("+870773000000", Satellite),
            ("+881612345678", Satellite),
            ("+80012345678", Free),
            ("+97912345678", Premium),
            ("+97444123456", Normal),
            ("+919876543210", Normal),
        ] {
            assert_eq!(cost(number.parse().unwrap()), wanted, "{number}");
        }
    }

    #[test]
    fn no_row_stands_twice() {
        let mut rows: Vec<&str> = COSTS.iter().map(|(prefix, ..)| *prefix).collect();
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows.len(), COSTS.len());
    }
}
