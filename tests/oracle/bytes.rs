//! How numbers, byte strings and numbered fields are read (docs/format.md, its opening and section 8).

/// Reads from the front of a slice; what is not there is a panic, and so a failed test.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().unwrap()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    pub(crate) fn varint(&mut self) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = self.byte();
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                assert!(byte > 0 || shift == 0, "not the shortest form");
                return value;
            }
        }
        unreachable!()
    }

    pub(crate) fn size(&mut self) -> usize {
        usize::try_from(self.varint()).unwrap()
    }

    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let len = self.size();
        self.take(len)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The numbered fields of a record.
pub(crate) struct Fields<'a> {
    numbers: Vec<(u64, u64)>,
    bytes: Vec<(u64, &'a [u8])>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(record: &'a [u8]) -> Self {
        let mut bytes = Bytes(record);
        let mut fields = Self {
            numbers: Vec::new(),
            bytes: Vec::new(),
        };
        let mut last = 0;
        while !bytes.is_empty() {
            let tag = bytes.varint();
            let number = tag >> 1;
            assert!(number >= last, "field {number} after {last}");
            last = number;
            if tag & 1 == 0 {
                fields.numbers.push((number, bytes.varint()));
            } else {
                fields.bytes.push((number, bytes.bytes()));
            }
        }
        fields
    }

    /// A field of kind 0; 0 where it is left out.
    pub(crate) fn number(&self, number: u64) -> u64 {
        let found = self.numbers.iter().find(|(n, _)| *n == number);
        found.map_or(0, |(_, value)| *value)
    }

    /// A field of kind 1; empty where it is left out.
    pub(crate) fn bytes(&self, number: u64) -> &'a [u8] {
        self.list(number).next().unwrap_or_default()
    }

    /// All fields of kind 1 with that number.
    pub(crate) fn list(&self, number: u64) -> impl Iterator<Item = &'a [u8]> {
        let found = self.bytes.iter().filter(move |(n, _)| *n == number);
        found.map(|(_, value)| *value)
    }

    /// A time: zigzag seconds, then nanoseconds; `None` where it is left out.
    pub(crate) fn time(&self, number: u64) -> Option<(i64, u32)> {
        let field = self.bytes(number);
        if field.is_empty() {
            return None;
        }
        let mut bytes = Bytes(field);
        let zigzag = bytes.varint();
        let seconds = (zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed());
        let nanoseconds = u32::try_from(bytes.varint()).unwrap();
        assert!(bytes.is_empty() && nanoseconds < 1_000_000_000);
        Some((seconds, nanoseconds))
    }
}
