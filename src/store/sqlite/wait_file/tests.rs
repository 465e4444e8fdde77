//! What others do to the file, and who shares the segment.

use super::*;
use std::{fs::Permissions, os::unix::fs::PermissionsExt};
use temp_dir::TempDir;

fn found(folder: &Path) -> Place {
    Place::find(&folder.join("x.db"), 0o640).unwrap()
}

fn followed(place: &Place) -> WaitFile {
    let mut file = WaitFile::open(place);
    file.waiters();
    file
}

fn record(file: &WaitFile) -> Option<Record> {
    file.shared.as_ref().map(|shared| shared.record)
}

/// The file was mapped once: who cut it short, or filled the disk under it, ended all who waited.
#[test]
fn what_is_done_to_the_content_is_mended() {
    let folder = TempDir::new().unwrap();
    let mut one = followed(&found(folder.path()));
    for content in [&b""[..], b"nonsense", &[7; 4096]] {
        fs::write(&one.path, content).unwrap();
        let late = followed(&found(folder.path()));
        assert_eq!(record(&late), None, "it can't know the segment, and makes no other one");
        one.follow();
        assert_eq!(record(&followed(&found(folder.path()))), record(&one));
        // The file is not read again for a while, until it changes.
        thread::sleep(Duration::from_millis(30));
        one.follow();
        assert!(one.shared.as_ref().is_some_and(|shared| shared.seen.is_some()));
    }
}

/// Of two libraries of different versions on one store, each would read the other's memory by
/// its own layout.
#[test]
fn a_file_of_another_version_is_left_to_those_who_use_it() {
    let folder = TempDir::new().unwrap();
    let newer = followed(&found(folder.path()));
    let mut content = fs::read(&newer.path).unwrap();
    content[..8].copy_from_slice(b"dsswait9");
    fs::write(&newer.path, &content).unwrap();
    let mut older = followed(&found(folder.path()));
    assert!(record(&older).is_none() && older.publications().is_none());
    assert_eq!(fs::read(&newer.path).unwrap(), content);
    drop(newer);
    older.follow();
    assert!(record(&older).is_some());
}

#[test]
fn a_segment_that_nobody_uses_is_made_anew() {
    let folder = TempDir::new().unwrap();
    let one = followed(&found(folder.path()));
    let former = record(&one);
    drop(one);
    let other = followed(&found(folder.path()));
    assert!(former.is_some() && record(&other).is_some() && record(&other) != former);
}

#[test]
fn two_of_a_store_share_it_and_follow_its_removal() {
    let folder = TempDir::new().unwrap();
    let (mut one, mut other) = (WaitFile::open(&found(folder.path())), WaitFile::open(&found(folder.path())));
    assert!(one.shared.is_none() && !one.path.exists());
    one.waiters();
    other.waiters();
    assert!(record(&one).is_some() && record(&one) == record(&other));
    assert_eq!(fs::metadata(&one.path).unwrap().mode() & 0o777, 0o640);
    fs::remove_file(&one.path).unwrap();
    other.follow();
    one.follow();
    assert!(record(&one).is_some() && record(&one) == record(&other));
    one.remove();
    assert!(!other.path.exists());
}

/// In a folder that all may write to, a stranger's file under this name is not used.
#[test]
fn a_file_that_others_could_write_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let place = found(folder.path());
    let path = side_file(&place.path, "-wait");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    assert_eq!(record(&followed(&place)), None);
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(folder.path().join("x.db"), &path).unwrap();
    assert_eq!(record(&followed(&place)), None);
}
