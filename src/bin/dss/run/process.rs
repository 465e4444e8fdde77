//! Processes, signals and the memory that two of them share.

use super::watcher::IDLE;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io, mem,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::Command,
    ptr,
    sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering},
    thread,
    time::Duration,
};

// ---- What the two processes share ----

struct Memory {
    /// Until when the locks are held, on the clock of boot_us().
    deadline_us: AtomicI64,
    /// Since when one of them is known to be lost; 0: none is.
    lost_us: AtomicI64,
    child: AtomicU32,
    /// The watcher has stopped the command, or asked it to end.
    stopped: AtomicBool,
}

pub struct Shared {
    memory: &'static Memory,
    ttl_us: i64,
    /// Whether the command is asked before it is killed; None: it is left alone.
    asks: Option<bool>,
}

/// The parts of a lease that are left when the command is asked to end, and when it is killed.
const ASKED_AT: i64 = 6;
const KILLED_AT: i64 = 12;

impl Shared {
    pub fn new(ttl_ms: u64, asks: Option<bool>) -> io::Result<Shared> {
        let (size, protection) = (mem::size_of::<Memory>(), libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a fresh mapping, which nothing else knows. It is never unmapped, and all zeros is a valid Memory.
        let memory = unsafe {
            let address = libc::mmap(ptr::null_mut(), size, protection, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0);
            if address == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            &*address.cast::<Memory>()
        };
        memory.deadline_us.store(i64::MAX, Ordering::SeqCst);
        Ok(Shared { memory, ttl_us: ttl_ms as i64 * 1000, asks })
    }

    pub fn set_deadline(&self, deadline_us: i64) {
        self.memory.deadline_us.store(deadline_us, Ordering::SeqCst);
    }

    pub fn lose(&self) {
        let _ = self.memory.lost_us.compare_exchange(0, boot_us(), Ordering::SeqCst, Ordering::SeqCst);
    }

    pub fn set_child(&self, child: u32) {
        self.memory.child.store(child, Ordering::SeqCst);
    }

    pub fn child(&self) -> Option<u32> {
        Some(self.memory.child.load(Ordering::SeqCst)).filter(|child| *child != 0)
    }

    pub fn note_stopped(&self) {
        self.memory.stopped.store(true, Ordering::SeqCst);
    }

    pub fn was_stopped(&self) -> bool {
        self.memory.stopped.load(Ordering::SeqCst)
    }

    /// When the command is asked to end, and when it is killed.
    fn ends_us(&self) -> (i64, i64) {
        let deadline_us = self.memory.deadline_us.load(Ordering::SeqCst);
        let (asked, killed) =
            (deadline_us.saturating_sub(self.ttl_us / ASKED_AT), deadline_us.saturating_sub(self.ttl_us / KILLED_AT));
        match self.memory.lost_us.load(Ordering::SeqCst) {
            0 => (asked, killed),
            lost_us => (asked.min(lost_us), killed.min(lost_us + self.ttl_us / KILLED_AT)),
        }
    }

    pub fn should_end(&self) -> bool {
        self.asks == Some(true) && boot_us() >= self.ends_us().0
    }

    pub fn must_be_dead(&self) -> bool {
        self.asks.is_some() && boot_us() >= self.ends_us().1
    }

    /// How long the watcher may sleep.
    pub fn until_something_is_due(&self, runs: bool) -> Duration {
        let (asked, killed) = self.ends_us();
        let next = if runs && self.asks == Some(true) { asked } else { killed };
        let left_us = next.saturating_sub(boot_us());
        // Those who are killed are gone within a few milliseconds.
        Duration::from_micros(left_us.max(5000) as u64).min(IDLE)
    }
}

/// The clock of leases: it goes on while the machine sleeps.
pub fn boot_us() -> i64 {
    // SAFETY: the kernel fills the struct, which is ours.
    let now = unsafe {
        let mut now: libc::timespec = mem::zeroed();
        libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut now);
        now
    };
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

// ---- Signals ----

pub struct Signal {
    pub number: i32,
    /// Of the terminal, and not of a process.
    pub is_of_kernel: bool,
}

/// Signals that are read instead of handled.
pub struct Signals(OwnedFd);

impl Signals {
    /// Those that are for the command.
    pub fn of_the_command() -> io::Result<Signals> {
        let signals = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];
        Signals::new(&signals, &signals)
    }

    /// Of the watcher, which nothing but SIGKILL ends before the command has ended. It stops with its process group (Ctrl-Z).
    pub fn of_children() -> io::Result<Signals> {
        let stopping = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU, libc::SIGCONT];
        let blocked: Vec<i32> = (1..=libc::SIGRTMAX()).filter(|signal| !stopping.contains(signal)).collect();
        Signals::new(&[libc::SIGCHLD], &blocked)
    }

    fn new(read: &[i32], blocked: &[i32]) -> io::Result<Signals> {
        let set = |signals: &[i32]| {
            // SAFETY: the set is ours, and emptied before it is used.
            unsafe {
                let mut set: libc::sigset_t = mem::zeroed();
                libc::sigemptyset(&mut set);
                for signal in signals {
                    libc::sigaddset(&mut set, *signal);
                }
                set
            }
        };
        // SAFETY: both sets are ours; the descriptor is new, and owned from here on.
        unsafe {
            libc::sigprocmask(libc::SIG_BLOCK, &set(blocked), ptr::null_mut());
            let fd = libc::signalfd(-1, &set(read), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(Signals(OwnedFd::from_raw_fd(fd))) }
        }
    }

    /// One that has come.
    pub fn next(&self) -> io::Result<Signal> {
        // SAFETY: the kernel fills the struct, which is ours.
        unsafe {
            let mut info: libc::signalfd_siginfo = mem::zeroed();
            let size = mem::size_of_val(&info);
            if libc::read(self.0.as_raw_fd(), (&raw mut info).cast(), size) != size as isize {
                return Err(io::Error::last_os_error());
            }
            Ok(Signal { number: info.ssi_signo as i32, is_of_kernel: info.ssi_code == libc::SI_KERNEL })
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

pub fn send(process: u32, signal: i32) {
    // SAFETY: the call has no conditions.
    unsafe { libc::kill(process as i32, signal) };
}

/// Waits until one of these can be read, or for so long; says which.
pub fn wait(fds: &[BorrowedFd<'_>], longest: Duration) -> io::Result<Vec<bool>> {
    let poll = |fd: &BorrowedFd<'_>| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut polled: Vec<libc::pollfd> = fds.iter().map(poll).collect();
    // SAFETY: the array is ours and as long as said.
    let rc = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as _, longest.as_millis().max(1) as i32) };
    match rc {
        -1 if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted => Err(io::Error::last_os_error()),
        -1 => Ok(vec![false; fds.len()]),
        _ => Ok(polled.iter().map(|fd| fd.revents != 0).collect()),
    }
}

// ---- Processes ----

/// True in the parent. To be called while there is one thread.
pub fn fork() -> io::Result<bool> {
    // SAFETY: there is one thread, so the child can do what the parent could.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(false),
        _ => Ok(true),
    }
}

/// Descendants whose parents end become children of this process: so none of them is lost from sight.
pub fn adopt_orphans() -> io::Result<()> {
    // SAFETY: the call has no conditions.
    if unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The new process is killed when this one, its parent, ends in whatever way.
pub fn end_with_parent(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: between fork and exec it makes nothing but system calls.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
            let mut none: libc::sigset_t = mem::zeroed();
            libc::sigemptyset(&mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut());
            // It may have ended before that was said.
            if libc::getppid() != parent as i32 {
                libc::_exit(1);
            }
            Ok(())
        });
    }
}

/// Takes note of the ends of orphans, but not of the command's.
pub fn reap_orphans(command: u32) {
    for process in Descendants::of_this_process().children {
        if process != command {
            // SAFETY: it waits for a child of ours, and keeps nothing.
            unsafe { libc::waitpid(process as i32, ptr::null_mut(), libc::WNOHANG) };
        }
    }
}

/// The processes that this one has started, and all that these have.
pub struct Descendants {
    children: BTreeSet<u32>,
    all: BTreeSet<u32>,
}

impl Descendants {
    /// As the kernel lists them, which takes no look at the other processes of the machine; some may be left out while others end
    /// (proc(5)). Where it has no such list, they are searched for.
    pub fn of_this_process() -> Descendants {
        let own = std::process::id();
        if !Path::new(&format!("/proc/{own}/task/{own}/children")).exists() {
            return Descendants::searched();
        }
        Descendants::below(|process| {
            let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
            let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
            lists
                .flat_map(|list| list.split_whitespace().filter_map(|it| it.parse().ok()).collect::<Vec<u32>>())
                .collect()
        })
    }

    /// None is left out, as all processes are looked at: on a busy machine that takes long.
    fn searched() -> Descendants {
        let mut children_of: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        for process in processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
            if let Some(parent) = parent_of(process) {
                children_of.entry(parent).or_default().insert(process);
            }
        }
        Descendants::below(|process| children_of.get(&process).cloned().unwrap_or_default())
    }

    fn below(children_of: impl Fn(u32) -> BTreeSet<u32>) -> Descendants {
        let children = children_of(std::process::id());
        let (mut all, mut left) = (BTreeSet::new(), children.clone());
        while let Some(process) = left.pop_first() {
            if all.insert(process) {
                left.extend(children_of(process));
            }
        }
        Descendants { children, all }
    }

    pub fn signal(&self, signal: i32) {
        self.all.iter().for_each(|process| send(*process, signal));
    }

    /// Kills all, and those whom they start meanwhile, until a search finds none but the command, which its parent waits for. Where
    /// many commands lose their locks at the same time, that search comes late: so those that are listed go first.
    pub fn kill_all() {
        Descendants::of_this_process().signal(libc::SIGKILL);
        for _ in 0..200 {
            let left = Descendants::searched();
            left.signal(libc::SIGKILL);
            if left.all.iter().all(|process| is_dead(*process)) {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The fields of /proc/N/stat after the name, which is in brackets.
fn stat_of(process: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.to_owned())
}

fn parent_of(process: u32) -> Option<u32> {
    stat_of(process)?.split(' ').nth(1)?.parse().ok()
}

fn is_dead(process: u32) -> bool {
    stat_of(process).is_none_or(|stat| stat.starts_with(['Z', 'X']))
}
