//! Where a folder's file system is mounted from and how, as /proc/self/mountinfo names it (proc(5)).

use std::{
    ffi::OsString,
    fs,
    os::unix::{ffi::OsStringExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

#[derive(Debug, PartialEq, Eq)]
pub struct Mount {
    /// Such as ext4.
    pub kind: String,
    /// Those of the mount and those of the file system.
    pub options: Vec<String>,
}

/// None where /proc does not tell.
pub fn of(folder: &Path) -> Option<Mount> {
    let device = fs::metadata(folder).ok()?.dev();
    find(&fs::read_to_string("/proc/self/mountinfo").ok()?, folder, libc::major(device), libc::minor(device))
}

/// The mount of that device; or, since some file systems show another device there, the last one over the folder.
fn find(mounts: &str, folder: &Path, major: u32, minor: u32) -> Option<Mount> {
    let device = format!("{major}:{minor}");
    let of_device = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&device));
    let over = |line: &&str| line.split(' ').nth(4).map(unescaped).filter(|point| folder.starts_with(point));
    let length = |line: &&str| over(line).map_or(0, |point| point.as_os_str().len());
    let line = of_device.or_else(|| mounts.lines().filter(|line| over(line).is_some()).max_by_key(length))?;
    let (mount, system) = line.split_once(" - ")?;
    let (own, mut system) = (mount.split(' ').nth(5)?, system.split(' '));
    let (kind, options) = (system.next()?.to_owned(), system.nth(1).unwrap_or_default());
    Some(Mount { kind, options: own.split(',').chain(options.split(',')).map(str::to_owned).collect() })
}

/// White space and backslashes stand there as three octal digits.
fn unescaped(path: &str) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::new(), path.as_bytes());
    while let Some((first, others)) = rest.split_first() {
        let digits = others.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &others[3..] } else { others };
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,nobarrier\n\
                          23 22 0:40 / /srv/two\\040words rw shared:2 - btrfs /dev/sdb ssd,subvol=/\n";

    #[test]
    fn a_mount_is_found_by_its_device_or_its_path() {
        let kind = |path: &str, major, minor| find(MOUNTS, Path::new(path), major, minor).unwrap().kind;
        assert_eq!(kind("/x", 8, 1), "ext4");
        assert_eq!(kind("/srv/two words/locks", 9, 9), "btrfs");
        assert_eq!(kind("/srv/two", 9, 9), "ext4");
        let options = find(MOUNTS, Path::new("/"), 8, 1).unwrap().options;
        assert!(
            options.iter().any(|option| option == "nobarrier") && options.iter().any(|option| option == "relatime")
        );
    }
}
