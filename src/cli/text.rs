//! Names, numbers and times as people read them on a terminal.
//!
//! Names in a snapshot come from anywhere: whatever could move a cursor, change a colour or reverse the direction of writing
//! is shown as an escape, so that output means what it looks like. Bytes that are no UTF-8 are shown as `\xNN`.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::entry::Time;

/// A name for a terminal.
pub(super) fn name(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            push(&mut out, character);
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Text for a terminal: as [`name`], but a backslash is no escape of ours and stays.
pub(super) fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character == '\\' {
            out.push('\\');
        } else {
            push(&mut out, character);
        }
    }
    out
}

/// A message for a person: as [`line()`], without the numbers of operating system errors, whose words say the same.
pub(super) fn message(text: &str) -> String {
    const NUMBER: &str = " (os error ";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(NUMBER) {
        let (before, tail) = rest.split_at(at);
        let digits = tail[NUMBER.len()..].trim_start_matches(|c: char| c.is_ascii_digit());
        out.push_str(before);
        rest = if let Some(after) = digits.strip_prefix(')') {
            after
        } else {
            out.push_str(NUMBER);
            &tail[NUMBER.len()..]
        };
    }
    out.push_str(rest);
    line(&out)
}

fn push(out: &mut String, character: char) {
    match character {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\\' => out.push_str("\\\\"),
        _ if character.is_control() || is_direction(character) => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
        }
        _ => out.push(character),
    }
}

/// Invisible characters that change the direction of what is around them, and line separators.
fn is_direction(character: char) -> bool {
    matches!(character,
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}')
}

/// A byte count with a binary unit: `0 B`, `1023 B`, `1.0 KiB`, `12.3 GiB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    // Tenths of a unit, in integers: rounding up to the next unit is seen before it is printed.
    let mut unit = 0;
    let mut tenths = u128::from(count) * 10 / 1024;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A number with thousands set apart: `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number and its noun: `1 file`, `2,000 files`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Now.
pub(super) fn now() -> Time {
    let now = Timestamp::now();
    Time::new(
        now.as_second(),
        u32::try_from(now.subsec_nanosecond()).unwrap_or(0),
    )
}

/// A point in time in the local time zone, to the second.
pub(super) fn local_time(time: Time) -> String {
    timestamp(time).map_or_else(
        || format!("@{}", time.seconds),
        |at| {
            at.to_zoned(TimeZone::system())
                .strftime("%Y-%m-%d %H:%M:%S")
                .to_string()
        },
    )
}

/// A point in time in UTC with all its digits, as RFC 3339 has it, for JSON.
pub(super) fn utc_time(time: Time) -> String {
    timestamp(time).map_or_else(|| format!("@{}", time.seconds), |at| at.to_string())
}

/// A point in time in UTC, fit for the name of a file: `20261121T093501Z`.
pub(super) fn file_time(time: Time) -> String {
    timestamp(time).map_or_else(
        || format!("{}", time.seconds),
        |at| at.strftime("%Y%m%dT%H%M%SZ").to_string(),
    )
}

fn timestamp(time: Time) -> Option<Timestamp> {
    let nanoseconds = i32::try_from(time.nanoseconds).ok()?;
    Timestamp::new(time.seconds, nanoseconds).ok()
}

/// A span of time: `0.3 s`, `12 s`, `3 min 05 s`, `2 h 03 min`.
pub(super) fn duration(span: std::time::Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..10 => format!("{}.{} s", seconds, span.subsec_millis() / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_drive_a_terminal() {
        assert_eq!(name(b"plain \xc3\xa9"), "plain \u{e9}");
        assert_eq!(name(b"a\x1b[31mb\nc\\"), "a\\u{1b}[31mb\\nc\\\\");
        assert_eq!(name(b"bad\xff"), "bad\\xff");
        assert_eq!(name("x\u{202e}gpj".as_bytes()), "x\\u{202e}gpj");
        assert_eq!(line("a\\b\x07"), "a\\b\\u{7}");
        assert_eq!(
            message("a: gone (os error 2); b (os error x)"),
            "a: gone; b (os error x)"
        );
    }

    #[test]
    fn numbers() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.0 KiB");
        assert_eq!(bytes((1 << 20) - 1), "1023.9 KiB");
        assert_eq!(bytes(u64::MAX), "15.9 EiB");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "file", "files"), "1 file");
    }

    #[test]
    fn times_in_utc() {
        assert_eq!(
            utc_time(Time::new(-1, 500_000_000)),
            "1969-12-31T23:59:59.5Z"
        );
        assert_eq!(file_time(Time::new(0, 0)), "19700101T000000Z");
        assert_eq!(utc_time(Time::new(i64::MAX, 0)), format!("@{}", i64::MAX));
    }
}
