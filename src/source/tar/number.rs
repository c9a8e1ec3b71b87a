//! Numbers as tar headers write them: octal text, or binary ("base-256") where octal has too few digits.
//!
//! Anything else is `None`, and the caller decides whether that is an error (a size) or a warning (an owner).

/// The number in a header field. Blank fields are 0: unused fields are filled with NULs or spaces.
pub(super) fn parse(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => binary(field),
        _ => octal(field),
    }
}

/// The same, where a negative number makes no sense.
pub(super) fn parse_unsigned(field: &[u8]) -> Option<u64> {
    u64::try_from(parse(field)?).ok()
}

/// Octal digits between optional blanks; what follows the first NUL or space after a digit is ignored, as
/// all readers do.
fn octal(field: &[u8]) -> Option<i64> {
    let is_blank = |b: &u8| *b == b' ' || *b == 0;
    let start = field.iter().position(|b| !is_blank(b));
    let digits = &field[start.unwrap_or(field.len())..];
    let end = digits.iter().position(is_blank).unwrap_or(digits.len());
    digits[..end].iter().try_fold(0_i64, |sum, digit| {
        let digit = match digit {
            b'0'..=b'7' => i64::from(digit - b'0'),
            _ => return None,
        };
        sum.checked_mul(8)?.checked_add(digit)
    })
}

/// Big-endian two's complement; the top bit marks the form, the next one is the sign.
fn binary(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let (fill, inverted) = if negative { (0xff, 0x80) } else { (0, 0) };
    let head = (field[0] & 0x7f) | inverted;
    let split = field.len().saturating_sub(8);
    let mut low = [fill; 8];
    let mut bytes = field.to_vec();
    bytes[0] = head;
    low[8 - (bytes.len() - split)..].copy_from_slice(&bytes[split..]);
    let value = i64::from_be_bytes(low);
    // What does not fit in 64 bits must be nothing but sign.
    let fits = bytes[..split].iter().all(|b| *b == fill) && (value < 0) == negative;
    fits.then_some(value)
}

/// Plain decimal text, as PAX records and sparse maps have it; signs and blanks are not part of it.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, digit| {
        let digit = match digit {
            b'0'..=b'9' => u64::from(digit - b'0'),
            _ => return None,
        };
        sum.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_with_every_padding() {
        assert_eq!(parse(b"0000644\0"), Some(0o644));
        assert_eq!(parse(b"   644 \0"), Some(0o644));
        assert_eq!(parse(b"\0\0\0"), Some(0));
        assert_eq!(parse(b"        "), Some(0));
        assert_eq!(parse(b"777777777777"), Some(0o777_777_777_777));
        assert_eq!(parse(b"12\0garbage"), Some(0o12));
        assert_eq!(parse(b"0000648\0"), None);
        assert_eq!(parse(b"-1"), None);
    }

    #[test]
    fn binary_of_either_sign() {
        assert_eq!(parse(&[0x80, 0, 0, 0, 0, 0, 0, 7]), Some(7));
        assert_eq!(parse(&[0xff; 12]), Some(-1));
        assert_eq!(parse(&[0xff; 8]), Some(-1));
        let mut big = [0; 12];
        big[0] = 0x80;
        big[4..].copy_from_slice(&i64::MAX.to_be_bytes());
        assert_eq!(parse(&big), Some(i64::MAX));
        assert_eq!(parse_unsigned(&[0xff; 12]), None);
        big[3] = 1;
        assert_eq!(parse(&big), None);
        big[3] = 0;
        big[4] = 0x80;
        assert_eq!(parse(&big), None);
    }

    #[test]
    fn decimal_is_only_digits() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(decimal(b"18446744073709551616"), None);
        assert_eq!(decimal(b""), None);
        assert_eq!(decimal(b"+1"), None);
    }
}
