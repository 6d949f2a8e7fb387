//! Datagrams of one turn of a worker: taken together, changed in place, and sent on together from where they lie.
//!
//! This is the seam between a worker and the kernel: what takes datagrams by another way fills the same slots, and sends
//! what is [`Onward`] in them.

use std::{
    mem,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::Range,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
    sync::Arc,
};

use socket2::SockAddr;

use crate::ports::Pair;

/// Datagrams taken from a socket at once.
pub const BATCH: usize = 32;
/// Octets of a datagram that are taken; a longer one is told as truncated.
pub const DATAGRAM_MAX: usize = 2_048;

/// Room for the datagrams of one turn, shared by all sockets of a worker.
pub struct Batch {
    slots: Box<[Slot; BATCH]>,
    headers: Headers,
    /// Slots that hold what came last.
    count: usize,
}

struct Slot {
    buffer: [u8; DATAGRAM_MAX],
    address: libc::sockaddr_storage,
    length: usize,
    truncated: bool,
    onward: Option<Onward>,
}

/// What `recvmmsg` is told: written once, for a slot stays where it is.
struct Headers {
    messages: Box<[libc::mmsghdr; BATCH]>,
    /// Only the kernel reads them, through `messages`.
    _vectors: Box<[libc::iovec; BATCH]>,
}

// SAFETY: the pointers lead to `Batch::slots` and to `_vectors` alone, on the heap and owned by the same batch, so they go
// wherever it goes.
unsafe impl Send for Headers {}

/// One datagram of a batch.
pub struct Datagram<'a> {
    /// Where it lies, with room behind it.
    pub buffer: &'a mut [u8],
    /// How long it is.
    pub length: usize,
    /// Who sent it.
    pub from: SocketAddr,
    /// Where a part of `buffer` goes when all of the batch were looked at.
    pub onward: &'a mut Option<Onward>,
}

/// What is to be sent of a datagram's buffer.
pub struct Onward {
    /// From this pair's RTP socket.
    pub pair: Arc<Pair>,
    /// To this address.
    pub to: SocketAddr,
    /// These octets.
    pub range: Range<usize>,
}

impl Batch {
    /// Empty.
    pub fn new() -> Self {
        // SAFETY: sockaddr_storage is plain C data for which all zeroes are valid: the unspecified family.
        let address: libc::sockaddr_storage = unsafe { mem::zeroed() };
        let slot = || Slot { buffer: [0; DATAGRAM_MAX], address, length: 0, truncated: false, onward: None };
        let mut slots: Box<[Slot; BATCH]> = Box::new(std::array::from_fn(|_| slot()));
        let mut vectors: Box<[libc::iovec; BATCH]> = Box::new(std::array::from_fn(|place| libc::iovec {
            iov_base: slots[place].buffer.as_mut_ptr().cast(),
            iov_len: DATAGRAM_MAX,
        }));
        // SAFETY: mmsghdr is plain C data for which all zeroes are valid: null pointers and lengths of nothing.
        let mut messages: Box<[libc::mmsghdr; BATCH]> = Box::new(unsafe { mem::zeroed() });
        for (place, message) in messages.iter_mut().enumerate() {
            message.msg_hdr.msg_name = (&raw mut slots[place].address).cast();
            message.msg_hdr.msg_namelen = ADDRESS_LENGTH;
            message.msg_hdr.msg_iov = &raw mut vectors[place];
            message.msg_hdr.msg_iovlen = 1;
        }
        Self { slots, headers: Headers { messages, _vectors: vectors }, count: 0 }
    }

    /// Takes what a socket has without waiting: at most [`BATCH`] datagrams, or one, where one is the rule. Returns how many.
    pub fn receive(&mut self, socket: BorrowedFd<'_>, many: bool) -> usize {
        self.count = if many { self.receive_many(socket) } else { self.receive_one(socket) };
        self.count
    }

    /// Empties it for what came by another way ([`Batch::put`]).
    pub const fn clear(&mut self) {
        self.count = 0;
    }

    /// Takes in what came by another way. `false`: it is full.
    pub fn put(&mut self, bytes: &[u8], from: &libc::sockaddr_storage) -> bool {
        let Some(slot) = self.slots.get_mut(self.count) else { return false };
        slot.length = bytes.len().min(DATAGRAM_MAX);
        slot.truncated = bytes.len() > DATAGRAM_MAX;
        slot.buffer[..slot.length].copy_from_slice(&bytes[..slot.length]);
        slot.address = *from;
        self.count += 1;
        true
    }

    fn receive_one(&mut self, socket: BorrowedFd<'_>) -> usize {
        let slot = &mut self.slots[0];
        let mut length = ADDRESS_LENGTH;
        // SAFETY: the buffer has room for DATAGRAM_MAX octets and the address for `length`, which the kernel overwrites;
        // all outlive the call, and `self` is borrowed mutably meanwhile.
        let result = unsafe {
            libc::recvfrom(
                socket.as_raw_fd(),
                slot.buffer.as_mut_ptr().cast(),
                DATAGRAM_MAX,
                libc::MSG_DONTWAIT | libc::MSG_TRUNC,
                (&raw mut slot.address).cast(),
                &raw mut length,
            )
        };
        let Ok(length) = usize::try_from(result) else { return 0 };
        (slot.length, slot.truncated) = (length.min(DATAGRAM_MAX), length > DATAGRAM_MAX);
        1
    }

    fn receive_many(&mut self, socket: BorrowedFd<'_>) -> usize {
        let messages = &mut self.headers.messages;
        // SAFETY: each message points to an address and a vector, and each vector to a buffer of the stated length; all are
        // owned by `self`, which is borrowed mutably meanwhile, and none has moved since they were written.
        let result = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(result).unwrap_or(0);
        for (slot, message) in self.slots.iter_mut().zip(&mut messages[..count]) {
            slot.length = message.msg_len as usize;
            slot.truncated = message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            message.msg_hdr.msg_namelen = ADDRESS_LENGTH;
        }
        count
    }

    /// One of the datagrams received; `None` if it was truncated or from no internet address.
    pub fn datagram(&mut self, place: usize) -> Option<Datagram<'_>> {
        let Slot { buffer, address: from, length, truncated, onward } = &mut self.slots[place];
        if *truncated {
            return None;
        }
        Some(Datagram { from: address(from)?, buffer, length: *length, onward })
    }

    /// Sends what is onward, by one call for each socket, in the order in which it came. A full buffer or an unreachable
    /// peer loses a packet, as the network would.
    pub fn send(&mut self) {
        for first in 0..self.count {
            let Some(onward) = self.slots[first].onward.take() else { continue };
            let pair = Arc::clone(&onward.pair);
            let mut run: [Option<(usize, Onward)>; BATCH] = [const { None }; BATCH];
            let mut length = 1;
            run[0] = Some((first, onward));
            for place in first + 1..self.count {
                let same = |onward: &mut Onward| Arc::ptr_eq(&onward.pair, &pair);
                if let Some(onward) = self.slots[place].onward.take_if(same) {
                    run[length] = Some((place, onward));
                    length += 1;
                }
            }
            self.send_run(&pair, run.iter().flatten());
        }
    }

    fn send_run<'a>(&self, pair: &Pair, run: impl Iterator<Item = &'a (usize, Onward)>) {
        let mut addresses: [Option<SockAddr>; BATCH] = [const { None }; BATCH];
        // SAFETY: both are plain C data for which all zeroes are valid: null pointers and lengths of nothing.
        let (mut vectors, mut messages): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        let mut count = 0;
        for (place, onward) in run {
            let Some(bytes) = self.slots[*place].buffer.get(onward.range.clone()) else { continue };
            let address = addresses[count].insert(SockAddr::from(onward.to));
            vectors[count] = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            let header = &mut messages[count].msg_hdr;
            header.msg_name = address.as_ptr().cast_mut().cast();
            header.msg_namelen = address.len();
            header.msg_iov = &raw mut vectors[count];
            header.msg_iovlen = 1;
            count += 1;
        }
        let mut sent = 0;
        while sent < count {
            let rest = &mut messages[sent..count];
            // SAFETY: each message points to an address and a vector, and each vector to octets of a slot, which the kernel
            // only reads; all outlive the call. The socket is open as long as `pair` is.
            let result = unsafe {
                libc::sendmmsg(pair.rtp.as_raw_fd(), rest.as_mut_ptr(), rest.len() as u32, libc::MSG_DONTWAIT)
            };
            // What cannot be sent is passed over.
            sent += usize::try_from(result).unwrap_or(1).max(1);
        }
    }
}

const ADDRESS_LENGTH: libc::socklen_t = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;

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

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, UdpSocket},
        os::fd::AsFd,
        time::Duration,
    };

    use super::*;
    use crate::ports::Ports;

    #[test]
    fn datagrams_of_both_families_come_and_long_ones_are_told() {
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            let (Ok(to), Ok(from)) = (UdpSocket::bind(bind), UdpSocket::bind(bind)) else { continue };
            for many in [true, false] {
                let mut batch = Batch::new();
                for bytes in [&b"one"[..], b"two", &[0; DATAGRAM_MAX + 1]] {
                    from.send_to(bytes, to.local_addr().unwrap()).unwrap();
                }
                let mut heard = Vec::new();
                loop {
                    let count = batch.receive(to.as_fd(), many);
                    assert!(many || count <= 1);
                    if count == 0 {
                        break;
                    }
                    heard.extend((0..count).map(|place| {
                        let one = batch.datagram(place)?;
                        Some((one.buffer[..one.length].to_vec(), one.from))
                    }));
                }
                let from = from.local_addr().unwrap();
                assert_eq!(heard, [Some((b"one".to_vec(), from)), Some((b"two".to_vec(), from)), None]);
            }
        }
    }

    #[test]
    fn what_is_onward_goes_out_in_order_and_what_cannot_be_sent_holds_up_nothing() {
        let localhost: IpAddr = "127.0.0.1".parse().unwrap();
        let ports = Arc::new(Ports::new(localhost, &(17_300..=17_303), None));
        let pairs = [Arc::new(ports.take().unwrap()), Arc::new(ports.take().unwrap())];
        let peer = UdpSocket::bind((localhost, 0)).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let to = peer.local_addr().unwrap();
        let mut batch = Batch::new();
        for octet in 0..6u8 {
            peer.send_to(&[octet; 20], pairs[0].rtp.local_addr().unwrap()).unwrap();
        }
        assert_eq!(batch.receive(pairs[0].rtp.as_fd(), true), 6);
        for place in 0..6 {
            let datagram = batch.datagram(place).unwrap();
            // An IPv6 address has no way out of an IPv4 socket.
            let to = if place == 2 { "[::1]:9".parse().unwrap() } else { to };
            let pair = Arc::clone(&pairs[usize::from(place == 3)]);
            *datagram.onward = Some(Onward { pair, to, range: 4..20 });
        }
        batch.send();
        batch.send();
        let mut heard = [Vec::new(), Vec::new()];
        let mut buffer = [0; 100];
        for _ in 0..5 {
            let (length, from) = peer.recv_from(&mut buffer).unwrap();
            assert_eq!(length, 16);
            heard[usize::from(from.port() == pairs[1].port())].push(buffer[0]);
        }
        assert_eq!(heard, [vec![0, 1, 4, 5], vec![3]]);
        peer.set_nonblocking(true).unwrap();
        assert!(peer.recv(&mut buffer).is_err(), "sent twice");
    }
}
