//! A moment in whole seconds, the only form of time the pure core knows.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Seconds since 1970-01-01T00:00:00Z, negative before. Written and read as RFC 3339 in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The text was not an RFC 3339 moment in UTC.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an RFC 3339 moment such as 2026-11-23T15:00:00Z")]
pub struct NotATimestamp(String);

impl Timestamp {
    /// The moment `seconds` after (or, negative, before) the Unix epoch.
    #[must_use]
    pub const fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since the Unix epoch.
    #[must_use]
    pub const fn unix(self) -> i64 {
        self.0
    }

    /// This moment, `later` later; stops at the end of time.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        Self(self.0.saturating_add(signed_seconds(later)))
    }

    /// This moment, `earlier` earlier; stops at the beginning of time.
    #[must_use]
    pub fn minus(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(signed_seconds(earlier)))
    }

    /// How long ago `earlier` was; zero where it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whole days from here to `later`, negative once it has passed (one second past is -1).
    #[must_use]
    pub fn days_until(self, later: Self) -> i64 {
        later.0.saturating_sub(self.0).div_euclid(86_400)
    }
}

/// A duration as the configuration would have it: in its largest whole unit, so that 45 days are `45d`.
#[must_use]
pub fn span(duration: Duration) -> String {
    if duration.subsec_millis() > 0 {
        return format!("{}ms", duration.as_millis());
    }
    let seconds = duration.as_secs();
    let mut units = [("d", 86_400), ("h", 3_600), ("m", 60)].into_iter().filter(|_| seconds > 0);
    let (name, unit) = units.find(|(_, unit)| seconds.is_multiple_of(*unit)).unwrap_or(("s", 1));
    format!("{}{name}", seconds.checked_div(unit).unwrap_or(seconds))
}

fn signed_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    /// Proleptic Gregorian, after Howard Hinnant's `civil_from_days`; humantime refuses moments before 1970, which
    /// certificates may carry.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "every divisor is a non-zero constant and i128 holds any i64 day"
    )]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = i128::from(self.0.div_euclid(86_400)) + 719_468;
        let second = self.0.rem_euclid(86_400);
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i128::from(month <= 2);
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = NotATimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || NotATimestamp(text.chars().take(40).collect());
        let moment = humantime::parse_rfc3339(text).map_err(|_| refused())?;
        let since = moment.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| refused())?;
        i64::try_from(since.as_secs()).map(Self).map_err(|_| refused())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_in_their_largest_whole_unit() {
        for (seconds, text) in
            [(45 * 86_400, "45d"), (3_600, "1h"), (90_000, "25h"), (90, "90s"), (120, "2m"), (0, "0s")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        assert_eq!(span(Duration::from_millis(1_500)), "1500ms");
    }

    #[test]
    fn text_and_seconds_agree_with_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_446_000, "2026-11-23T15:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (-631_152_000, "1950-01-01T00:00:00Z"),
        ] {
            assert_eq!(Timestamp::from_unix(seconds).to_string(), text);
            if seconds >= 0 {
                assert_eq!(text.parse(), Ok(Timestamp::from_unix(seconds)));
            }
        }
        assert!(!Timestamp::from_unix(i64::MAX).to_string().is_empty());
        assert!(!Timestamp::from_unix(i64::MIN).to_string().is_empty());
    }
}
