//! Datagram sockets: many datagrams by one call (recvmmsg(2)), and the error queue, which tells which peer's address the
//! network calls unreachable (RFC 3261 §18.4, ip(7)).
//!
//! All `unsafe` of this crate is here, each use with its proof; what is exported is safe. Linux only.
#![expect(unsafe_code, reason = "these system calls have no safe wrapper in the standard library")]

use std::{
    io, mem,
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use bytes::Bytes;
use socket2::{SockAddr, SockAddrStorage};

/// Datagrams that one call takes or sends.
pub const BATCH: usize = 32;

/// Room for any datagram. Pages of it that none has reached cost nothing.
const DATAGRAM_MAX: usize = 65_536;

/// Gives memory that was freed back to the system, which the allocator by itself does only where nothing above it is in use.
/// Takes some milliseconds.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time by any thread (malloc_trim(3)), and takes no pointers.
    unsafe {
        libc::malloc_trim(0);
    }
}

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

/// Room for the datagrams of one `recvmmsg`.
pub struct Batch {
    /// Of [`BATCH`] times [`DATAGRAM_MAX`] octets.
    buffer: Box<[u8]>,
    received: Vec<(SocketAddr, usize, usize)>,
}

impl Batch {
    /// Empty.
    pub fn new() -> Self {
        let buffer = vec![0; BATCH * DATAGRAM_MAX].into_boxed_slice();
        Self { buffer, received: Vec::with_capacity(BATCH) }
    }

    /// Takes what a socket has, at most [`BATCH`] datagrams, without waiting, in place of those before.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.received.clear();
        let mut addresses: [SockAddrStorage; BATCH] = std::array::from_fn(|_| SockAddrStorage::zeroed());
        let mut slots = self.buffer.chunks_exact_mut(DATAGRAM_MAX);
        let mut vectors: [libc::iovec; BATCH] = std::array::from_fn(|_| {
            let slot = slots.next().unwrap_or_default();
            libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() }
        });
        // SAFETY: `mmsghdr` is a plain structure of integers and pointers, for which all zeroes is a value.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        for ((message, address), vector) in messages.iter_mut().zip(&mut addresses).zip(&mut vectors) {
            message.msg_hdr.msg_namelen = address.size_of();
            message.msg_hdr.msg_name = ptr::from_mut(address).cast();
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: each of the BATCH messages points to an address of its stated size and to one vector, which points to
        // a part of the buffer that is its alone and as long as it says; all outlive the call, and the buffer is borrowed
        // mutably meanwhile. There is no timeout. The descriptor is open, as its type says.
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
        for (place, (message, address)) in messages.iter().zip(addresses).enumerate().take(count) {
            // SAFETY: the kernel has written an address of `msg_namelen` octets into `address`.
            let address = unsafe { SockAddr::new(address, message.msg_hdr.msg_namelen) };
            let length = (message.msg_len as usize).min(DATAGRAM_MAX);
            self.received.extend(address.as_socket().map(|from| (from, place, length)));
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

/// Sends the first [`BATCH`] of the datagrams, as many as the socket takes without waiting; tells how many it took.
pub fn send(socket: BorrowedFd<'_>, datagrams: &[(SocketAddr, Bytes)]) -> io::Result<usize> {
    let count = datagrams.len().min(BATCH);
    let addresses: [Option<SockAddr>; BATCH] =
        std::array::from_fn(|place| datagrams.get(place).map(|(to, _)| SockAddr::from(*to)));
    let mut vectors: [libc::iovec; BATCH] = std::array::from_fn(|place| {
        let bytes = datagrams.get(place).map_or(&[][..], |(_, bytes)| bytes);
        libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
    });
    // SAFETY: `mmsghdr` is a plain structure of integers and pointers, for which all zeroes is a value.
    let mut messages: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
    for ((message, address), vector) in messages.iter_mut().zip(&addresses).zip(&mut vectors) {
        let Some(address) = address else { break };
        message.msg_hdr.msg_name = address.as_ptr().cast_mut().cast();
        message.msg_hdr.msg_namelen = address.len();
        message.msg_hdr.msg_iov = vector;
        message.msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: each of the first `count` messages, which are at most BATCH, points to an address of its stated size and to
    // one vector, which points to as many octets as it says; all outlive the call, and sending writes to none of them.
    // The descriptor is open, as its type says.
    let sent = unsafe {
        libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count as u32, libc::MSG_DONTWAIT)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd};

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
