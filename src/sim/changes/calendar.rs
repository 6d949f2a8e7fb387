//! Time as business hours see it: spans of a week and holidays, and which of them no flow can tell apart.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use call::hours::{Hours, State};
use jiff::{
    Timestamp, ToSpan,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};
use model::snapshot::BusinessHours;

/// Most kinds of time that are looked at.
pub const MOMENTS_MAX: usize = 64;

/// Most holidays that are looked at.
pub const HOLIDAYS_MAX: usize = 128;

/// Weeks within which one without holidays and changes of clocks is looked for.
const WEEKS_MAX: i32 = 60;

/// Holidays that are named one by one.
const HOLIDAYS_NAMED: usize = 4;

const DAY_SECONDS: u32 = 86_400;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// What all hours say at one time, in their order.
pub type Signature = Vec<State>;

/// Time, cut where any of some business hours change.
#[derive(Debug, Clone)]
pub struct Calendar {
    /// Kinds of time: what the hours say, and when that is so, at least one.
    pub moments: Vec<(Signature, Timestamp)>,
    /// How much was left out, because a bound is reached or the kind of time never comes.
    pub cut: usize,
    /// Monday of the week that was looked at, if it matters because clocks of several time zones go apart.
    pub as_of: Option<Date>,
    spans: Vec<Span>,
}

/// A part of a day, in seconds since local midnight; an end is not within.
#[derive(Debug, Clone)]
struct Span {
    day: Day,
    from: u32,
    to: u32,
    moment: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Day {
    /// From Monday on.
    Week(usize),
    /// With its name.
    Holiday(Date, String),
}

/// Cuts time where any of `hours` changes; days and times are those of `zone`. What lies before `at` is over.
#[must_use]
pub fn calendar(hours: &[&Arc<BusinessHours>], zone: &TimeZone, at: Timestamp) -> Calendar {
    let ready: Vec<Hours> = hours.iter().filter_map(|hours| Hours::new(Arc::clone(hours))).collect();
    let regular =
        hours.iter().map(|hours| Arc::new(BusinessHours { holidays: Vec::new(), ..(***hours).clone() }));
    let regular: Vec<Hours> = regular.filter_map(Hours::new).collect();
    let zones: BTreeMap<&str, TimeZone> = hours
        .iter()
        .filter_map(|hours| Some((hours.time_zone.as_str(), zone_of(&hours.time_zone)?)))
        .collect();
    let mut maker = Maker {
        hours,
        zones,
        zone,
        found: Calendar { moments: Vec::new(), cut: 0, as_of: None, spans: Vec::new() },
        places: BTreeMap::new(),
    };
    let monday = maker.week(at);
    let name = zone.iana_name().unwrap_or_default();
    if maker.zones.keys().any(|other| *other != name) {
        maker.found.as_of = Some(monday);
    }
    for day in 0..7 {
        let date = monday.saturating_add(i32::try_from(day).unwrap_or_default().days());
        maker.day(&Day::Week(day), date, &regular, |signature, start| comes(signature, start, &ready));
    }
    let holidays = maker.holidays(at);
    maker.found.cut += holidays.len().saturating_sub(HOLIDAYS_MAX);
    for (date, name) in holidays.into_iter().take(HOLIDAYS_MAX) {
        maker.day(&Day::Holiday(date, name), date, &ready, |_, start| Some(start));
    }
    maker.found
}

/// When a regular week is so: some weeks have holidays.
fn comes(signature: &Signature, start: Timestamp, ready: &[Hours]) -> Option<Timestamp> {
    let weeks = (0..WEEKS_MAX).filter_map(|week| start.checked_add((i64::from(week) * 7 * 24).hours()).ok());
    weeks.into_iter().find(|time| *signature == states(ready, *time))
}

fn states(hours: &[Hours], at: Timestamp) -> Signature {
    hours.iter().map(|hours| hours.at(at)).collect()
}

fn zone_of(name: &str) -> Option<TimeZone> {
    jiff::tz::TimeZoneDatabase::bundled().get(name).ok()
}

/// The instant of a local time; 86,400 s is the next midnight.
fn instant(date: Date, seconds: u32, zone: &TimeZone) -> Option<Timestamp> {
    let midnight = DateTime::from_parts(date, Time::midnight());
    let local = midnight.checked_add(i64::from(seconds).seconds()).ok()?;
    Some(zone.to_zoned(local).ok()?.timestamp())
}

struct Maker<'a> {
    hours: &'a [&'a Arc<BusinessHours>],
    zones: BTreeMap<&'a str, TimeZone>,
    zone: &'a TimeZone,
    found: Calendar,
    places: BTreeMap<Vec<u8>, usize>,
}

impl Maker<'_> {
    /// Monday of the first week from `at` on in which no clock is changed and no holiday lies; else of its own.
    fn week(&self, at: Timestamp) -> Date {
        let date = at.to_zoned(self.zone.clone()).date();
        let monday = date.saturating_sub(i32::from(date.weekday().to_monday_zero_offset()).days());
        let weeks = (0..WEEKS_MAX).map(|week| monday.saturating_add((week * 7).days()));
        let regular = |monday: &Date| {
            let (from, to) = (monday.saturating_sub(1.days()), monday.saturating_add(8.days()));
            let steady = |zone: &TimeZone| {
                let offset = |date| Some(zone.to_offset(instant(date, 0, zone)?));
                offset(from) == offset(to)
            };
            let free = |hours: &&Arc<BusinessHours>| {
                !hours.holidays.iter().any(|(date, _)| (from..=to).contains(date))
            };
            self.zones.values().all(steady) && steady(self.zone) && self.hours.iter().all(free)
        };
        weeks.into_iter().find(regular).unwrap_or(monday)
    }

    /// Holidays that are not over, with the name that was given last.
    fn holidays(&self, at: Timestamp) -> BTreeMap<Date, String> {
        let mut holidays = BTreeMap::new();
        for hours in self.hours {
            let Some(zone) = self.zones.get(hours.time_zone.as_str()) else { continue };
            let today = at.to_zoned(zone.clone()).date();
            let coming = hours.holidays.iter().filter(|(date, _)| *date >= today);
            holidays.extend(coming.cloned());
        }
        holidays
    }

    /// Cuts one local day. `when` says at what time such a signature comes, if it does.
    fn day(
        &mut self,
        day: &Day,
        date: Date,
        states_of: &[Hours],
        when: impl Fn(&Signature, Timestamp) -> Option<Timestamp>,
    ) {
        let next = date.saturating_add(1.days());
        let (Some(start), Some(end)) = (instant(date, 0, self.zone), instant(next, 0, self.zone)) else {
            return;
        };
        let mut edges = self.edges(date);
        edges.retain(|edge| start < *edge && *edge < end);
        edges.insert(start);
        let ends = edges.iter().copied().skip(1).chain([end]);
        for (from, to) in edges.iter().copied().zip(ends) {
            let signature = states(states_of, from);
            let Some(moment) = self.moment(signature, |signature| when(signature, from)) else { continue };
            let to = if to == end { DAY_SECONDS } else { self.second(to) };
            let from = if from == start { 0 } else { self.second(from) };
            self.found.spans.push(Span { day: day.clone(), from, to, moment });
        }
    }

    /// Where any of the hours may change around a local day.
    fn edges(&self, date: Date) -> BTreeSet<Timestamp> {
        let mut edges = BTreeSet::new();
        for hours in self.hours {
            let Some(zone) = self.zones.get(hours.time_zone.as_str()) else { continue };
            for date in [date.saturating_sub(1.days()), date, date.saturating_add(1.days())] {
                let day = usize::from(date.weekday().to_monday_zero_offset().unsigned_abs());
                let within = hours.week[day].iter().flat_map(|(from, to)| [*from, *to]);
                edges.extend(within.chain([0]).filter_map(|second| instant(date, second, zone)));
            }
        }
        edges
    }

    fn second(&self, at: Timestamp) -> u32 {
        let time = at.to_zoned(self.zone.clone()).time();
        let field = |value: i8| u32::from(value.unsigned_abs());
        field(time.hour()) * 3_600 + field(time.minute()) * 60 + field(time.second())
    }

    fn moment(
        &mut self,
        signature: Signature,
        when: impl Fn(&Signature) -> Option<Timestamp>,
    ) -> Option<usize> {
        let key: Vec<u8> = signature.iter().map(|state| *state as u8).collect();
        if let Some(place) = self.places.get(&key) {
            return Some(*place);
        }
        let time = when(&signature).filter(|_| self.found.moments.len() < MOMENTS_MAX);
        let Some(time) = time else {
            self.found.cut += 1;
            return None;
        };
        let place = self.found.moments.len();
        self.places.insert(key, place);
        self.found.moments.push((signature, time));
        Some(place)
    }
}

impl Calendar {
    /// Some kinds of time, for people. None: always.
    #[must_use]
    pub fn text(&self, some: &BTreeSet<usize>) -> Option<String> {
        if (0..self.moments.len()).all(|moment| some.contains(&moment)) {
            return None;
        }
        let parts = |wanted: bool| {
            let spans = self.spans.iter().filter(|span| some.contains(&span.moment) == wanted);
            spans.collect::<Vec<_>>()
        };
        let (chosen, rest) = (parts(true), parts(false));
        let (days, other_days) = (week(&chosen), week(&rest));
        let (holidays, other_holidays) = (holidays(&chosen), holidays(&rest));
        let all = other_holidays.is_empty();
        let mut texts = Vec::new();
        match (days.is_empty(), other_days.is_empty()) {
            (true, _) => {}
            (false, true) if holidays.is_empty() => {
                texts.push(format!("except {}", named(&other_holidays, true)));
            }
            (false, true) => texts.push("every regular day".into()),
            (false, false) if other_days.len() < days.len() => {
                texts.push(format!("outside {}", other_days.join(", ")));
                // Before it: what lies outside is the week's alone.
                if !holidays.is_empty() {
                    texts.insert(0, named(&holidays, all));
                }
                return Some(texts.join(", "));
            }
            (false, false) => texts.push(days.join(", ")),
        }
        if !holidays.is_empty() {
            texts.push(named(&holidays, all));
        }
        Some(texts.join(", "))
    }
}

/// The parts of a regular week: days of equal spans together.
fn week(spans: &[&Span]) -> Vec<String> {
    let of = |day: usize| {
        let spans = spans.iter().filter(|span| span.day == Day::Week(day));
        joined(spans.map(|span| (span.from, span.to)))
    };
    let days: Vec<Vec<(u32, u32)>> = (0..7).map(of).collect();
    let mut texts = Vec::new();
    let mut told = [false; 7];
    for day in 0..7 {
        if told[day] || days[day].is_empty() {
            continue;
        }
        let same: Vec<usize> = (day..7).filter(|other| days[*other] == days[day]).collect();
        same.iter().for_each(|other| told[*other] = true);
        texts.push(format!("{}{}", runs(&same), times(&days[day])));
    }
    texts
}

/// `Mon–Fri`, `Sat–Sun`, `Mon, Wed`.
fn runs(days: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for day in days {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *day => *last = *day,
            _ => runs.push((*day, *day)),
        }
    }
    let run = |(first, last): &(usize, usize)| {
        if first == last { DAYS[*first].to_owned() } else { format!("{}–{}", DAYS[*first], DAYS[*last]) }
    };
    runs.iter().map(run).collect::<Vec<_>>().join("+")
}

/// Nothing for a whole day.
fn times(spans: &[(u32, u32)]) -> String {
    if spans == [(0, DAY_SECONDS)] {
        return String::new();
    }
    let spans: Vec<_> = spans.iter().map(|(from, to)| format!("{}–{}", clock(*from), clock(*to))).collect();
    format!(" {}", spans.join(" and "))
}

fn clock(seconds: u32) -> String {
    let text = format!("{:02}:{:02}", seconds / 3_600, seconds / 60 % 60);
    if seconds.is_multiple_of(60) { text } else { format!("{text}:{:02}", seconds % 60) }
}

/// Spans that touch become one.
fn joined(spans: impl Iterator<Item = (u32, u32)>) -> Vec<(u32, u32)> {
    let mut joined: Vec<(u32, u32)> = Vec::new();
    for (from, to) in spans {
        match joined.last_mut() {
            Some((_, end)) if *end == from => *end = to,
            _ => joined.push((from, to)),
        }
    }
    joined
}

fn holidays(spans: &[&Span]) -> Vec<String> {
    let mut days: BTreeMap<(Date, &str), Vec<(u32, u32)>> = BTreeMap::new();
    for span in spans {
        if let Day::Holiday(date, name) = &span.day {
            days.entry((*date, name)).or_default().push((span.from, span.to));
        }
    }
    let text = |((date, name), spans): ((Date, &str), Vec<(u32, u32)>)| {
        format!("holiday {name} ({date}){}", times(&joined(spans.into_iter())))
    };
    days.into_iter().map(text).collect()
}

/// Where they are all that come, and several, they need no names.
fn named(holidays: &[String], all: bool) -> String {
    if all && holidays.len() > 1 {
        return "holidays".into();
    }
    let more = holidays.len().saturating_sub(HOLIDAYS_NAMED);
    let named = holidays.iter().take(HOLIDAYS_NAMED).cloned();
    let more = (more > 0).then(|| format!("{more} more holidays"));
    named.chain(more).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(
        zone: &str,
        week: &[(std::ops::Range<usize>, u32, u32)],
        holidays: &[&str],
    ) -> Arc<BusinessHours> {
        let mut days: [Vec<(u32, u32)>; 7] = Default::default();
        for (range, from, to) in week {
            days[range.clone()].iter_mut().for_each(|day| day.push((from * 3_600, to * 3_600)));
        }
        let holiday = |date: &&str| (date.parse().unwrap(), "Holiday".to_owned());
        Arc::new(BusinessHours {
            time_zone: zone.into(),
            week: days,
            holidays: holidays.iter().map(holiday).collect(),
        })
    }

    fn made(hours: &[Arc<BusinessHours>]) -> Calendar {
        let hours: Vec<_> = hours.iter().collect();
        calendar(&hours, &zone_of("America/New_York").unwrap(), "2026-11-26T12:00:00Z".parse().unwrap())
    }

    /// When the last hours say what those before do not.
    fn differs(hours: &[Arc<BusinessHours>]) -> String {
        let calendar = made(hours);
        let moments = calendar.moments.iter().enumerate();
        let some = moments
            .filter(|(_, (signature, _))| signature[0] != signature[1])
            .map(|(place, _)| place)
            .collect();
        calendar.text(&some).unwrap_or_else(|| "always".into())
    }

    #[test]
    fn differences_are_told_by_day_and_time() {
        let zone = "America/New_York";
        let office = || hours(zone, &[(0..5, 9, 17)], &["2026-12-25"]);
        for (other, wanted) in [
            (hours(zone, &[(0..5, 9, 17), (5..6, 10, 18)], &["2026-12-25"]), "Sat 10:00–18:00"),
            (hours(zone, &[(0..5, 8, 18)], &["2026-12-25"]), "Mon–Fri 08:00–09:00 and 17:00–18:00"),
            (hours(zone, &[(0..5, 9, 17)], &[]), "holiday Holiday (2026-12-25)"),
            (hours(zone, &[(0..5, 9, 17)], &["2026-01-01", "2026-12-25"]), ""),
            (hours(zone, &[(0..7, 0, 24)], &["2026-12-25"]), "outside Mon–Fri 09:00–17:00"),
            (
                hours("America/Chicago", &[(0..5, 9, 17)], &["2026-12-25"]),
                "Mon–Fri 09:00–10:00 and 17:00–18:00, holiday Holiday (2026-12-25) 00:00–01:00",
            ),
        ] {
            assert_eq!(differs(&[office(), other]), wanted);
        }
    }

    #[test]
    fn a_moment_is_when_the_hours_really_say_so() {
        let all: Vec<String> = (26..=30).map(|day| format!("2026-11-{day}")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let hours = hours("America/New_York", &[(0..5, 9, 17)], &all);
        let calendar = made(&[Arc::clone(&hours)]);
        assert_eq!(calendar.moments.len(), 3);
        let ready = [Hours::new(hours).unwrap()];
        for (signature, time) in &calendar.moments {
            assert_eq!(states(&ready, *time), *signature, "{time}");
        }
    }

    #[test]
    fn without_hours_there_is_one_moment() {
        let calendar = made(&[]);
        assert_eq!((calendar.moments.len(), calendar.cut, calendar.as_of), (1, 0, None));
        assert_eq!(calendar.text(&BTreeSet::from([0])), None);
    }
}
