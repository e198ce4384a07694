//! `strftime_now`: dates as Python's `datetime.now().strftime` writes them, in the C locale.

use alloc::format;
use alloc::string::String;

/// A date and time of day, already in the time zone it should be shown in. A host makes one from its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct DateTime {
    /// 1 to 9999
    pub year: u16,
    /// 1 to 12
    pub month: u8,
    /// 1 to 31
    pub day: u8,
    /// 0 to 23
    pub hour: u8,
    /// 0 to 59
    pub minute: u8,
    /// 0 to 60
    pub second: u8,
}

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
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl DateTime {
    /// The date `seconds` after 1970-01-01 00:00:00, which is UTC if the seconds are Unix time. Years 1 to 9999; outside,
    /// the nearest of them.
    pub fn from_unix(seconds: i64) -> DateTime {
        let seconds = seconds.clamp(-62_135_596_800, 253_402_300_799);
        let (days, second) = (seconds.div_euclid(86400), seconds.rem_euclid(86400));
        // Years that begin in March have their leap day at the end: 400 of them have 146097 days, 5 months 153.
        let day = days + 719_468;
        let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
        let year = (day - day / 1460 + day / 36524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let january = month >= 10;
        DateTime {
            year: (year + era * 400 + i64::from(january)) as u16,
            month: (if january { month - 9 } else { month + 3 }) as u8,
            day: (day - (153 * month + 2) / 5 + 1) as u8,
            hour: (second / 3600) as u8,
            minute: (second / 60 % 60) as u8,
            second: (second % 60) as u8,
        }
    }

    /// Writes the date by a format of `%` directives; a directive it does not know is an error, whose message is returned.
    pub(super) fn strftime(&self, format: &str) -> Result<String, String> {
        let (mut out, mut chars) = (String::new(), format.chars());
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let mut directive = chars.next();
            let padded = directive != Some('-');
            if !padded {
                directive = chars.next();
            }
            match directive.and_then(|d| self.field(d, padded)) {
                Some(text) => out.push_str(&text),
                None => {
                    let found = directive.map(String::from).unwrap_or_default();
                    return Err(format!("strftime_now: directive %{found} is not supported"));
                }
            }
        }
        Ok(out)
    }

    fn field(&self, directive: char, padded: bool) -> Option<String> {
        let number = |n: u16, width: usize| if padded { format!("{n:0width$}") } else { format!("{n}") };
        let two = |n: u8| number(n.into(), 2);
        let month = MONTHS.get(usize::from(self.month).wrapping_sub(1)).copied().unwrap_or("?");
        let weekday = WEEKDAYS[self.weekday()];
        let hour12 = (self.hour + 11) % 12 + 1;
        Some(match directive {
            'Y' => number(self.year, 4),
            'y' => two((self.year % 100) as u8),
            'm' => two(self.month),
            'd' => two(self.day),
            'e' if padded => format!("{:2}", self.day),
            'e' => two(self.day),
            'j' => number(self.day_of_year(), 3),
            'H' => two(self.hour),
            'I' => two(hour12),
            'M' => two(self.minute),
            'S' => two(self.second),
            'p' => String::from(if self.hour < 12 { "AM" } else { "PM" }),
            'B' => String::from(month),
            'b' | 'h' => month.chars().take(3).collect(),
            'A' => String::from(weekday),
            'a' => weekday.chars().take(3).collect(),
            'F' => format!("{:04}-{:02}-{:02}", self.year, self.month, self.day),
            'T' => format!("{:02}:{:02}:{:02}", self.hour, self.minute, self.second),
            'n' => String::from("\n"),
            't' => String::from("\t"),
            '%' => String::from("%"),
            _ => return None,
        })
    }

    /// 1 to 366
    fn day_of_year(&self) -> u16 {
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let leap = self.year.is_multiple_of(4) && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        let days = before.get(usize::from(self.month).wrapping_sub(1)).copied().unwrap_or(0);
        days + u16::from(self.day) + u16::from(leap && self.month > 2)
    }

    /// 0 is Sunday.
    fn weekday(&self) -> usize {
        let past = u32::from(self.year).saturating_sub(1);
        // 1 January of year 1 was a Monday.
        ((past * 365 + past / 4 - past / 100 + past / 400 + u32::from(self.day_of_year())) % 7) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Expected: Python 3.11, `(epoch + timedelta(seconds=s)).strftime(all)`.
    #[test]
    fn dates_as_python_writes_them() {
        let all = "%Y-%m-%d %H:%M:%S %j %A %a %B %b %I %p %y %e %%";
        let cases = [
            (0, "1970-01-01 00:00:00 001 Thursday Thu January Jan 12 AM 70  1 %"),
            (951_827_696, "2000-02-29 12:34:56 060 Tuesday Tue February Feb 12 PM 00 29 %"),
            (1_735_689_599, "2024-12-31 23:59:59 366 Tuesday Tue December Dec 11 PM 24 31 %"),
            (4_107_542_400, "2100-03-01 00:00:00 060 Monday Mon March Mar 12 AM 00  1 %"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(DateTime::from_unix(seconds).strftime(all).unwrap(), expected);
        }
        assert_eq!(DateTime::from_unix(0).strftime("%-d %-m %-I").unwrap(), "1 1 12");
    }

    #[test]
    fn unknown_directives_are_errors() {
        for format in ["%Q", "%", "%-", "x%Z"] {
            assert!(DateTime::from_unix(0).strftime(format).is_err(), "{format}");
        }
    }
}
