//! Network file systems, on which SQLite's locks do not hold.

use super::{
    mount,
    paths::{PathText, at},
};
use crate::{
    model::error::{Code, Error},
    mutant, sys,
};
use std::path::Path;

/// File systems whose locks or shared memory do not hold between hosts; statfs(2) and linux/magic.h have the numbers.
const NETWORK: &[(u64, &str)] = &[
    (0x6969, "NFS"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x517b, "SMB"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x564c, "NCP"),
    (0x7461_636f, "OCFS2"),
    (0x0116_1970, "GFS2"),
    (0x1983_0326, "BeeGFS"),
    (0x2003_0528, "OrangeFS"),
    (0xaad7_aaea, "PanFS"),
    (0x786f_4256, "a VirtualBox shared folder"),
];
const FUSE: u64 = 0x6573_5546;
/// FUSE file systems of one host; any other may be remote.
const LOCAL_FUSE: &[&str] = &["fuseblk", "fuse.fuse-overlayfs"];

/// Refuses a folder on a file system of many hosts.
pub fn refuse(folder: &Path) -> Result<(), Error> {
    let kind = sys::filesystem_kind(folder).map_err(|error| at(folder, "can't be looked at", &error))?;
    let name = match NETWORK.iter().find(|(magic, _)| *magic == kind) {
        Some((_, name)) => (*name).to_owned(),
        None if kind == FUSE => match mount::of(folder).map(|mount| mount.kind) {
            Some(name) if LOCAL_FUSE.contains(&name.as_str()) => return Ok(()),
            name => name.unwrap_or_else(|| "FUSE".into()),
        },
        None => return Ok(()),
    };
    if mutant::on("network_fs") {
        return Ok(());
    }
    let text = format!(
        "{} is on {name}, a network file system, where SQLite's locks do not hold: use a local folder, or PostgreSQL \
         (postgresql://...) or etcd (etcd://...) for locks of many hosts",
        folder.shown()
    );
    Err(Error::new(Code::Network, text))
}
