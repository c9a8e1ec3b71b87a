//! Sizes and spans of time as they are typed.

use jiff::{Span, Unit, Zoned};

/// `1500`, `500K`, `20MiB`, `1.5G`: bytes, with binary units.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let bad = || format!("'{text}' is no size: write 500M, 20GiB or a number of bytes");
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_ascii_lowercase();
    let shift = match unit.trim_end_matches("ib").trim_end_matches('b') {
        "" if !unit.contains("ib") => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(bad()),
    };
    if number.ends_with('.') {
        return Err(bad());
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().map_err(|_| bad())?;
    let mut bytes = u128::from(whole) << shift;
    if !fraction.is_empty() {
        let digits: u64 = fraction
            .get(..fraction.len().min(9))
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(bad)?;
        let power = 10_u128.pow(u32::try_from(fraction.len().min(9)).unwrap_or(9));
        bytes += (u128::from(digits) << shift) / power;
    }
    u64::try_from(bytes).map_err(|_| bad())
}

/// `30d`, `12h`, `1y 6mo`: a span of time, in seconds back from now by the calendar here.
pub(super) fn span(text: &str) -> Result<u64, String> {
    let bad = || format!("'{text}' is no span of time: write 12h, 30d, 8w, 6mo or 1y");
    let span: Span = text.parse().map_err(|_| bad())?;
    let now = Zoned::now();
    let then = now.checked_sub(span).map_err(|_| bad())?;
    let seconds = (&now - &then).total(Unit::Second).map_err(|_| bad())?;
    if seconds < 0.0 {
        return Err(bad());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and the calendar ends long before 2^53 seconds"
    )]
    Ok(seconds as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("1500", 1500),
            ("2k", 2048),
            ("3MiB", 3 << 20),
            ("1.5G", 3 << 29),
            ("1 TB", 1 << 40),
            ("7b", 7),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "x",
            "-1",
            "1.",
            "1..2",
            "5 parsecs",
            "1iB",
            "99999999999P",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans() {
        assert_eq!(span("12h"), Ok(43_200));
        assert!(span("30d").unwrap().abs_diff(30 * 86_400) <= 3600);
        assert!(span("1y 6mo").unwrap() > 540 * 86_400);
        for text in ["", "5", "x", "-3d"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
