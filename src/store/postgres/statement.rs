//! Statements that each connection prepares once.

use crate::mutant;
use std::ffi::CString;

/// A statement, and the name under which a connection prepares it. The name is a hash of the
/// complete text and the types of the parameters. Behind a pooler, clients share the server's
/// connections: other stores of the role, other versions of libdss. So if the server has a
/// statement of this name already, it must be the same statement.
pub struct Statement {
    pub id: u128,
    pub name: CString,
    pub sql: CString,
    pub types: &'static [u32],
}

impl Statement {
    pub fn new(sql: &str, types: &'static [u32]) -> Statement {
        let text = if mutant::on("statement_text_not_in_name") { "" } else { sql };
        // A text holds no NUL, so the types begin behind the first one.
        let id = fnv_1a(text.bytes().chain([0]).chain(types.iter().flat_map(|oid| oid.to_be_bytes())));
        let c_string = |text: &str| CString::new(text).unwrap_or_default();
        Statement { id, name: c_string(&format!("dss_{id:032x}")), sql: c_string(sql), types }
    }
}

/// FNV-1a of 128 bits (RFC 9923). It is the same in every process and version.
fn fnv_1a(bytes: impl Iterator<Item = u8>) -> u128 {
    const START: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.fold(START, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(fnv_1a(b"".iter().copied()), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fnv_1a(b"a".iter().copied()), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }

    /// Two stores of one database had statements of the same names, and through a pooler one store
    /// read the other one's locks.
    #[test]
    fn a_name_holds_the_text_and_the_types() {
        let name = |sql, types| Statement::new(sql, types).name;
        let base = name("SELECT a.look($1)", &[17]);
        assert_eq!(base, name("SELECT a.look($1)", &[17]));
        assert_ne!(base, name("SELECT b.look($1)", &[17]));
        assert_ne!(base, name("SELECT a.look($1)", &[20]));
        assert_ne!(base, name("SELECT a.look($1)", &[17, 17]));
        // PostgreSQL cuts a longer name off.
        assert!(base.as_bytes().len() < 64);
    }
}
