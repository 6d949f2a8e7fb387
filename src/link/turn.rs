//! A thread's turns on a processor: for those that have little to do at a time, and that calls wait for.
//!
//! All `unsafe` of this crate is here, each use with its proof; what is exported is safe. Linux only.
#![expect(unsafe_code, reason = "these system calls have no safe wrapper in the standard library")]

use std::{io, mem, ptr};

/// Nanoseconds that a thread runs before another has its turn, if it can be chosen (Linux 6.12): it has little to do at a
/// time, and calls wait for it.
const SLICE_NS: u64 = 100_000;

/// As the kernel knows it (sched_setattr(2)).
#[repr(C)]
#[derive(Default)]
struct SchedulingAttributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Asks for the calling thread to be let in soon rather than to run long. An older kernel takes it for nothing; a thread that
/// was put into another class, such as a real-time one, stays there.
///
/// # Errors
/// What the kernel says, such as a filter that forbids it.
pub fn run_soon() -> io::Result<()> {
    // SAFETY: it takes and gives integers; 0 is the calling thread.
    if unsafe { libc::sched_getscheduler(0) } != libc::SCHED_OTHER {
        return Ok(());
    }
    // SAFETY: it takes and gives integers; 0 is the calling thread.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let attributes = SchedulingAttributes {
        nice,
        size: mem::size_of::<SchedulingAttributes>() as u32,
        policy: libc::SCHED_OTHER as u32,
        runtime: SLICE_NS,
        ..SchedulingAttributes::default()
    };
    // SAFETY: the structure is laid out as the kernel's first version of it, `size` says how long it is, and it outlives the
    // call, which only reads it. 0 is the calling thread.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, ptr::from_ref(&attributes), 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
