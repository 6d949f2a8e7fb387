//! System calls that the standard library has not: epoll, eventfd, timerfd, recvmmsg, affinity, randomness.
//!
//! All `unsafe` of this crate is here, each use with its proof; what is exported is safe. Linux only.
#![expect(unsafe_code, reason = "these system calls have no safe wrapper in the standard library")]

use std::{
    fmt, io,
    mem::{self, MaybeUninit},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
    time::Duration,
};

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

/// Datagrams taken from a socket at once.
const BATCH: usize = 8;
/// Octets of a datagram that are taken; a longer one is told as truncated.
const DATAGRAM_MAX: usize = 2_048;

/// Room for the datagrams of one `recvmmsg`, shared by all sockets of a worker.
pub struct Batch {
    slots: Box<[Slot; BATCH]>,
}

struct Slot {
    buffer: [u8; DATAGRAM_MAX],
    address: libc::sockaddr_storage,
    length: usize,
    truncated: bool,
}

/// One datagram of a batch.
pub struct Datagram<'a> {
    /// Where it lies, with room behind it.
    pub buffer: &'a mut [u8],
    /// How long it is.
    pub length: usize,
    /// Who sent it.
    pub from: SocketAddr,
}

impl Batch {
    /// Empty.
    pub fn new() -> Self {
        // SAFETY: sockaddr_storage is plain C data for which all zeroes are valid: the unspecified family.
        let address: libc::sockaddr_storage = unsafe { mem::zeroed() };
        let slot = || Slot { buffer: [0; DATAGRAM_MAX], address, length: 0, truncated: false };
        Self { slots: Box::new(std::array::from_fn(|_| slot())) }
    }

    /// Takes what a socket has, at most [`BATCH`] datagrams, without waiting. Returns how many.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> usize {
        let mut vectors: [libc::iovec; BATCH] = std::array::from_fn(|place| libc::iovec {
            iov_base: self.slots[place].buffer.as_mut_ptr().cast(),
            iov_len: DATAGRAM_MAX,
        });
        // SAFETY: mmsghdr is plain C data for which all zeroes are valid: null pointers and lengths of nothing.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        for (place, message) in messages.iter_mut().enumerate() {
            message.msg_hdr.msg_name = (&raw mut self.slots[place].address).cast();
            message.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as u32;
            message.msg_hdr.msg_iov = &raw mut vectors[place];
            message.msg_hdr.msg_iovlen = 1;
        }
        let (flags, no_timeout) = (libc::MSG_DONTWAIT, ptr::null_mut());
        // SAFETY: each message points to an address and a vector, and each vector to a buffer of the stated length;
        // all outlive the call, and `self`, whose slots they lie in, is borrowed mutably meanwhile.
        let result = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), BATCH as u32, flags, no_timeout)
        };
        let count = usize::try_from(result).unwrap_or(0);
        for (slot, message) in self.slots.iter_mut().zip(&messages[..count]) {
            slot.length = message.msg_len as usize;
            slot.truncated = message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        }
        count
    }

    /// One of the datagrams received; `None` if it was truncated or from no internet address.
    pub fn datagram(&mut self, place: usize) -> Option<Datagram<'_>> {
        let Slot { buffer, address: from, length, truncated } = &mut self.slots[place];
        if *truncated {
            return None;
        }
        Some(Datagram { from: address(from)?, buffer, length: *length })
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

fn address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which it is; sockaddr_storage is large and aligned enough for either.
            let inet = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let address = Ipv4Addr::from(u32::from_be(inet.sin_addr.s_addr));
            Some(SocketAddr::from((address, u16::from_be(inet.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let inet = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            let address = Ipv6Addr::from(inet.sin6_addr.s6_addr);
            Some(SocketAddr::from((address, u16::from_be(inet.sin6_port))))
        }
        _ => None,
    }
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

opaque! { Epoll EventFd Ticker Batch }

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd};

    use super::*;

    #[test]
    fn datagrams_of_both_families_come_in_batches_and_long_ones_are_told() {
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            let (Ok(to), Ok(from)) = (UdpSocket::bind(bind), UdpSocket::bind(bind)) else { continue };
            for bytes in [&b"one"[..], b"two", &[0; DATAGRAM_MAX + 1]] {
                from.send_to(bytes, to.local_addr().unwrap()).unwrap();
            }
            let mut batch = Batch::new();
            assert_eq!(batch.receive(to.as_fd()), 3);
            let one = batch.datagram(0).unwrap();
            assert_eq!((&one.buffer[..one.length], one.from), (&b"one"[..], from.local_addr().unwrap()));
            assert_eq!(&batch.datagram(1).unwrap().buffer[..3], b"two");
            assert!(batch.datagram(2).is_none());
            assert_eq!(batch.receive(to.as_fd()), 0);
        }
    }

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
