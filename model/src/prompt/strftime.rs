//! Dates in prompts: `strftime_now` of chat templates.
//!
//! Days become a date by counting from 1 March of year 0, so that the leap day is the last of its year: 146,097 days
//! are a whole cycle of 400 years. Source: H. Hinnant, "chrono-compatible low-level date algorithms"
//! (`civil_from_days`).

use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::{Error, ErrorKind};

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
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
];
const SECONDS_A_DAY: i64 = 86_400;

/// A moment in UTC.
struct Moment {
    year: i64,
    /// 1 to 12.
    month: usize,
    /// 1 to 31.
    day: i64,
    /// Days since 1 January, from 0.
    day_of_year: i64,
    /// 0 is Sunday.
    weekday: usize,
    /// Seconds since midnight.
    seconds: i64,
}

impl Moment {
    fn new(time: SystemTime) -> Self {
        let seconds = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX / 2),
            Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX / 2),
        };
        let days = seconds.div_euclid(SECONDS_A_DAY);
        let (year, month, day) = convert_days(days);
        Self {
            year,
            month,
            day,
            day_of_year: days - count_days(year),
            // 1 January 1970 was a Thursday.
            weekday: (days + 4).rem_euclid(7) as usize,
            seconds: seconds.rem_euclid(SECONDS_A_DAY),
        }
    }
}

/// Year, month and day of the day `days` after 1 January 1970.
fn convert_days(days: i64) -> (i64, usize, i64) {
    let since_march = days + 719_468;
    let cycle = since_march.div_euclid(146_097);
    let in_cycle = since_march.rem_euclid(146_097);
    let year_in_cycle = (in_cycle - in_cycle / 1_460 + in_cycle / 36_524 - in_cycle / 146_096) / 365;
    let day_of_year = in_cycle - (365 * year_in_cycle + year_in_cycle / 4 - year_in_cycle / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (cycle * 400 + year_in_cycle + i64::from(month <= 2), month as usize, day)
}

/// Days from 1 January 1970 to 1 January of `year`.
fn count_days(year: i64) -> i64 {
    let before = year - 1;
    before * 365 + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400) - 719_162
}

/// Formats `time`, in UTC, as C's `strftime` does in the C locale.
///
/// # Errors
/// For a conversion that isn't known. `%-d` and its like leave out the padding, as in the GNU library.
pub(super) fn format_time(time: SystemTime, format: &str) -> Result<String, Error> {
    let now = Moment::new(time);
    let (hour, minute, second) = (now.seconds / 3600, now.seconds / 60 % 60, now.seconds % 60);
    let hour12 = (hour + 11) % 12 + 1;
    let (day, month) = (DAYS[now.weekday], MONTHS[now.month - 1]);
    let month_number = now.month as i64;
    let mut text = String::new();
    let mut rest = format.chars();
    while let Some(next) = rest.next() {
        if next != '%' {
            text.push(next);
            continue;
        }
        let mut conversion = rest.next();
        let padded = conversion != Some('-');
        if !padded {
            conversion = rest.next();
        }
        let number = |value: i64, width: usize| if padded { format!("{value:0width$}") } else { value.to_string() };
        text += &match conversion {
            Some('Y') => now.year.to_string(),
            Some('y') => number(now.year.rem_euclid(100), 2),
            Some('m') => number(month_number, 2),
            Some('d') => number(now.day, 2),
            Some('e') => {
                if padded {
                    format!("{:2}", now.day)
                } else {
                    now.day.to_string()
                }
            }
            Some('j') => number(now.day_of_year + 1, 3),
            Some('H') => number(hour, 2),
            Some('I') => number(hour12, 2),
            Some('M') => number(minute, 2),
            Some('S') => number(second, 2),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            Some('A') => day.to_owned(),
            Some('a') => day[..3].to_owned(),
            Some('B') => month.to_owned(),
            Some('b' | 'h') => month[..3].to_owned(),
            Some('u') => (if now.weekday == 0 { 7 } else { now.weekday }).to_string(),
            Some('w') => now.weekday.to_string(),
            Some('F') => format!("{}-{month_number:02}-{:02}", now.year, now.day),
            Some('T') => format!("{hour:02}:{minute:02}:{second:02}"),
            Some('R') => format!("{hour:02}:{minute:02}"),
            Some('Z') => "UTC".to_owned(),
            Some('z') => "+0000".to_owned(),
            Some('%') => "%".to_owned(),
            other => {
                let found = other.map_or_else(|| "nothing".to_owned(), |c| format!("`{c}`"));
                let message = format!("strftime_now knows no conversion for {found} after `%`, in {format:?}");
                return Err(Error::new(ErrorKind::InvalidOperation, message));
            }
        };
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What Python's `datetime.fromtimestamp(seconds, timezone.utc).strftime(..)` gives.
    #[test]
    fn equals_python() {
        let format = "%Y-%m-%d %H:%M:%S|%A %a %B %b %j %y %I %p %u %w|%-d %-m %-I %-j %e";
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00|Thursday Thu January Jan 001 70 12 AM 4 4|1 1 12 1  1"),
            (951_782_400, "2000-02-29 00:00:00|Tuesday Tue February Feb 060 00 12 AM 2 2|29 2 12 60 29"),
            (1_735_689_599, "2024-12-31 23:59:59|Tuesday Tue December Dec 366 24 11 PM 2 2|31 12 11 366 31"),
            (1_772_366_400, "2026-03-01 12:00:00|Sunday Sun March Mar 060 26 12 PM 7 0|1 3 12 60  1"),
            (4_107_542_400, "2100-03-01 00:00:00|Monday Mon March Mar 060 00 12 AM 1 1|1 3 12 60  1"),
        ] {
            assert_eq!(format_time(UNIX_EPOCH + Duration::from_secs(seconds), format).unwrap(), expected);
        }
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(format_time(before, "%F %T %Z%z %%").unwrap(), "1969-12-31 23:59:59 UTC+0000 %");
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for format in ["%Q", "%", "a%-", "%é"] {
            assert!(format_time(UNIX_EPOCH, format).unwrap_err().to_string().contains("strftime_now"), "{format}");
        }
    }
}
