//! The records of a zip, little-endian: local header, data descriptor, central directory, and their ends.
//!
//! Written forwards only: sizes and check sums follow the data in a descriptor, in the 64-bit form, which the local header
//! announces by an empty zip64 field (that is how readers that stream tell the two forms apart).

/// Stored as it is.
pub(super) const STORED: u16 = 0;
/// Raw deflate.
pub(super) const DEFLATED: u16 = 8;

/// Sizes follow in a descriptor.
const FLAG_DESCRIPTOR: u16 = 1 << 3;
/// The name is UTF-8.
const FLAG_UTF8: u16 = 1 << 11;
/// Zip 4.5, with zip64.
const VERSION_NEEDED: u16 = 45;
/// The same, made on Unix: the upper half of the attributes is `st_mode`.
const VERSION_MADE: u16 = 3 << 8 | VERSION_NEEDED;
const IN_ZIP64: u32 = u32::MAX;

/// What the directory says of one entry.
pub(super) struct Member<'a> {
    pub(super) name: &'a [u8],
    pub(super) method: u16,
    /// Sizes follow the content; otherwise they are known and stand in the local header.
    pub(super) streamed: bool,
    /// `st_mode` with the type.
    pub(super) mode: u32,
    /// Seconds since 1970, where they fit.
    pub(super) mtime: i64,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) crc: u32,
    pub(super) packed_bytes: u64,
    pub(super) plain_bytes: u64,
    /// Where its local header is.
    pub(super) offset: u64,
}

impl Member<'_> {
    /// The header in front of the content.
    pub(super) fn local_header(&self, out: &mut Vec<u8>) {
        let mut extra = self.extra();
        if self.streamed {
            field(&mut extra, 0x0001, &[0; 16]);
        }
        put32(out, 0x0403_4b50);
        put16(out, VERSION_NEEDED);
        self.common(out);
        if self.streamed {
            put32(out, 0);
            put32(out, IN_ZIP64);
            put32(out, IN_ZIP64);
        } else {
            put32(out, self.crc);
            put32(out, short32(self.packed_bytes));
            put32(out, short32(self.plain_bytes));
        }
        put16(out, short16(self.name.len()));
        put16(out, short16(extra.len()));
        out.extend_from_slice(self.name);
        out.extend_from_slice(&extra);
    }

    /// What follows streamed content.
    pub(super) fn descriptor(&self, out: &mut Vec<u8>) {
        put32(out, 0x0807_4b50);
        put32(out, self.crc);
        put64(out, self.packed_bytes);
        put64(out, self.plain_bytes);
    }

    /// Its entry in the central directory.
    pub(super) fn directory_entry(&self, out: &mut Vec<u8>) {
        let mut large = Vec::new();
        for number in [self.plain_bytes, self.packed_bytes, self.offset] {
            if number >= IN_ZIP64.into() {
                put64(&mut large, number);
            }
        }
        let mut extra = self.extra();
        if !large.is_empty() {
            field(&mut extra, 0x0001, &large);
        }
        put32(out, 0x0201_4b50);
        put16(out, VERSION_MADE);
        put16(out, VERSION_NEEDED);
        self.common(out);
        put32(out, self.crc);
        put32(out, short32(self.packed_bytes));
        put32(out, short32(self.plain_bytes));
        put16(out, short16(self.name.len()));
        put16(out, short16(extra.len()));
        // No comment, first disk, no internal attributes.
        out.extend_from_slice(&[0; 6]);
        let is_directory = self.mode & 0o170_000 == 0o040_000;
        put32(out, self.mode << 16 | u32::from(is_directory) << 4);
        put32(out, short32(self.offset));
        out.extend_from_slice(self.name);
        out.extend_from_slice(&extra);
    }

    /// Flags, method and time, which both headers share.
    fn common(&self, out: &mut Vec<u8>) {
        let mut flags = 0;
        if self.streamed {
            flags |= FLAG_DESCRIPTOR;
        }
        if std::str::from_utf8(self.name).is_ok() {
            flags |= FLAG_UTF8;
        }
        put16(out, flags);
        put16(out, self.method);
        put32(out, dos_time(self.mtime));
    }

    /// Info-ZIP's fields: the exact modification time, and the owner by number.
    fn extra(&self) -> Vec<u8> {
        let mut extra = Vec::new();
        if let Ok(seconds) = i32::try_from(self.mtime) {
            let mut time = vec![1];
            time.extend_from_slice(&seconds.to_le_bytes());
            field(&mut extra, 0x5455, &time);
        }
        let mut owner = vec![1, 4];
        put32(&mut owner, self.uid);
        owner.push(4);
        put32(&mut owner, self.gid);
        field(&mut extra, 0x7875, &owner);
        extra
    }
}

/// The end of the archive: its directory begins at `offset`, has `bytes` and `entries`.
pub(super) fn end(offset: u64, bytes: u64, entries: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let many = entries >= u16::MAX.into();
    if many || offset >= IN_ZIP64.into() || bytes >= IN_ZIP64.into() {
        put32(&mut out, 0x0606_4b50);
        put64(&mut out, 44);
        put16(&mut out, VERSION_MADE);
        put16(&mut out, VERSION_NEEDED);
        out.extend_from_slice(&[0; 8]);
        for number in [entries, entries, bytes, offset] {
            put64(&mut out, number);
        }
        put32(&mut out, 0x0706_4b50);
        put32(&mut out, 0);
        put64(&mut out, offset + bytes);
        put32(&mut out, 1);
    }
    put32(&mut out, 0x0605_4b50);
    put32(&mut out, 0);
    let entries = u16::try_from(entries).unwrap_or(u16::MAX);
    put16(&mut out, entries);
    put16(&mut out, entries);
    put32(&mut out, short32(bytes));
    put32(&mut out, short32(offset));
    put16(&mut out, 0);
    out
}

fn field(out: &mut Vec<u8>, id: u16, value: &[u8]) {
    put16(out, id);
    put16(out, short16(value.len()));
    out.extend_from_slice(value);
}

fn put16(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// The number, or the mark that it stands in a zip64 field.
fn short32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(IN_ZIP64)
}

/// Names are checked to fit before they come here.
fn short16(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// The time as MS-DOS has it (two-second steps from 1980 to 2107, taken as UTC): the exact one is in the extra field.
fn dos_time(seconds: i64) -> u32 {
    const FIRST: i64 = 315_532_800; // 1980-01-01
    const LAST: i64 = 4_354_819_198; // 2107-12-31 23:59:58
    let seconds = seconds.clamp(FIRST, LAST);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let date = (year - 1980) << 9 | month << 5 | day;
    let time = (second / 3600) << 11 | (second / 60 % 60) << 5 | (second % 60 / 2);
    u32::try_from(date << 16 | time).unwrap_or(0)
}

/// Year, month and day of a day after 1970-01-01 (Gregorian; years counted from March, so that the leap day is last).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_778), (2026, 11, 21));
        assert_eq!(dos_time(i64::MIN), 1 << 21 | 1 << 16);
        assert_eq!(dos_time(i64::MAX) >> 25, 127);
        let noon = dos_time(951_825_600 + 62);
        assert_eq!((noon >> 25, noon >> 21 & 15, noon >> 16 & 31), (20, 2, 29));
        assert_eq!(noon & 0xffff, 12 << 11 | 1 << 5 | 1);
    }
}
