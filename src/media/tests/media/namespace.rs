//! Network namespaces of the calling thread, which what it starts inherits.
#![expect(unsafe_code, reason = "these system calls have no safe wrapper in the standard library")]

use std::{fs::File, io, os::fd::AsRawFd};

/// The namespace that the thread is in.
pub fn current() -> File {
    File::open("/proc/thread-self/ns/net").unwrap()
}

/// Puts the thread into a new one; refused to whoever is not root.
pub fn leave() -> io::Result<()> {
    // SAFETY: takes no pointer, and changes which network this thread sees alone.
    checked(unsafe { libc::unshare(libc::CLONE_NEWNET) })
}

/// Puts the thread into that one.
pub fn enter(namespace: &File) -> io::Result<()> {
    // SAFETY: takes no pointer; the descriptor is open for the call's length.
    checked(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) })
}

fn checked(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
