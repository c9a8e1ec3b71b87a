//! Names and numbers of users and groups, as `/etc/passwd` and `/etc/group` have them.

/// The accounts in `text`: lines of `name:password:number:...`. What is no such line is skipped.
///
/// Other name services are not consulted: that takes the C library's resolver, which loads foreign code into the process, and a
/// directory server that hangs would hang a backup.
pub fn accounts(text: &[u8]) -> impl Iterator<Item = (&[u8], u32)> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        let number = std::str::from_utf8(number).ok()?.parse().ok()?;
        (!name.is_empty()).then_some((name, number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_skipped() {
        let text = b"root:x:0:0::/root:/bin/sh\n# c\n\n+nis\nb\xffd:x:7:\nbad:x:y\n:x:8:8\nbig:x:4294967296:\n";
        let found: Vec<_> = accounts(text).collect();
        assert_eq!(found, [(b"root".as_slice(), 0), (b"b\xffd", 7)]);
    }
}
