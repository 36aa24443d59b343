//! The date in UTC, for names and notes; nothing that a checkpoint holds depends on it.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in UTC; shown as `2026-01-31T08:05:09Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Utc {
    /// Seconds since 1970.
    seconds: u64,
}

/// Now.
pub(crate) fn utc_now() -> Utc {
    Utc { seconds: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()) }
}

impl Utc {
    /// Year, month and day (Howard Hinnant's `civil_from_days`, for days since 1970).
    pub(crate) fn date(self) -> (u64, u64, u64) {
        let days = self.seconds / 86400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153; // from March
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        (era * 400 + year_of_era + next_year, month, day)
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((year, month, day), second) = (self.date(), self.seconds % 86400);
        let (hours, minutes, seconds) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // date -u -d @SECONDS
    #[test]
    fn dates_are_those_of_the_calendar() {
        let shown = [0, 951_782_400, 1_709_251_199, 4_102_444_800].map(|seconds| Utc { seconds }.to_string());
        assert_eq!(
            shown,
            ["1970-01-01T00:00:00Z", "2000-02-29T00:00:00Z", "2024-02-29T23:59:59Z", "2100-01-01T00:00:00Z"]
        );
    }
}
