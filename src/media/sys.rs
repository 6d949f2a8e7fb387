//! System calls that the standard library has not: epoll, eventfd, timerfd, affinity, randomness; datagrams in [`batch`].
//!
//! All `unsafe` of this crate is here and there, each use with its proof; what is exported is safe. Linux only.
#![expect(unsafe_code, reason = "these system calls have no safe wrapper in the standard library")]

use std::{
    fmt, io,
    mem::{self, MaybeUninit},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
    time::Duration,
};

mod batch;
mod segments;

pub use batch::{Batch, Datagram, Onward};
pub use segments::{Inlet, Outlet, coalesce};

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 256;

/// An epoll set of readable descriptors, level-triggered.
pub struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer; a descriptor that is not negative is new and ours.
        let fd = unsafe { owned(libc::epoll_create1(libc::EPOLL_CLOEXEC)) }?;
        Ok(Self { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX] })
    }

    /// Adds a descriptor, which leaves when it is closed.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        // SAFETY: both descriptors are open for the call's length, as their types say; `event` outlives the call.
        let result = unsafe {
            libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event)
        };
        checked(result).map(drop)
    }

    /// Waits for readable descriptors, at most for `timeout` (rounded up to milliseconds), and writes their tokens.
    pub fn wait(&mut self, timeout: Option<Duration>, tokens: &mut Vec<u64>) -> io::Result<()> {
        tokens.clear();
        let timeout =
            timeout.map_or(-1, |span| i32::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX));
        // SAFETY: `events` holds EVENTS_MAX initialised elements, which the kernel may overwrite.
        let result = unsafe {
            libc::epoll_wait(self.fd.as_raw_fd(), self.events.as_mut_ptr(), EVENTS_MAX as i32, timeout)
        };
        let count = match checked(result) {
            Ok(count) => count as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        tokens.extend(self.events[..count].iter().map(|event| event.u64));
        Ok(())
    }
}

/// A counter that wakes an epoll set.
pub struct EventFd(OwnedFd);

impl EventFd {
    /// A new one, not set.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer; a descriptor that is not negative is new and ours.
        unsafe { owned(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)) }.map(Self)
    }

    /// Makes it readable.
    pub fn set(&self) {
        let one = 1u64;
        // SAFETY: eight bytes are read from a live u64. It fails only when the counter is full, thus readable.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// Makes it unreadable.
    pub fn clear(&self) {
        read_u64(&self.0);
    }

    /// For [`Epoll::add`].
    pub fn fd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.0.as_fd()
    }
}

/// A periodic timer on the monotonic clock.
pub struct Ticker(OwnedFd);

impl Ticker {
    /// A new one, stopped.
    pub fn new() -> io::Result<Self> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: takes no pointer; a descriptor that is not negative is new and ours.
        unsafe { owned(libc::timerfd_create(libc::CLOCK_MONOTONIC, flags)) }.map(Self)
    }

    /// Begins to tick every `period` (under a second), first after one period; zero stops it.
    pub fn set(&self, period: Duration) -> io::Result<()> {
        let span = libc::timespec { tv_sec: 0, tv_nsec: i64::from(period.subsec_nanos()) };
        let setting = libc::itimerspec { it_interval: span, it_value: span };
        // SAFETY: `setting` outlives the call; a null pointer asks for no former setting.
        let result =
            unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &raw const setting, ptr::null_mut()) };
        checked(result).map(drop)
    }

    /// Ticks since this was last asked.
    pub fn ticks(&self) -> u64 {
        read_u64(&self.0)
    }

    /// For [`Epoll::add`].
    pub fn fd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.0.as_fd()
    }
}

/// Binds the calling thread to the `place`-th of the processors it may use, counted round.
pub fn pin_to_core(place: usize) -> io::Result<()> {
    let size = mem::size_of::<libc::cpu_set_t>();
    let mut allowed = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: `allowed` has room for `size` bytes; 0 means the calling thread.
    checked(unsafe { libc::sched_getaffinity(0, size, allowed.as_mut_ptr()) })?;
    // SAFETY: all zeroes are a valid set, and the kernel has written into it.
    let allowed = unsafe { allowed.assume_init() };
    let range = 0..libc::CPU_SETSIZE as usize;
    // SAFETY: every index is below CPU_SETSIZE.
    let cores: Vec<usize> = range.filter(|&core| unsafe { libc::CPU_ISSET(core, &allowed) }).collect();
    let core = *cores.get(place % cores.len().max(1)).ok_or(io::ErrorKind::NotFound)?;
    // SAFETY: all zeroes are the empty set; `core` is below CPU_SETSIZE; the set outlives the call.
    let result = unsafe {
        let mut one: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(core, &mut one);
        libc::sched_setaffinity(0, size, &raw const one)
    };
    checked(result).map(drop)
}

/// Processor time of the calling thread.
pub fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Raises the soft limit of open files to the hard one, and returns it.
pub fn raise_file_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives both calls.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above.
    checked(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(limit.rlim_cur)
}

/// Eight unpredictable octets.
pub fn random() -> u64 {
    let mut number = 0u64;
    // SAFETY: eight bytes are written to a live u64. A request this small is never cut short, and fails on no
    // kernel that has epoll_create1's companions in a container's usual filter; zero would still be a valid answer.
    unsafe { libc::getrandom((&raw mut number).cast(), 8, 0) };
    number
}

/// # Safety
/// `fd`, if not negative, is open and owned by nobody else.
unsafe fn owned(fd: i32) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    checked(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn read_u64(fd: &OwnedFd) -> u64 {
    let mut number = 0u64;
    // SAFETY: eight bytes are written to a live u64, or nothing.
    let count = unsafe { libc::read(fd.as_raw_fd(), (&raw mut number).cast(), 8) };
    if count == 8 { number } else { 0 }
}

macro_rules! opaque {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}

opaque! { Epoll EventFd Ticker Batch Onward Inlet Outlet }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_and_a_tick_wake_the_set() {
        let (mut epoll, event, ticker) =
            (Epoll::new().unwrap(), EventFd::new().unwrap(), Ticker::new().unwrap());
        epoll.add(event.fd(), 1).unwrap();
        epoll.add(ticker.fd(), 2).unwrap();
        let mut tokens = Vec::new();
        epoll.wait(Some(Duration::ZERO), &mut tokens).unwrap();
        assert!(tokens.is_empty(), "{tokens:?}");
        event.set();
        epoll.wait(None, &mut tokens).unwrap();
        assert_eq!(tokens, [1]);
        event.clear();
        ticker.set(Duration::from_millis(1)).unwrap();
        epoll.wait(None, &mut tokens).unwrap();
        assert_eq!(tokens, [2]);
        assert!(ticker.ticks() >= 1);
    }

    #[test]
    fn random_numbers_differ() {
        assert_ne!(random(), random());
    }
}
