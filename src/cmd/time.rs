//! `--at TIME`: the time for which something is asked.

use anyhow::{Context, anyhow};
use jiff::{Timestamp, Zoned, civil, tz::TimeZone};

/// RFC 3339, RFC 9557, or local time in `zone`.
pub fn parse(text: &str, zone: &TimeZone) -> anyhow::Result<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Ok(at) = text.parse::<Zoned>() {
        return Ok(at.timestamp());
    }
    let local: civil::DateTime = text.parse().map_err(|_| {
        anyhow!("--at {text} is no time: write 2026-12-25T15:00:00Z, or 2026-12-25T10:00 for the tenant's local time")
    })?;
    let at = zone.to_zoned(local).with_context(|| format!("--at {text} is beyond the calendar"))?;
    Ok(at.timestamp())
}
