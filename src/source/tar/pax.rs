//! The records of a PAX extended header: `LENGTH KEY=VALUE\n`, one after the other.
//!
//! Strict where a mistake would shift what follows (lengths, line ends), since a record misread is an entry
//! misread. Times and numbers in values are parsed here too.

use super::number::decimal;
use crate::entry::Time;

/// Why a block is no list of records: what is wrong, and at which byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record at its byte {at} {what}")]
pub(super) struct PaxError {
    at: usize,
    what: &'static str,
}

/// The records in `bytes`, in order; ends after the first error.
pub(super) fn records(bytes: &[u8]) -> Records<'_> {
    Records { bytes, at: 0 }
}

/// See [`records`].
pub(super) struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), PaxError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..)?;
        // Some writers fill the last block's rest with NULs and count it in.
        if rest.iter().all(|b| *b == 0) {
            return None;
        }
        let record = split(rest);
        let item = match record {
            Ok((len, key, value)) => {
                self.at += len;
                Ok((key, value))
            }
            Err(what) => {
                let at = std::mem::replace(&mut self.at, self.bytes.len());
                Err(PaxError { at, what })
            }
        };
        Some(item)
    }
}

/// The first record: its length, key and value.
fn split(rest: &[u8]) -> Result<(usize, &[u8], &[u8]), &'static str> {
    // 20 digits hold any 64-bit length.
    let head = &rest[..rest.len().min(21)];
    let space = head.iter().position(|b| *b == b' ');
    let space = space.ok_or("does not begin with its length")?;
    let len = decimal(&rest[..space]).and_then(|len| usize::try_from(len).ok());
    let len = len.ok_or("does not begin with its length")?;
    let record = rest.get(..len).ok_or("is longer than the header")?;
    let body = record
        .get(space + 1..)
        .and_then(|body| body.strip_suffix(b"\n"))
        .ok_or("does not end with a new line")?;
    let equals = body.iter().position(|b| *b == b'=').filter(|at| *at > 0);
    let equals = equals.ok_or("has no key")?;
    Ok((len, &body[..equals], &body[equals + 1..]))
}

/// A time in seconds with any number of decimals, perhaps negative; rounded down to nanoseconds.
pub(super) fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let point = text.iter().position(|b| *b == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b""[..]),
    };
    let whole = match (whole, fraction) {
        (b"", b"") => return None,
        (b"", _) => 0,
        _ => i64::try_from(decimal(whole)?).ok()?,
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let mut nanoseconds = digits.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    let finer = fraction.iter().skip(9).any(|digit| *digit != b'0');
    if !negative {
        return Some(Time::new(whole, nanoseconds));
    }
    nanoseconds += u32::from(finer);
    Some(match nanoseconds {
        0 => Time::new(-whole, 0),
        1_000_000_000 => Time::new(-whole - 1, 0),
        _ => Time::new(-whole - 1, 1_000_000_000 - nanoseconds),
    })
}

/// A decimal number with an optional sign. Beyond 64 bits it saturates: no field can hold it anyway.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = decimal(digits).and_then(|size| i64::try_from(size).ok());
    let size = size.unwrap_or(i64::MAX);
    Some(if negative { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pair<'a> = (&'a [u8], &'a [u8]);

    fn all(bytes: &[u8]) -> Result<Vec<Pair<'_>>, PaxError> {
        records(bytes).collect()
    }

    #[test]
    fn records_in_order_with_any_value() {
        let bytes = b"11 path=ab\n18 comment=a=b\n\nc\n11 x=\0\n y \n\0\0";
        let expected: Vec<Pair<'_>> = vec![
            (b"path", b"ab"),
            (b"comment", b"a=b\n\nc"),
            (b"x", b"\0\n y "),
        ];
        assert_eq!(all(bytes).unwrap(), expected);
        assert!(all(b"").unwrap().is_empty());
    }

    #[test]
    fn malformed_records_are_named() {
        for bytes in [
            &b"path=ab\n"[..],
            b"12 path=ab\n",
            b"10 path=ab\n",
            b"6 =ab\n",
            b"5 ab\n",
            b"0 a=b\n",
            b"2 ",
            b"99999999999999999999999 a=b\n",
            b"-6 a=b\n",
            b" 6 a=b\n",
        ] {
            assert!(all(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        let error = all(b"6 a=b\n7 bad").unwrap_err();
        assert_eq!(
            error.to_string(),
            "record at its byte 6 is longer than the header"
        );
    }

    #[test]
    fn times_round_down() {
        let at = |seconds, nanoseconds| Some(Time::new(seconds, nanoseconds));
        assert_eq!(time(b"1350244992.023960108"), at(1_350_244_992, 23_960_108));
        assert_eq!(time(b"12"), at(12, 0));
        assert_eq!(time(b"1.0000000009"), at(1, 0));
        assert_eq!(time(b".5"), at(0, 500_000_000));
        assert_eq!(time(b"-1.5"), at(-2, 500_000_000));
        assert_eq!(time(b"-0.0000000001"), at(-1, 999_999_999));
        assert_eq!(time(b"-0.9999999999"), at(-1, 0));
        assert_eq!(time(b"-9223372036854775807"), at(-i64::MAX, 0));
        for bad in [
            &b""[..],
            b".",
            b"-",
            b"1e9",
            b"1.-5",
            b"9223372036854775808",
        ] {
            assert_eq!(time(bad), None);
        }
    }
}
