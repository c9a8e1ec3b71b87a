//! Numbered fields: the evolvable record encoding of nodes and snapshots.
//!
//! A field is a varint `number << 1 | kind`, then a varint (kind 0) or length-prefixed bytes (kind 1). Numbers never
//! go down within a record; where a number repeats, the fields are a list. A reader keeps what it does not know in
//! [`Unknown`] and a writer puts it back in its place, so an old program that copies a record loses nothing.

use super::cursor::{Cursor, DecodeError, put_bytes, put_varint};

/// One field as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Kind 0.
    Number(u64),
    /// Kind 1.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// Its number, or an error: the field has the wrong kind.
    pub fn number(self, what: &'static str) -> Result<u64, DecodeError> {
        match self {
            Self::Number(value) => Ok(value),
            Self::Bytes(_) => Err(DecodeError { what, offset: 0 }),
        }
    }

    /// Its number as `u32`.
    pub fn number_u32(self, what: &'static str) -> Result<u32, DecodeError> {
        u32::try_from(self.number(what)?).map_err(|_| DecodeError { what, offset: 0 })
    }

    /// Its bytes, at most `limit`.
    pub fn bytes(self, limit: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        match self {
            Self::Bytes(bytes) if bytes.len() <= limit => Ok(bytes),
            _ => Err(DecodeError { what, offset: 0 }),
        }
    }
}

/// Fields that this version does not know, kept as they were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknown(Vec<(u64, Vec<u8>)>);

impl Unknown {
    /// Keeps a field.
    pub fn keep(&mut self, number: u64, value: Value<'_>) {
        let mut raw = Vec::new();
        match value {
            Value::Number(n) => put_number(&mut raw, number, n),
            Value::Bytes(b) => put_field(&mut raw, number, b),
        }
        self.0.push((number, raw));
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes them. All unknown numbers are above the known ones, since fields are only ever added at the end.
    pub fn put(&self, out: &mut Vec<u8>) {
        for (_, raw) in &self.0 {
            out.extend_from_slice(raw);
        }
    }
}

/// Appends a number field.
pub fn put_number(out: &mut Vec<u8>, number: u64, value: u64) {
    put_varint(out, number << 1);
    put_varint(out, value);
}

/// Appends a number field unless the value is 0, the default.
pub fn put_nonzero(out: &mut Vec<u8>, number: u64, value: u64) {
    if value != 0 {
        put_number(out, number, value);
    }
}

/// Appends a bytes field.
pub fn put_field(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put_varint(out, number << 1 | 1);
    put_bytes(out, bytes);
}

/// Appends a bytes field unless it is empty, the default.
pub fn put_nonempty(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_field(out, number, bytes);
    }
}

/// Calls `each(number, value)` for the fields of a record that fills `bytes`.
pub fn read_fields<'a>(
    bytes: &'a [u8],
    mut each: impl FnMut(u64, Value<'a>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let mut last = 0;
    while !cursor.is_empty() {
        let offset = cursor.offset();
        let tag = cursor.varint("field number")?;
        let number = tag >> 1;
        if number < last || number == 0 {
            return Err(cursor.error("field out of order"));
        }
        last = number;
        let value = if tag & 1 == 0 {
            Value::Number(cursor.varint("field value")?)
        } else {
            Value::Bytes(cursor.bytes(bytes.len(), "field bytes")?)
        };
        each(number, value).map_err(|e| DecodeError {
            what: e.what,
            offset: offset + e.offset,
        })?;
    }
    Ok(())
}
