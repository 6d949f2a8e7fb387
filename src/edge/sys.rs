//! Datagram sockets: many datagrams by one call (recvmmsg(2)), and the error queue, which tells which peer's address the
//! network calls unreachable (RFC 3261 §18.4, ip(7)); and a timer that is polled like them (timerfd_create(2)).
//!
//! All `unsafe` of this crate is here, each use with its proof; what is exported is safe. Linux only.
#![expect(unsafe_code, reason = "these system calls have no safe wrapper in the standard library")]

use std::{
    io, mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
    time::Duration,
};

use bytes::Bytes;
use socket2::{SockAddr, SockAddrStorage};
use tokio::io::{Interest, unix::AsyncFd};

/// Datagrams that one call takes or sends.
pub const BATCH: usize = 32;

/// Room for any datagram. Pages of it that none has reached cost nothing.
const DATAGRAM_MAX: usize = 65_536;

/// Asks the kernel to keep ICMP errors with the address that each is about.
pub fn keep_errors(socket: BorrowedFd<'_>, is_ipv6: bool) -> io::Result<()> {
    let (level, name) =
        if is_ipv6 { (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) } else { (libc::IPPROTO_IP, libc::IP_RECVERR) };
    let on: libc::c_int = 1;
    let length = mem::size_of_val(&on) as libc::socklen_t;
    // SAFETY: the descriptor is open for the call's length, as its type says; `on` outlives the call, and `length` is
    // its size.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, ptr::from_ref(&on).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes one error off the queue: the peer whose datagram came back. None: the queue is empty.
pub fn take_error(socket: BorrowedFd<'_>) -> Option<SocketAddr> {
    let mut address = SockAddrStorage::zeroed();
    // SAFETY: `msghdr` is a plain structure of integers and pointers, for which all zeroes is a value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_name = ptr::from_mut(&mut address).cast();
    message.msg_namelen = address.size_of();
    // SAFETY: `msg_name` points to `msg_namelen` writable octets that outlive the call; there is no buffer for data and
    // none for control messages, whose lengths are 0. The descriptor is open, as its type says.
    let taken = unsafe {
        libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT)
    };
    if taken < 0 {
        return None;
    }
    // SAFETY: the kernel has written an address of `msg_namelen` octets into `address`.
    let address = unsafe { SockAddr::new(address, message.msg_namelen) };
    canonical(&address)
}

fn canonical(address: &SockAddr) -> Option<SocketAddr> {
    let address = address.as_socket()?;
    let ip = match address.ip() {
        IpAddr::V6(ip) => ip.to_canonical(),
        ip @ IpAddr::V4(_) => ip,
    };
    Some(SocketAddr::new(ip, address.port()))
}

/// A timer that is read like a socket: its being due costs one event, and waiting for others costs no more for it.
pub struct Alarm(OwnedFd);

impl Alarm {
    /// A new one, not set.
    pub fn new() -> io::Result<Self> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: the call takes no pointer.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// To be due after this time, in place of what was set before.
    pub fn set(&self, after: Duration) -> io::Result<()> {
        let mut setting = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: libc::timespec { tv_sec: 0, tv_nsec: 0 },
        };
        // Nothing at all would stop it.
        let after = after.max(Duration::from_nanos(1));
        setting.it_value.tv_sec = i64::try_from(after.as_secs()).unwrap_or(i64::MAX);
        setting.it_value.tv_nsec = i64::from(after.subsec_nanos());
        // SAFETY: `setting` outlives the call; a null pointer asks for no former setting.
        let result =
            unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &raw const setting, ptr::null_mut()) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Polls a datagram socket for what comes and for errors, not for room to send: whether there is room is told by sending.
pub fn poll_datagrams(socket: UdpSocket) -> io::Result<AsyncFd<UdpSocket>> {
    // SAFETY: the socket owns its descriptor, gives the same one at any time, and closes it only when it is dropped.
    unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE | Interest::ERROR) }
        .map_err(Into::into)
}

/// Polls an alarm.
pub fn poll_alarm(alarm: Alarm) -> io::Result<AsyncFd<Alarm>> {
    // SAFETY: the alarm owns its descriptor, gives the same one at any time, and closes it only when it is dropped.
    unsafe { AsyncFd::register_with_interest(alarm, Interest::READABLE) }.map_err(Into::into)
}

impl AsRawFd for Alarm {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Room for the datagrams of one `recvmmsg`.
pub struct Batch {
    /// Of [`BATCH`] times [`DATAGRAM_MAX`] octets.
    buffer: Box<[u8]>,
    /// Where the kernel writes senders; what stands there from before is never read.
    addresses: Box<[SockAddrStorage]>,
    received: Vec<(SocketAddr, usize, usize)>,
}

impl Batch {
    /// Empty.
    pub fn new() -> Self {
        let buffer = vec![0; BATCH * DATAGRAM_MAX].into_boxed_slice();
        let addresses = (0..BATCH).map(|_| SockAddrStorage::zeroed()).collect();
        Self { buffer, addresses, received: Vec::with_capacity(BATCH) }
    }

    /// Takes what a socket has, at most [`BATCH`] datagrams, without waiting, in place of those before. Fewer than that:
    /// there were no more.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.received.clear();
        let mut slots = self.buffer.chunks_exact_mut(DATAGRAM_MAX);
        let mut vectors: [libc::iovec; BATCH] = std::array::from_fn(|_| {
            let slot = slots.next().unwrap_or_default();
            libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() }
        });
        // SAFETY: `mmsghdr` is a plain structure of integers and pointers, for which all zeroes is a value.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        for ((message, address), vector) in messages.iter_mut().zip(&mut self.addresses).zip(&mut vectors) {
            message.msg_hdr.msg_namelen = address.size_of();
            message.msg_hdr.msg_name = ptr::from_mut(address).cast();
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: each of the BATCH messages points to an address of its stated size and to one vector, which points to
        // a part of the buffer that is its alone and as long as it says; all outlive the call, and buffer and addresses
        // are borrowed mutably meanwhile. There is no timeout. The descriptor is open, as its type says.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (place, (message, address)) in messages.iter().zip(&mut self.addresses).enumerate().take(count) {
            let length = (message.msg_len as usize).min(DATAGRAM_MAX);
            self.received
                .extend(sender(address, message.msg_hdr.msg_namelen).map(|from| (from, place, length)));
        }
        Ok(count)
    }

    /// Those that were received, with their senders.
    pub fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.received.iter().map(|(from, place, length)| {
            let at = place * DATAGRAM_MAX;
            (*from, &self.buffer[at..at + length])
        })
    }
}

/// The address that the kernel has written `length` octets of.
fn sender(address: &mut SockAddrStorage, length: libc::socklen_t) -> Option<SocketAddr> {
    // SAFETY: any octets are values of these three, and all of them were zero or written by the kernel before.
    let family = unsafe { address.view_as::<libc::sa_family_t>() };
    match libc::c_int::from(*family) {
        libc::AF_INET if length as usize >= mem::size_of::<libc::sockaddr_in>() => {
            // SAFETY: as above.
            let address = unsafe { address.view_as::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::from((ip, u16::from_be(address.sin_port))))
        }
        libc::AF_INET6 if length as usize >= mem::size_of::<libc::sockaddr_in6>() => {
            // SAFETY: as above.
            let address = unsafe { address.view_as::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
            let port = u16::from_be(address.sin6_port);
            Some(SocketAddrV6::new(ip, port, address.sin6_flowinfo, address.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Sends the first [`BATCH`] of the datagrams, as many as the socket takes without waiting; tells how many it took.
pub fn send(socket: BorrowedFd<'_>, datagrams: &[(SocketAddr, Bytes)]) -> io::Result<usize> {
    let datagrams = &datagrams[..datagrams.len().min(BATCH)];
    let addresses: Vec<SockAddr> = datagrams.iter().map(|(to, _)| SockAddr::from(*to)).collect();
    let vector = |(_, bytes): &(SocketAddr, Bytes)| libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut vectors: Vec<libc::iovec> = datagrams.iter().map(vector).collect();
    let message = |(address, vector): (&SockAddr, &mut libc::iovec)| {
        // SAFETY: `mmsghdr` is a plain structure of integers and pointers, for which all zeroes is a value.
        let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
        message.msg_hdr.msg_name = address.as_ptr().cast_mut().cast();
        message.msg_hdr.msg_namelen = address.len();
        message.msg_hdr.msg_iov = vector;
        message.msg_hdr.msg_iovlen = 1;
        message
    };
    let mut messages: Vec<libc::mmsghdr> = addresses.iter().zip(&mut vectors).map(message).collect();
    // SAFETY: each of the messages points to an address of its stated size and to one vector, which points to as many
    // octets as it says; all outlive the call, and sending writes to none of them. There are as many as is said, at most
    // BATCH. The descriptor is open, as its type says.
    let sent = unsafe {
        libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), messages.len() as u32, libc::MSG_DONTWAIT)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_batch_arrives_whole_in_order_and_with_its_sender() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (from, to) = (UdpSocket::bind(address).unwrap(), UdpSocket::bind(address).unwrap());
            let there = to.local_addr().unwrap();
            let sent: Vec<_> =
                (0..BATCH + 3).map(|place| (there, Bytes::from(vec![7; place * 100]))).collect();
            assert_eq!(send(from.as_fd(), &sent).unwrap(), BATCH);
            assert_eq!(send(from.as_fd(), &sent[BATCH..]).unwrap(), 3);
            let mut batch = Batch::new();
            let mut lengths = Vec::new();
            while lengths.len() < sent.len() {
                batch.receive(to.as_fd()).unwrap();
                lengths.extend(batch.datagrams().map(|(sender, bytes)| {
                    assert_eq!(sender, from.local_addr().unwrap());
                    assert!(bytes.iter().all(|byte| *byte == 7));
                    bytes.len()
                }));
            }
            assert_eq!(lengths, (0..BATCH + 3).map(|place| place * 100).collect::<Vec<_>>());
            assert_eq!(batch.receive(to.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[tokio::test]
    async fn an_alarm_is_due_when_it_was_set_for_and_not_before() {
        let alarm = poll_alarm(Alarm::new().unwrap()).unwrap();
        let begun = std::time::Instant::now();
        for after in [0, 30, 1] {
            alarm.get_ref().set(Duration::from_secs(3_600)).unwrap();
            alarm.get_ref().set(Duration::from_millis(after)).unwrap();
            alarm.readable().await.unwrap().clear_ready();
        }
        assert!(begun.elapsed() >= Duration::from_millis(31));
    }

    #[test]
    fn the_longest_datagram_arrives() {
        let (from, to) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let sent = [(to.local_addr().unwrap(), Bytes::from(vec![9; 65_507]))];
        assert_eq!(send(from.as_fd(), &sent).unwrap(), 1);
        let mut batch = Batch::new();
        assert_eq!(batch.receive(to.as_fd()).unwrap(), 1);
        assert_eq!(batch.datagrams().next().unwrap().1.len(), 65_507);
        let too_long = [(to.local_addr().unwrap(), Bytes::from(vec![9; 65_508]))];
        assert_eq!(send(from.as_fd(), &too_long).unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
    }
}
