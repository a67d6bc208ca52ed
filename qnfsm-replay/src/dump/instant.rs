//! Moments as people and machines read them: RFC 3339, to the nanosecond.

use std::fmt;

use qnfsm::Time;

/// A moment in UTC, as RFC 3339 writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant(pub Time);

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_nanos() / 1_000_000_000, self.0.as_nanos() % 1_000_000_000);
        let (year, month, day) = date_of(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
    }
}

/// Why a text is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {}", if *.is_beyond { BEYOND } else { NO_MOMENT })]
pub struct InstantError {
    text: String,
    /// It is one of another time than a journal can be of.
    is_beyond: bool,
}

const NO_MOMENT: &str =
    "is no moment; give it as RFC 3339 has it, such as 2026-11-22T22:33:04.5Z or 2026-11-22T23:33:04+01:00";
const BEYOND: &str = "is of a time that no journal can be of, which are those from 1970 to 2554";

impl std::str::FromStr for Instant {
    type Err = InstantError;

    fn from_str(text: &str) -> Result<Instant, InstantError> {
        moment(text).map(Instant).ok_or_else(|| {
            // In this year there are all days.
            let elsewhen = text.get(..4).filter(|year| year.bytes().all(|digit| digit.is_ascii_digit()));
            let is_beyond = elsewhen.is_some_and(|_| moment(&format!("2000{}", &text[4..])).is_some());
            InstantError { text: text.to_owned(), is_beyond: is_beyond && !is_leap_day(text) }
        })
    }
}

/// True of a day that its year may not have.
fn is_leap_day(text: &str) -> bool {
    text.get(4..10) == Some("-02-29")
}

/// A moment as RFC 3339 writes it, to the nanosecond.
fn moment(text: &str) -> Option<Time> {
    let digits =
        |text: &str| text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let (date, rest) = (text.get(..10)?, text.get(11..)?);
    let (clock, rest) = (rest.get(..8)?, rest.get(8..)?);
    let is_spelt = |text: &str, at: [usize; 2], by: u8| at.iter().all(|at| text.as_bytes()[*at] == by);
    let separator = text.as_bytes()[10];
    if !is_spelt(date, [4, 7], b'-') || !is_spelt(clock, [2, 5], b':') || !matches!(separator, b'T' | b't' | b' ') {
        return None;
    }
    let (year, month, day) = (digits(&date[..4])?, digits(&date[5..7])?, digits(&date[8..])?);
    let (hour, minute, second) = (digits(&clock[..2])?, digits(&clock[3..5])?, digits(&clock[6..])?);
    let days = days_until(year, month, day).filter(|_| hour < 24 && minute < 60 && second < 61)?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count()),
        None => ("0", rest),
    };
    // Nine digits are all that a moment has.
    let nanos = digits(&format!("{:0<9}", fraction.get(..9).unwrap_or(fraction))).filter(|_| !fraction.is_empty())?;
    let east_s = match zone {
        "Z" | "z" => 0,
        zone => {
            let (sign, zone) = (if zone.starts_with('-') { -1 } else { 1 }, zone.strip_prefix(['+', '-'])?);
            let (hours, minutes) =
                zone.split_once(':').filter(|(hours, minutes)| hours.len() == 2 && minutes.len() == 2)?;
            let (hours, minutes) = (digits(hours)?, digits(minutes)?);
            sign * i64::try_from(hours * 3600 + minutes * 60).ok().filter(|_| hours < 24 && minutes < 60)?
        }
    };
    let seconds = (days * 86_400 + hour * 3600 + minute * 60 + second).checked_add_signed(-east_s)?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos).map(Time::from_nanos)
}

/// The number of a day since 1970, the other way round than [`date_of`]. None if there is no such day, or it was before.
fn days_until(year: u64, month: u64, day: u64) -> Option<u64> {
    // No month is longer than 31 days, so the day lies in this month or at the start of the next, which is no day then.
    let (shifted_year, shifted_month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let (era, year_of_era) = (shifted_year / 400, shifted_year % 400);
    let day_of_year = (153 * shifted_month + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    (date_of(days) == (year, month, day)).then_some(days)
}

/// Year, month and day of the day with that number since 1970, by Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>).
fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        let shown = |seconds: u64, nanos: u64| Instant(Time::from_nanos(seconds * 1_000_000_000 + nanos)).to_string();
        assert_eq!(shown(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(shown(951_782_399, 999_999_999), "2000-02-28T23:59:59.999999999Z");
        assert_eq!(shown(951_782_400, 1), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(shown(1_709_251_199, 0), "2024-02-29T23:59:59.000000000Z");
        assert_eq!(shown(4_107_542_400, 0), "2100-03-01T00:00:00.000000000Z");
        assert_eq!(Instant(Time::from_nanos(u64::MAX)).to_string(), "2554-07-21T23:34:33.709551615Z");
    }

    #[test]
    fn moments_are_read_as_they_are_shown_and_in_other_zones() {
        let read = |text: &str| text.parse::<Instant>().map(|Instant(time)| time.as_nanos());
        for nanos in [0, 951_782_399_999_999_999, 951_782_400_000_000_001, 1_709_251_199_000_000_000, u64::MAX] {
            let text = Instant(Time::from_nanos(nanos)).to_string();
            assert_eq!(read(&text), Ok(nanos), "{text}");
        }
        let noon = read("2026-11-22T12:00:00Z").expect("it is one");
        for same in [
            "2026-11-22t12:00:00z",
            "2026-11-22 13:00:00+01:00",
            "2026-11-22T04:30:00.000-07:30",
            "2026-11-22T12:00:00.0000000009Z",
        ] {
            assert_eq!(read(same), Ok(noon), "{same}");
        }
        assert_eq!(read("2026-11-22T12:00:00.5Z"), Ok(noon + 500_000_000));
        for none in [
            "",
            "2026",
            "2026-11-22",
            "2026-11-22T12:00:00",
            "2026-02-29T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T12:00:00.Z",
            "2026-11-22T12:00:00+1:00",
            "2026-11-22T12:00:00é",
            "2026-11-2éT12:00:00Z",
        ] {
            let error = read(none).expect_err(none);
            assert!(error.to_string().contains("RFC 3339"), "{error}");
        }
        for beyond in ["1969-12-31T23:59:59Z", "2554-07-21T23:34:34Z", "9999-12-31T23:59:59Z"] {
            let error = read(beyond).expect_err(beyond);
            assert!(error.to_string().contains("from 1970 to 2554"), "{error}");
        }
    }
}
