//! What differs on a terminal, in a real pseudo-terminal.

use super::{command, dss, each_store, wait_until};
use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, Command},
    ptr,
    sync::{Arc, Mutex},
    thread,
};

/// A command at a terminal of its own, and what it shows.
struct Terminal {
    child: Child,
    keys: File,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn start(mut command: Command, columns: u16) -> Terminal {
        let (mut ours, mut theirs) = (-1, -1);
        let size = libc::winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: both numbers are ours; the size is only read.
        let rc = unsafe { libc::openpty(&mut ours, &mut theirs, ptr::null_mut(), ptr::null(), &size) };
        assert_eq!(rc, 0);
        // SAFETY: the descriptors are new, and owned from here on.
        let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
        let end = || theirs.try_clone().unwrap();
        command.stdin(end()).stdout(end()).stderr(end()).env("TERM", "xterm").env_remove("NO_COLOR");
        // SAFETY: between fork and exec it makes nothing but system calls.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        drop((command, theirs));
        let (keys, shown) = (File::from(ours), Arc::new(Mutex::new(Vec::new())));
        let (mut screen, seen) = (keys.try_clone().unwrap(), shown.clone());
        // It ends when nobody has the other end any more.
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                seen.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Terminal { child, keys, shown }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).replace("\r\n", "\n")
    }

    #[track_caller]
    fn wait_for(&self, what: &str) {
        wait_until(what, || self.text().contains(what));
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn end(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let status = self.child.wait().unwrap();
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
    }
}

#[test]
fn cleaning_asks_and_takes_no_for_an_answer() {
    each_store(|store| {
        dss(&store.uri, &["lock", "scratch/1", "scratch/2"]).ok();
        for (answer, code, left) in
            [("n\n", 130, "scratch/1\nscratch/2\n"), ("\n", 130, "scratch/1\nscratch/2\n"), ("y\n", 0, "")]
        {
            let mut terminal = Terminal::start(command(&store.uri, &["clean", "scratch/"]), 100);
            terminal.wait_for("Remove these 2 locks? [y/N]");
            assert!(terminal.text().contains("scratch/2"));
            terminal.press(answer);
            assert_eq!(terminal.end(), code, "{answer:?}");
            assert_eq!(dss(&store.uri, &["--quiet", "list"]).out, left);
        }
    });
}

#[test]
fn a_table_fits_the_terminal_and_has_colours_there_alone() {
    each_store(|store| {
        let long = "a note that is far too long for the terminal, and goes on and on and on and on";
        dss(&store.uri, &["lock", "drive with quite a long name", "--note", long, "--ttl", "1h"]).ok();
        let plain = dss(&store.uri, &["list"]).ok();
        assert!(plain.contains(long) && !plain.contains('\x1b'));
        for columns in [120, 80, 60] {
            let mut terminal = Terminal::start(command(&store.uri, &["list"]), columns);
            assert_eq!(terminal.end(), 0);
            terminal.wait_for("drive");
            let text = terminal.text();
            assert!(text.contains("\x1b[1m"), "{text}");
            for line in text.replace("\x1b[1m", "").replace("\x1b[0m", "").lines() {
                assert!(line.chars().count() <= usize::from(columns), "{columns}: {line}");
            }
            let mut command = command(&store.uri, &["list"]);
            command.env("NO_COLOR", "1");
            let mut terminal = Terminal::start(command, columns);
            assert_eq!(terminal.end(), 0);
        }
    });
}

/// Whoever presses Ctrl-C while waiting has no lock afterwards, and no trace of one.
#[test]
fn control_c_ends_a_wait() {
    each_store(|store| {
        dss(&store.uri, &["lock", "a", "--owner", "ann"]).ok();
        for arguments in [&["lock", "a", "b"][..], &["run", "-l", "a", "-l", "b", "--", "true"]] {
            let mut terminal = Terminal::start(command(&store.uri, arguments), 80);
            // It has begun to wait when its store is open; a moment earlier it would be the same.
            thread::sleep(std::time::Duration::from_millis(200));
            terminal.press("\x03");
            assert_eq!(terminal.end(), 130, "{}", terminal.text());
        }
        assert_eq!(dss(&store.uri, &["--quiet", "list"]).ok(), "a\n");
    });
}

/// The terminal sends SIGINT to the whole group: the command gets it once, and decides.
#[test]
fn control_c_is_for_the_command_that_runs() {
    each_store(|store| {
        // A shell is no good here: it may be between two commands, and dash loses what comes then.
        let script = "$SIG{INT} = sub { $times++ }; $| = 1; print \"ready\\n\"; sleep 1 for 1 .. 3; \
                      print \"caught $times\\n\"; exit 3";
        let mut terminal = Terminal::start(command(&store.uri, &["run", "-l", "a", "--", "perl", "-e", script]), 80);
        terminal.wait_for("ready");
        terminal.press("\x03");
        assert_eq!(terminal.end(), 3);
        terminal.wait_for("caught 1\n");
        dss(&store.uri, &["status", "a"]).fails(3, "a");
    });
}

#[test]
fn a_list_that_is_watched_is_shown_in_place() {
    each_store(|store| {
        let mut terminal = Terminal::start(command(&store.uri, &["list", "--watch=50ms"]), 100);
        terminal.wait_for("0 locks");
        dss(&store.uri, &["lock", "drive"]).ok();
        terminal.wait_for("1 locks");
        terminal.wait_for("drive");
        assert!(terminal.text().contains("\x1b[H\x1b[2J"));
        terminal.press("\x03");
        assert_eq!(terminal.end(), 130);
    });
}

/// A lock without a lease stays when its script dies, and people who try the command out did not
/// know.
#[test]
fn a_person_is_told_of_a_lock_that_stays() {
    each_store(|store| {
        let at_terminal = |arguments: &[&str]| -> String {
            let mut terminal = Terminal::start(command(&store.uri, arguments), 200);
            assert_eq!(terminal.end(), 0);
            wait_until("the end of the screen", || Arc::strong_count(&terminal.shown) == 1);
            terminal.text()
        };
        let said = at_terminal(&["lock", "a", "b"]);
        assert_eq!(said.matches("--ttl TIME").count(), 1, "{said}");
        for silent in [&["lock", "c", "--ttl", "1h"][..], &["-q", "lock", "d"], &["--json", "lock", "e"]] {
            let said = at_terminal(silent);
            assert!(!said.contains("--ttl"), "{silent:?}: {said}");
        }
        assert!(!dss(&store.uri, &["lock", "f"]).err.contains("--ttl"), "nobody reads it");
    });
}
