//! Parameters in PostgreSQL's binary form.

use std::borrow::Cow;

/// What a statement is given; None is NULL.
pub type Parameter<'a> = Option<Cow<'a, [u8]>>;

/// The numbers of types (pg_type.dat).
pub const BOOLS: u32 = 1000;
pub const BYTEA: u32 = 17;
pub const BYTEAS: u32 = 1001;
pub const INT4: u32 = 23;
pub const INT4S: u32 = 1007;
pub const INT8: u32 = 20;
pub const INT8S: u32 = 1016;
const BOOL: u32 = 16;

pub fn int8(number: i64) -> Parameter<'static> {
    Some(Cow::Owned(number.to_be_bytes().into()))
}

pub fn int4(number: i32) -> Parameter<'static> {
    Some(Cow::Owned(number.to_be_bytes().into()))
}

pub fn bytea(bytes: &[u8]) -> Parameter<'_> {
    Some(Cow::Borrowed(bytes))
}

pub fn byteas<'a>(items: impl Iterator<Item = Option<&'a [u8]>>) -> Parameter<'static> {
    Some(Cow::Owned(array(BYTEA, items)))
}

pub fn int8s_or_null(items: impl Iterator<Item = Option<i64>>) -> Parameter<'static> {
    Some(Cow::Owned(array(INT8, items.map(|number| number.map(i64::to_be_bytes)))))
}

pub fn int8s(items: impl Iterator<Item = i64>) -> Parameter<'static> {
    Some(Cow::Owned(array(INT8, items.map(|number| Some(number.to_be_bytes())))))
}

pub fn int4s(items: impl Iterator<Item = i32>) -> Parameter<'static> {
    Some(Cow::Owned(array(INT4, items.map(|number| Some(number.to_be_bytes())))))
}

pub fn bools(items: impl Iterator<Item = bool>) -> Parameter<'static> {
    Some(Cow::Owned(array(BOOL, items.map(|is| Some([u8::from(is)])))))
}

/// One dimension, whose first index is 1; None is NULL. (array_recv in PostgreSQL's arrayfuncs.c.)
fn array<T: AsRef<[u8]>>(kind: u32, items: impl Iterator<Item = Option<T>>) -> Vec<u8> {
    const HEADER: usize = 20;
    let mut bytes = Vec::with_capacity(HEADER + 44);
    bytes.resize(HEADER, 0);
    let (mut count, mut has_null) = (0u32, false);
    for item in items {
        count += 1;
        match item {
            Some(item) => {
                bytes.extend_from_slice(&(item.as_ref().len() as u32).to_be_bytes());
                bytes.extend_from_slice(item.as_ref());
            }
            None => {
                has_null = true;
                bytes.extend_from_slice(&u32::MAX.to_be_bytes());
            }
        }
    }
    let header = [u32::from(count > 0), has_null.into(), kind, count, 1];
    let header: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).collect();
    // One without dimensions ends after its type.
    bytes[..HEADER].copy_from_slice(&header);
    if count == 0 {
        bytes.truncate(12);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_as_the_server_reads_them() {
        assert_eq!(*int4s([].into_iter()).unwrap(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 23]);
        let two = byteas([Some(&b"ab"[..]), None].into_iter()).unwrap();
        let expected: Vec<u8> = [1u32, 1, 17, 2, 1, 2].iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(*two, [&expected[..], b"ab", &[0xff; 4]].concat());
    }
}
