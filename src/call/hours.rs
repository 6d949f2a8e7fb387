//! Whether somebody is there: business hours at a point in time.

use std::sync::Arc;

use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};
use model::snapshot::BusinessHours;

/// Business hours with their time zone looked up, in the tz database that is built in: the same on every machine.
#[derive(Debug, Clone)]
pub struct Hours {
    zone: TimeZone,
    hours: Arc<BusinessHours>,
}

/// What business hours say of a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Within them.
    Open,
    /// Outside them.
    Closed,
    /// On a holiday, whatever the time of day.
    Holiday,
}

impl Hours {
    /// Looks the time zone up. None: there is no such zone.
    #[must_use]
    pub fn new(hours: Arc<BusinessHours>) -> Option<Self> {
        let zone = TimeZoneDatabase::bundled().get(&hours.time_zone).ok()?;
        Some(Self { zone, hours })
    }

    /// What they say of `at`. Local time decides: on the day a clock is put forward an interval may be short.
    #[must_use]
    pub fn at(&self, at: Timestamp) -> State {
        let local = at.to_zoned(self.zone.clone());
        let date = local.date();
        if self.hours.holidays.binary_search_by(|(day, _)| day.cmp(&date)).is_ok() {
            return State::Holiday;
        }
        let day = usize::from(local.weekday().to_monday_zero_offset().unsigned_abs());
        let time = local.time();
        let field = |value: i8| u32::from(value.unsigned_abs());
        let second = field(time.hour()) * 3_600 + field(time.minute()) * 60 + field(time.second());
        let within = |(from, to): &(u32, u32)| (*from..*to).contains(&second);
        if self.hours.week[day].iter().any(within) { State::Open } else { State::Closed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// New York, Monday to Friday 09:00–17:30, one holiday.
    fn hours() -> Hours {
        let day = vec![(9 * 3_600, 17 * 3_600 + 1_800)];
        let mut week: [Vec<(u32, u32)>; 7] = Default::default();
        week[..5].fill(day);
        Hours::new(Arc::new(BusinessHours {
            time_zone: "America/New_York".into(),
            week,
            holidays: vec![("2026-12-25".parse().unwrap(), "Christmas Day".into())],
        }))
        .unwrap()
    }

    #[test]
    fn local_time_decides_over_the_change_of_clocks() {
        for (at, wanted) in [
            ("2026-11-23T13:59:59Z", State::Closed), // Monday 08:59:59, winter
            ("2026-11-23T14:00:00Z", State::Open),
            ("2026-11-23T22:29:59Z", State::Open),
            ("2026-11-23T22:30:00Z", State::Closed),
            ("2026-07-20T13:00:00Z", State::Open), // Monday 09:00, summer
            ("2026-11-22T15:00:00Z", State::Closed), // Sunday
            ("2026-12-25T15:00:00Z", State::Holiday),
            ("2026-12-26T04:59:59Z", State::Holiday), // still the 25th in New York
        ] {
            assert_eq!(hours().at(at.parse().unwrap()), wanted, "{at}");
        }
    }

    #[test]
    fn an_unknown_zone_is_none() {
        let mut unknown = (*hours().hours).clone();
        unknown.time_zone = "Mars/Olympus".into();
        assert!(Hours::new(Arc::new(unknown)).is_none());
    }
}
