//! Whether the keys below a prefix are a store of this version.

use super::{
    api::{Pair, Txn},
    codec::{self, Keys},
    http::{Client, Repeat},
};
use crate::{
    model::error::{Code, Error, Shown},
    store::contract::{Missing, no_store},
};
use std::time::Instant;

/// Looks whether the keys below the prefix are a store of ours. Where there is none of its keys it
/// makes them one, or refuses to; true if this made it.
pub fn check(client: &Client, keys: &Keys, prefix: &str, missing: Missing, deadline: Instant) -> Result<bool, Error> {
    if look(client, keys, prefix, deadline)? {
        return Ok(false);
    }
    if missing == Missing::Refuse {
        return Err(no_store(&format!("prefix {prefix}/ of etcd at {}", client.endpoint())));
    }
    let key = keys.store();
    let mut make = Txn::default();
    make.if_modified(&key, 0);
    for all in keys.kinds() {
        make.if_none(&all, &codec::end_of(&all));
    }
    make.put(&key, codec::FORMAT, 0);
    make.else_get(&key);
    let made = client.read(&make, deadline).map_err(|trouble| trouble.error())?;
    if made.succeeded {
        return Ok(true);
    }
    judge(first_value(&made.found), prefix, client.endpoint()).map(|()| false)
}

/// Whether there is a store of ours; it is not made.
pub fn look(client: &Client, keys: &Keys, prefix: &str, deadline: Instant) -> Result<bool, Error> {
    let mut look = Txn::default();
    look.get(&keys.store());
    let found = client.read_again(&look, Repeat::WhileSilent, deadline).map_err(|trouble| trouble.error())?.found;
    let Some(value) = first_value(&found) else { return Ok(false) };
    judge(Some(value), prefix, client.endpoint()).map(|()| true)
}

fn first_value(found: &[Vec<Pair>]) -> Option<&[u8]> {
    found.first().and_then(|pairs| pairs.first()).map(|pair| &pair.value[..])
}

/// What the key `store` holds, where it or another key of a store is there.
fn judge(value: Option<&[u8]>, prefix: &str, endpoint: &str) -> Result<(), Error> {
    let (name, version) = codec::FORMAT.split_at(4);
    let not_ours = |why: String| {
        let text = format!(
            "the keys below {prefix}/ of etcd at {endpoint} are not a dss store's ({why}): choose another prefix"
        );
        Err(Error::new(Code::NotAStore, text))
    };
    let Some(value) = value else { return not_ours(format!("there are some, but no {prefix}/store")) };
    if value == codec::FORMAT {
        return Ok(());
    }
    let number = |text: &&[u8]| *text != version && !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    match value.strip_prefix(name).filter(number) {
        Some(newer) => {
            let newer = Shown(newer);
            let text = format!(
                "the store {prefix}/ of etcd at {endpoint} has format {newer}, of a newer libdss: use that one"
            );
            Err(Error::new(Code::Unsupported, text))
        }
        None => not_ours(format!("{prefix}/store holds \"{}\"", Shown(&value[..value.len().min(40)]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart() {
        let code = |value: Option<&[u8]>| judge(value, "p", "h:1").map_err(|error| error.code);
        assert_eq!(code(Some(codec::FORMAT)), Ok(()));
        assert_eq!(code(Some(b"dss 2")), Err(Code::Unsupported));
        for value in [None, Some(&b""[..]), Some(b"dss "), Some(b"dss x"), Some(b"dss"), Some(b"apples")] {
            assert_eq!(code(value), Err(Code::NotAStore), "{value:?}");
        }
    }
}
