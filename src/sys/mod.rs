//! The few calls of the operating system that the standard library has not got, each behind a safe function.

pub mod birth_mark;
pub mod byte_lock;
pub mod doorbell;
pub mod events;
pub mod futex;
pub mod identity;
pub mod inherited;
pub mod inotify;
#[cfg(feature = "postgres")]
pub mod language;
pub mod mark;
pub mod panics;
#[cfg(any(feature = "postgres", feature = "etcd"))]
pub mod poll;
pub mod reserve;
pub mod segment;
pub mod signals;
#[cfg(feature = "etcd")]
pub mod socket;

use std::{
    ffi::{CStr, CString, OsString},
    fs::{File, Metadata, Permissions},
    io,
    mem::{ManuallyDrop, MaybeUninit},
    os::{
        fd::{AsRawFd, FromRawFd, RawFd},
        unix::{
            ffi::{OsStrExt, OsStringExt},
            fs::{MetadataExt, PermissionsExt, fchown},
        },
    },
    path::Path,
};

/// The inode of the first time namespace: TIME_NS_INIT_INO of linux/nsfs.h.
pub const FIRST_TIME_NAMESPACE: u64 = 0xEFFF_FFFA;

unsafe extern "C" {
    fn secure_getenv(name: *const libc::c_char) -> *mut libc::c_char;
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn checked(rc: libc::c_int) -> io::Result<()> {
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// secure_getenv(3): nothing in a program that runs with more rights than its caller. Empty counts as unset.
pub fn environment(name: &CStr) -> Option<OsString> {
    // SAFETY: the name ends with NUL. The value is copied at once; a host that changes its environment in another
    // thread meanwhile breaks getenv(3)'s own rule, as it would for every library.
    let value = unsafe { secure_getenv(name.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: not NULL, so it points to a string that ends with NUL.
    let bytes = unsafe { CStr::from_ptr(value) }.to_bytes().to_vec();
    (!bytes.is_empty()).then(|| OsString::from_vec(bytes))
}

pub fn is_root() -> bool {
    is_user(0)
}

/// Whether this process acts for that user.
pub fn is_user(user: u32) -> bool {
    // SAFETY: has no preconditions.
    unsafe { libc::geteuid() == user }
}

/// The kind of file system that holds the path: statfs(2)'s f_type.
pub fn filesystem_kind(path: &Path) -> io::Result<u64> {
    let path = c_path(path)?;
    let mut found = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the path ends with NUL and the buffer is of the type that the call fills.
    checked(unsafe { libc::statfs(path.as_ptr(), found.as_mut_ptr()) })?;
    // SAFETY: zeroed memory is a valid statfs, and the call succeeded. The cast keeps the 32 bits of the magic number.
    Ok(unsafe { found.assume_init() }.f_type as u64 & 0xffff_ffff)
}

/// What a file system has left for the path's user.
pub struct Room {
    pub bytes: u64,
    pub all_bytes: u64,
    /// None where files are made as long as there are bytes.
    pub files: Option<u64>,
}

pub fn room(path: &Path) -> io::Result<Room> {
    let path = c_path(path)?;
    let mut found = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path ends with NUL and the buffer is of the type that the call fills.
    checked(unsafe { libc::statvfs(path.as_ptr(), found.as_mut_ptr()) })?;
    // SAFETY: zeroed memory is a valid statvfs, and the call succeeded.
    let found = unsafe { found.assume_init() };
    let files = (found.f_files != 0).then_some(found.f_favail);
    Ok(Room { bytes: found.f_bavail * found.f_frsize, all_bytes: found.f_blocks * found.f_frsize, files })
}

/// Whether the path itself is where something was mounted. Kernels before 5.8 can't tell and say no.
pub fn is_mount_root(path: &Path) -> io::Result<bool> {
    is_mount_root_at(libc::AT_FDCWD, &c_path(path)?, libc::AT_SYMLINK_NOFOLLOW)
}

/// The same for an open file.
pub fn is_mount_point(file: &File) -> io::Result<bool> {
    is_mount_root_at(file.as_raw_fd(), c"", libc::AT_EMPTY_PATH)
}

fn is_mount_root_at(folder: RawFd, path: &CStr, flags: libc::c_int) -> io::Result<bool> {
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path ends with NUL and the buffer is of the type that the call fills.
    checked(unsafe { libc::statx(folder, path.as_ptr(), flags, libc::STATX_BASIC_STATS, found.as_mut_ptr()) })?;
    // SAFETY: zeroed memory is a valid statx, and the call succeeded.
    let found = unsafe { found.assume_init() };
    Ok(found.stx_attributes & found.stx_attributes_mask & libc::STATX_ATTR_MOUNT_ROOT as u64 != 0)
}

/// Whether the file is in procfs.
pub fn is_proc(file: &File) -> io::Result<bool> {
    let mut found = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the buffer is of the type that the call fills.
    checked(unsafe { libc::fstatfs(file.as_raw_fd(), found.as_mut_ptr()) })?;
    // SAFETY: zeroed memory is a valid statfs, and the call succeeded.
    Ok(unsafe { found.assume_init() }.f_type == libc::PROC_SUPER_MAGIC)
}

/// Whether this process is in the first time namespace of all, as the kernel says without /proc.
/// False also if the kernel can't say (before Linux 6.11), or a filter of system calls forbids the
/// question.
pub fn is_in_first_time_namespace() -> io::Result<bool> {
    match time_namespace() {
        Ok(inode) => Ok(inode == FIRST_TIME_NAMESPACE),
        Err(error) => match error.raw_os_error() {
            // The kernel is built without time namespaces.
            Some(libc::EOPNOTSUPP) => Ok(true),
            Some(libc::ENOSYS | libc::ENOTTY | libc::EINVAL | libc::EPERM | libc::EACCES) => Ok(false),
            _ => Err(error),
        },
    }
}

fn time_namespace() -> io::Result<u64> {
    /// _IO(0xFF, 7) of linux/pidfd.h.
    const PIDFD_GET_TIME_NAMESPACE: libc::Ioctl = 0xFF07;
    // SAFETY: takes no pointers, and gives a descriptor that is nobody else's.
    let process = opened(unsafe { libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0) } as RawFd)?;
    // SAFETY: as above.
    let namespace = opened(unsafe { libc::ioctl(process.as_raw_fd(), PIDFD_GET_TIME_NAMESPACE, 0) })?;
    Ok(namespace.metadata()?.ino())
}

/// What a system call that opens something returned.
fn opened(fd: RawFd) -> io::Result<File> {
    let fd = above_standard(fd);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and nobody else's.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Opens a file that is there.
pub fn open(path: &Path, flags: libc::c_int) -> io::Result<File> {
    let path = c_path(path)?;
    // SAFETY: the path ends with NUL.
    opened(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) })
}

/// Opens a file that anybody may have put there: a pipe or a terminal in its place neither blocks nor becomes ours.
pub fn open_for_reading(path: &Path) -> io::Result<File> {
    open(path, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY)
}

/// Keeps a file's inode from being used again for another file, without opening it: closing an O_PATH descriptor drops
/// no locks.
#[derive(Debug)]
pub struct Pin {
    file: ManuallyDrop<File>,
    identity: (u64, u64),
}

impl Pin {
    pub fn of(path: &Path) -> io::Result<Pin> {
        let path = c_path(path)?;
        let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        // SAFETY: the path ends with NUL.
        let file = opened(unsafe { libc::open(path.as_ptr(), flags) })?;
        let found = file.metadata()?;
        Ok(Pin { file: ManuallyDrop::new(file), identity: (found.dev(), found.ino()) })
    }

    pub fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// The host may have closed it, and opened a file of its own under the number.
    fn is_ours(&self) -> bool {
        // SAFETY: the command takes nothing; a bad descriptor is an error.
        let flags = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_GETFL) };
        let found = self.metadata().map(|found| (found.dev(), found.ino()));
        flags >= 0 && flags & libc::O_PATH != 0 && found.is_ok_and(|found| found == self.identity)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if self.is_ours() {
            // SAFETY: dropped here alone, and once.
            unsafe { ManuallyDrop::drop(&mut self.file) };
        }
    }
}

/// Makes an empty file of exactly this mode, whatever the umask, for the owner of another file where
/// this process may give it away. Nobody sees it with another mode or owner, or has locks on it that a
/// close(2) would drop: it gets its name last. False if there is something of that name already.
pub fn make_file(path: &Path, mode: u32, owned_as: Option<&Metadata>) -> io::Result<bool> {
    let unfinished = path.with_file_name(format!(".dss-{:016x}.new", u64::from_ne_bytes(random_bytes()?)));
    let (name, path) = (c_path(&unfinished)?, c_path(path)?);
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the path ends with NUL.
    let file = opened(unsafe { libc::open(name.as_ptr(), flags, mode) });
    let give_away = |file: &File, other: &Metadata| {
        let (user, group) = (Some(other.uid()), Some(other.gid()));
        let _ = fchown(file, user, group).or_else(|_| fchown(file, None, group));
    };
    owned_as.zip(file.as_ref().ok()).into_iter().for_each(|(other, file)| give_away(file, other));
    let set_mode = |file: File| match crate::mutant::on("umask") {
        true => Ok(()),
        false => file.set_permissions(Permissions::from_mode(mode)),
    };
    // SAFETY: the paths end with NUL.
    let made = file.and_then(set_mode).and_then(|()| unsafe { give_name(&name, &path) });
    if made.is_err() {
        // SAFETY: as above. What can't be removed is empty and disturbs nobody.
        unsafe { libc::unlink(name.as_ptr()) };
    }
    match made {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Renames without ever replacing; where the file system can't do that in one step, by a second name for a moment.
///
/// # Safety
/// The paths end with NUL.
unsafe fn give_name(old: &CStr, new: &CStr) -> io::Result<()> {
    let (old, new) = (old.as_ptr(), new.as_ptr());
    // SAFETY: as the caller says.
    unsafe {
        match checked(libc::renameat2(libc::AT_FDCWD, old, libc::AT_FDCWD, new, libc::RENAME_NOREPLACE)) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => {
                checked(libc::link(old, new)).and_then(|()| checked(libc::unlink(old)))
            }
            other => other,
        }
    }
}

/// Fails as an open for reading and writing (a folder: for making files in it) by the effective user would fail.
pub fn check_writable(path: &Path) -> io::Result<()> {
    let folder = path.is_dir();
    let path = c_path(path)?;
    let want = libc::R_OK | libc::W_OK | if folder { libc::X_OK } else { 0 };
    // SAFETY: the path ends with NUL.
    checked(unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), want, libc::AT_EACCESS) })
}

pub fn set_errno(errno: i32) {
    // SAFETY: glibc gives the address of this thread's own errno.
    unsafe { *libc::__errno_location() = errno };
}

/// Moves a descriptor that was just opened out of 0 to 2, which a daemon may have closed and others write to. A failed
/// open (-1) stays one.
pub fn above_standard(fd: RawFd) -> RawFd {
    if !(0..=2).contains(&fd) {
        return fd;
    }
    // SAFETY: both calls take a descriptor that nobody else knows.
    unsafe {
        let high = libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3);
        libc::close(fd);
        high
    }
}

/// Random bytes from the kernel, for what must be unique everywhere.
pub fn random_bytes() -> io::Result<[u8; 8]> {
    let mut bytes = [0u8; 8];
    // SAFETY: the buffer is as long as said. Requests of up to 256 bytes are not cut short, getrandom(2).
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if got == bytes.len() as isize { Ok(bytes) } else { Err(io::Error::last_os_error()) }
}

pub fn host_name() -> String {
    let mut name = [0u8; 256];
    // SAFETY: one byte less than the buffer has, so that it ends with NUL.
    let rc = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    let text = CStr::from_bytes_until_nul(&name).unwrap_or_default().to_string_lossy();
    if rc == 0 && !text.is_empty() { text.into_owned() } else { "unknown".into() }
}

/// Runs these around every fork(2) of the process: before it, then after it in the parent and in the child.
pub fn on_fork(
    prepare: unsafe extern "C" fn(),
    parent: unsafe extern "C" fn(),
    child: unsafe extern "C" fn(),
) -> io::Result<()> {
    // SAFETY: the three functions stay mapped, since the library is linked with -z nodelete.
    match unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// CLOCK_MONOTONIC_COARSE in milliseconds.
pub fn coarse_ms() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills the struct; it can't fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut now) };
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

/// CLOCK_BOOTTIME in microseconds.
pub fn boot_us() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills the struct; it can't fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut now) };
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

/// The reading of the monotonic clock when so much time will have passed.
pub fn monotonic_after(length: std::time::Duration) -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills the struct; it can't fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    let nanoseconds = now.tv_nsec + libc::c_long::from(length.subsec_nanos());
    let seconds = length.as_secs().try_into().unwrap_or(libc::time_t::MAX / 2);
    libc::timespec {
        tv_sec: now.tv_sec.saturating_add(seconds).saturating_add(nanoseconds / 1_000_000_000),
        tv_nsec: nanoseconds % 1_000_000_000,
    }
}

/// A new file, which each call opens anew.
#[cfg(test)]
pub fn file_of_test() -> impl Fn() -> std::fs::File {
    let folder = temp_dir::TempDir::new().unwrap();
    std::fs::File::create(folder.child("file")).unwrap();
    move || std::fs::File::options().read(true).write(true).open(folder.child("file")).unwrap()
}
