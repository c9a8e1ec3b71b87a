//! PAX records: `LENGTH KEY=VALUE\n`, where the length counts itself.

use crate::entry::{Time, Xattr};

/// The most that the records of one entry may take: readers refuse more (Go's at 1 MiB).
pub(super) const MAX_BYTES: usize = 1 << 20;

const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";

/// The records of one entry.
#[derive(Default)]
pub(super) struct Records {
    bytes: Vec<u8>,
    /// Some text is not UTF-8, which PAX wants said.
    binary: bool,
}

impl Records {
    /// Adds a record of plain ASCII.
    pub(super) fn number(&mut self, key: &str, value: &str) {
        self.raw(key.as_bytes(), value.as_bytes());
    }

    /// Adds a record of a name.
    pub(super) fn text(&mut self, key: &str, value: &[u8]) {
        self.binary |= std::str::from_utf8(value).is_err();
        self.raw(key.as_bytes(), value);
    }

    /// Adds an attribute; false if that would be more than readers accept.
    ///
    /// The spelling is GNU tar's, which bsdtar reads as well. For ACLs the text form is what both of them restore; the raw
    /// attribute beside it is exact, and what GNU tar writes too.
    pub(super) fn xattr(&mut self, xattr: &Xattr) -> bool {
        let mut key = b"SCHILY.xattr.".to_vec();
        for byte in &xattr.name {
            match byte {
                b'=' => key.extend_from_slice(b"%3D"),
                b'%' => key.extend_from_slice(b"%25"),
                _ => key.push(*byte),
            }
        }
        let text = acl_text(xattr);
        let more = text.as_ref().map_or(0, |(_, text)| text.len() + 64);
        if self.bytes.len() + key.len() + xattr.value.len() + more + 32 > MAX_BYTES {
            return false;
        }
        if let Some((key, text)) = text {
            self.raw(key.as_bytes(), text.as_bytes());
        }
        self.raw(&key, &xattr.value);
        true
    }

    /// All of it, empty if nothing was added.
    pub(super) fn finish(self) -> Vec<u8> {
        if !self.binary {
            return self.bytes;
        }
        // It speaks for the records after it.
        let mut all = Self::default();
        all.raw(b"hdrcharset", b"BINARY");
        all.bytes.extend_from_slice(&self.bytes);
        all.bytes
    }

    fn raw(&mut self, key: &[u8], value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut digits = 1;
        while (rest + digits).to_string().len() > digits {
            digits += 1;
        }
        self.bytes
            .extend_from_slice((rest + digits).to_string().as_bytes());
        self.bytes.push(b' ');
        self.bytes.extend_from_slice(key);
        self.bytes.push(b'=');
        self.bytes.extend_from_slice(value);
        self.bytes.push(b'\n');
    }
}

/// A time as PAX writes it: decimal, as many digits as it takes, counted down from zero before 1970.
pub(super) fn time(time: Time) -> String {
    let nanoseconds = time.nanoseconds;
    let (sign, seconds, fraction) = if time.seconds < 0 && nanoseconds > 0 {
        (
            "-",
            time.seconds.unsigned_abs() - 1,
            1_000_000_000 - nanoseconds,
        )
    } else if time.seconds < 0 {
        ("-", time.seconds.unsigned_abs(), 0)
    } else {
        ("", time.seconds.unsigned_abs(), nanoseconds)
    };
    if fraction == 0 {
        return format!("{sign}{seconds}");
    }
    let text = format!("{sign}{seconds}.{fraction:09}");
    text.trim_end_matches('0').to_owned()
}

/// The text form of a POSIX ACL attribute and the key it goes by; `None` for other attributes and for odd values.
fn acl_text(xattr: &Xattr) -> Option<(&'static str, String)> {
    let key = match xattr.name.as_slice() {
        ACL_ACCESS => "SCHILY.acl.access",
        ACL_DEFAULT => "SCHILY.acl.default",
        _ => return None,
    };
    let (version, entries) = xattr.value.split_at_checked(4)?;
    let (entries, []) = entries.as_chunks::<8>() else {
        return None;
    };
    if version != 2_u32.to_le_bytes() || entries.is_empty() {
        return None;
    }
    let mut text = String::new();
    for [tag, tag_high, perm, _, id @ ..] in entries {
        let id = u32::from_le_bytes(*id);
        let who = match u16::from_le_bytes([*tag, *tag_high]) {
            0x01 => "user:".to_owned(),
            0x02 => format!("user:{id}"),
            0x04 => "group:".to_owned(),
            0x08 => format!("group:{id}"),
            0x10 => "mask:".to_owned(),
            0x20 => "other:".to_owned(),
            _ => return None,
        };
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&who);
        text.push(':');
        for (bit, letter) in [(4, 'r'), (2, 'w'), (1, 'x')] {
            text.push(if perm & bit == 0 { '-' } else { letter });
        }
    }
    Some((key, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_counts_its_own_digits() {
        let mut records = Records::default();
        records.number("k", "v");
        // "9 k=vvvv\n" has nine bytes, one more needs two digits.
        records.number("k", "vvvv");
        records.number("k", "vvvvv");
        assert_eq!(records.finish(), b"6 k=v\n9 k=vvvv\n11 k=vvvvv\n");
    }

    #[test]
    fn text_that_is_not_utf8_is_announced_first() {
        let mut records = Records::default();
        records.number("size", "1");
        records.text("path", b"\xff");
        assert_eq!(
            records.finish(),
            b"21 hdrcharset=BINARY\n9 size=1\n9 path=\xff\n"
        );
    }

    #[test]
    fn times_before_1970_count_down() {
        let text = |seconds, nanoseconds| time(Time::new(seconds, nanoseconds));
        assert_eq!(text(1, 0), "1");
        assert_eq!(text(1, 1), "1.000000001");
        assert_eq!(text(0, 120_000_000), "0.12");
        assert_eq!(text(-2, 500_000_000), "-1.5");
        assert_eq!(text(-1, 250_000_000), "-0.75");
        assert_eq!(text(-3, 0), "-3");
        assert_eq!(text(i64::MIN, 0), "-9223372036854775808");
    }

    #[test]
    fn acls_have_a_text_form() {
        let mut value = vec![2, 0, 0, 0];
        for (tag, perm, id) in [
            (1_u16, 7_u16, !0_u32),
            (2, 5, 1001),
            (4, 4, !0),
            (16, 5, !0),
            (32, 0, !0),
        ] {
            value.extend_from_slice(&tag.to_le_bytes());
            value.extend_from_slice(&perm.to_le_bytes());
            value.extend_from_slice(&id.to_le_bytes());
        }
        let mut xattr = Xattr {
            name: ACL_DEFAULT.to_vec(),
            value,
        };
        let (key, text) = acl_text(&xattr).unwrap();
        assert_eq!(key, "SCHILY.acl.default");
        assert_eq!(
            text,
            "user::rwx,user:1001:r-x,group::r--,mask::r-x,other::---"
        );
        xattr.value.pop();
        assert_eq!(acl_text(&xattr), None);
    }

    #[test]
    fn attributes_stop_where_readers_would() {
        let mut records = Records::default();
        let mut xattr = Xattr {
            name: b"user.a=%".to_vec(),
            value: vec![7; 600 << 10],
        };
        assert!(records.xattr(&xattr));
        assert!(!records.xattr(&xattr));
        xattr.value.clear();
        assert!(records.xattr(&xattr));
        assert!(
            records
                .finish()
                .ends_with(b"30 SCHILY.xattr.user.a%3D%25=\n")
        );
    }
}
