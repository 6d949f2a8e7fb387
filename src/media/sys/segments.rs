//! Many datagrams of one length in one message: UDP_SEGMENT on the way out, UDP_GRO on the way in (udp(7)). Where the kernel has
//! neither, `sendmmsg` and `recvmmsg` take them one by one.
//!
//! Both serve a socket that has many packets for few addresses in one turn. What is sent is copied once, into one buffer, so
//! that it lies as the kernel wants it; what is received is copied once, into a [`Batch`], whose slots have the room behind a
//! packet that a relay needs.

use std::{
    io, mem,
    net::SocketAddr,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use socket2::SockAddr;

use super::batch::Batch;

/// Packets of a turn at most.
const PACKETS_MAX: usize = 512;
/// Octets of a turn at most.
const OCTETS_MAX: usize = 256 << 10;
/// Datagrams of one message at most: what kernels of before 6.9 take (UDP_MAX_SEGMENTS).
const SEGMENTS_MAX: usize = 64;
/// Octets of one message at most, below what a datagram of IPv4 holds.
const MESSAGE_MAX: usize = 65_000;
/// Octets of a datagram that may be one of many: with its headers it fits into what every network carries. A longer one may
/// need fragments, which a segment must not.
const SEGMENT_MAX: usize = 1_200;
/// Messages given to the kernel at once.
const MESSAGES: usize = 32;
/// Messages taken from it at once.
const TAKEN: usize = 8;
/// Octets of a coalesced message.
const ROOM: usize = 1 << 16;

/// Lets a socket take several datagrams of one sender as one message. `false`: the kernel cannot.
pub fn coalesce(socket: BorrowedFd<'_>) -> bool {
    let on: libc::c_int = 1;
    // SAFETY: four octets are read from a live integer.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_GRO,
            (&raw const on).cast(),
            mem::size_of_val(&on) as libc::socklen_t,
        )
    };
    result == 0
}

/// What stands beside a message: one option of UDP. Its size is CMSG_SPACE's of either, and its alignment is cmsghdr's.
#[repr(C)]
#[derive(Clone, Copy)]
struct Control<T> {
    header: libc::cmsghdr,
    value: T,
}

/// What is to be sent.
struct Parcel {
    start: usize,
    length: usize,
    to: SocketAddr,
    /// The message that it goes in.
    message: usize,
}

/// The last message to an address, while there is room in it.
struct Open {
    to: SocketAddr,
    message: usize,
    segment: usize,
    parcels: usize,
    octets: usize,
    /// Its last datagram is shorter than the others.
    closed: bool,
}

/// Sends what gathers in one turn.
pub struct Outlet {
    octets: Vec<u8>,
    parcels: Vec<Parcel>,
    open: Vec<Open>,
    segments: bool,
}

impl Outlet {
    /// Without anything to send. `segments`: whether the kernel may cut messages into datagrams.
    pub fn new(segments: bool) -> Self {
        Self {
            octets: Vec::with_capacity(OCTETS_MAX),
            parcels: Vec::with_capacity(PACKETS_MAX),
            open: Vec::new(),
            segments,
        }
    }

    /// How many datagrams wait.
    pub fn waiting(&self) -> usize {
        self.parcels.len()
    }

    /// Whether it must be flushed before so many octets more.
    pub fn is_full(&self, more: usize) -> bool {
        self.parcels.len() >= PACKETS_MAX || self.octets.len() + more > OCTETS_MAX
    }

    /// Takes a datagram of two parts; what is beyond a full one is lost.
    pub fn push(&mut self, parts: [&[u8]; 2], to: SocketAddr) {
        let (start, length) = (self.octets.len(), parts[0].len() + parts[1].len());
        if self.is_full(length) {
            return;
        }
        parts.iter().for_each(|part| self.octets.extend_from_slice(part));
        self.parcels.push(Parcel { start, length, to, message: 0 });
    }

    /// Sends all, those to one address in the order in which they came. A full buffer or an unreachable peer loses what it
    /// would in the network. Returns how many messages it took.
    pub fn flush(&mut self, socket: BorrowedFd<'_>) -> usize {
        let messages = self.arrange();
        let mut first = 0;
        while first < self.parcels.len() {
            let last = self.parcels[first].message + MESSAGES;
            let count = self.parcels[first..].partition_point(|parcel| parcel.message < last);
            let refused = send(socket, &self.octets, &self.parcels[first..first + count]);
            if refused && self.segments {
                tracing::info!("the kernel cuts no messages into datagrams here: they go one by one");
                self.segments = false;
            }
            first += count;
        }
        self.octets.clear();
        self.parcels.clear();
        messages
    }

    /// Says which message each goes in, and sorts them by it. Returns how many there are.
    fn arrange(&mut self) -> usize {
        let (mut messages, most) = (0, if self.segments { SEGMENTS_MAX } else { 1 });
        self.open.clear();
        for parcel in &mut self.parcels {
            let place = self.open.iter().position(|open| open.to == parcel.to);
            let found = place.map(|place| &mut self.open[place]);
            if let Some(open) = found {
                let fits = !open.closed
                    && open.parcels < most
                    && parcel.length <= open.segment
                    && open.segment <= SEGMENT_MAX
                    && open.octets + parcel.length <= MESSAGE_MAX;
                if fits {
                    parcel.message = open.message;
                    (open.parcels, open.octets) = (open.parcels + 1, open.octets + parcel.length);
                    open.closed = parcel.length < open.segment;
                    continue;
                }
                *open = Open::new(parcel, messages);
            } else {
                self.open.push(Open::new(parcel, messages));
            }
            parcel.message = messages;
            messages += 1;
        }
        self.parcels.sort_unstable_by_key(|parcel| (parcel.message, parcel.start));
        messages
    }
}

impl Open {
    const fn new(parcel: &Parcel, message: usize) -> Self {
        let Parcel { length, to, .. } = *parcel;
        Self { to, message, segment: length, parcels: 1, octets: length, closed: false }
    }
}

/// Sends parcels of at most [`MESSAGES`] messages. `true`: the kernel does not cut messages, and they were sent one by one.
fn send(socket: BorrowedFd<'_>, octets: &[u8], parcels: &[Parcel]) -> bool {
    let mut addresses: [Option<SockAddr>; MESSAGES] = [const { None }; MESSAGES];
    // SAFETY: all are plain C data for which all zeroes are valid: null pointers, lengths of nothing, no option.
    let (mut vectors, mut messages, mut controls): (
        [libc::iovec; PACKETS_MAX],
        [libc::mmsghdr; MESSAGES],
        [Control<u16>; MESSAGES],
    ) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
    let runs = || parcels.chunk_by(|one, other| one.message == other.message);
    let (mut count, mut used) = (0, 0);
    for run in runs() {
        let address = addresses[count].insert(SockAddr::from(run[0].to));
        let header = &mut messages[count].msg_hdr;
        header.msg_name = address.as_ptr().cast_mut().cast();
        header.msg_namelen = address.len();
        header.msg_iov = &raw mut vectors[used];
        header.msg_iovlen = run.len() as _;
        for (parcel, vector) in run.iter().zip(&mut vectors[used..]) {
            let bytes = &octets[parcel.start..parcel.start + parcel.length];
            *vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        }
        if run.len() > 1 {
            let control = &mut controls[count];
            // SAFETY: the function only computes; it has no other demand.
            control.header.cmsg_len = unsafe { libc::CMSG_LEN(mem::size_of::<u16>() as u32) } as _;
            (control.header.cmsg_level, control.header.cmsg_type) = (libc::SOL_UDP, libc::UDP_SEGMENT);
            control.value = run[0].length as u16;
            header.msg_control = ptr::from_mut(control).cast();
            header.msg_controllen = mem::size_of::<Control<u16>>() as _;
        }
        (count, used) = (count + 1, used + run.len());
    }
    let (mut sent, mut refused) = (0, false);
    while sent < count {
        let rest = &mut messages[sent..count];
        // SAFETY: each message points to an address, to as many vectors as it says, and to no option or one of the stated
        // size; each vector points to octets that the kernel only reads. All outlive the call, and none has moved.
        let result = unsafe {
            libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as u32, libc::MSG_DONTWAIT)
        };
        if let Ok(more @ 1..) = usize::try_from(result) {
            sent += more;
            continue;
        }
        let error = io::Error::last_os_error().raw_os_error();
        // No offload on the way (EIO), a kernel that does not know it, or a way that is too narrow for a segment.
        let cuts = !matches!(error, Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::EOPNOTSUPP));
        if let Some(run) = runs().nth(sent).filter(|run| run.len() > 1 && !cuts) {
            refused = true;
            run.iter().for_each(|parcel| send_one(socket, octets, parcel));
        }
        // What cannot be sent is passed over.
        sent += 1;
    }
    refused
}

fn send_one(socket: BorrowedFd<'_>, octets: &[u8], parcel: &Parcel) {
    let bytes = &octets[parcel.start..parcel.start + parcel.length];
    let _ = socket2::SockRef::from(&socket).send_to(bytes, &SockAddr::from(parcel.to));
}

/// Takes what a socket has, whether it coalesces or not.
#[derive(Default)]
pub struct Inlet(Option<Box<Room>>);

/// Messages that were taken, and how far they were looked at.
struct Room {
    octets: Vec<u8>,
    messages: [Message; TAKEN],
    count: usize,
    place: usize,
    offset: usize,
}

#[derive(Clone, Copy)]
struct Message {
    address: libc::sockaddr_storage,
    length: usize,
    segment: usize,
}

impl Inlet {
    /// Takes messages without waiting, and puts the first of their datagrams into a batch. Returns how many; there may be
    /// more ([`Inlet::next`]).
    pub fn receive(&mut self, socket: BorrowedFd<'_>, batch: &mut Batch) -> usize {
        if self.0.is_none() && !coalesces(socket) {
            return batch.receive(socket, true);
        }
        let room = self.0.get_or_insert_with(|| Box::new(Room::new()));
        room.receive(socket);
        room.fill(batch)
    }

    /// Puts the next datagrams of the messages taken into a batch. Returns how many.
    pub fn next(&mut self, batch: &mut Batch) -> usize {
        self.0.as_mut().map_or(0, |room| room.fill(batch))
    }
}

fn coalesces(socket: BorrowedFd<'_>) -> bool {
    let (mut on, mut length): (libc::c_int, _) = (0, mem::size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: `on` has the stated length, and both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_GRO,
            (&raw mut on).cast(),
            &raw mut length,
        )
    };
    result == 0 && on != 0
}

impl Room {
    fn new() -> Self {
        // SAFETY: sockaddr_storage is plain C data for which all zeroes are valid: the unspecified family.
        let address: libc::sockaddr_storage = unsafe { mem::zeroed() };
        let messages = [Message { address, length: 0, segment: 0 }; TAKEN];
        Self { octets: vec![0; TAKEN * ROOM], messages, count: 0, place: 0, offset: 0 }
    }

    fn receive(&mut self, socket: BorrowedFd<'_>) {
        // SAFETY: all are plain C data for which all zeroes are valid: null pointers, lengths of nothing, no option.
        let (mut vectors, mut headers, mut controls): (
            [libc::iovec; TAKEN],
            [libc::mmsghdr; TAKEN],
            [Control<libc::c_int>; TAKEN],
        ) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        for (place, octets) in self.octets.chunks_exact_mut(ROOM).enumerate() {
            vectors[place] = libc::iovec { iov_base: octets.as_mut_ptr().cast(), iov_len: ROOM };
            let header = &mut headers[place].msg_hdr;
            header.msg_name = (&raw mut self.messages[place].address).cast();
            header.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut vectors[place];
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut controls[place]).cast();
            header.msg_controllen = mem::size_of::<Control<libc::c_int>>() as _;
        }
        // SAFETY: each message points to an address, a vector of a buffer of the stated length, and room for one option of
        // the stated size; all outlive the call, `self` is borrowed mutably meanwhile, and none has moved.
        let result = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                TAKEN as u32,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        (self.count, self.place, self.offset) = (usize::try_from(result).unwrap_or(0), 0, 0);
        for (place, message) in self.messages[..self.count].iter_mut().enumerate() {
            let Control { header, value } = controls[place];
            message.length = headers[place].msg_len as usize;
            let told = (header.cmsg_level, header.cmsg_type) == (libc::SOL_UDP, libc::UDP_GRO);
            // Without the option it is one datagram; none is a loop without end.
            message.segment = if told { value.max(1) as usize } else { message.length.max(1) };
        }
    }

    fn fill(&mut self, batch: &mut Batch) -> usize {
        batch.clear();
        let mut filled = 0;
        while self.place < self.count {
            let Message { address, length, segment } = &self.messages[self.place];
            let begin = self.place * ROOM;
            // An empty datagram is one too.
            loop {
                let end = (self.offset + segment).min(*length);
                if !batch.put(&self.octets[begin + self.offset..begin + end], address) {
                    return filled;
                }
                filled += 1;
                self.offset = end;
                if end >= *length {
                    break;
                }
            }
            (self.place, self.offset) = (self.place + 1, 0);
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd, time::Duration};

    use proptest::prelude::*;

    use super::*;

    fn socket(bind: &str) -> UdpSocket {
        let socket = UdpSocket::bind(bind).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // A whole turn is to fit, whatever the kernel counts for each datagram.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
        socket
    }

    fn numbered(number: usize, length: usize) -> Vec<u8> {
        (0..length).map(|place| (number * 7 + place) as u8).collect()
    }

    /// What comes in turns of an inlet, until so many have come.
    fn taken(from: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
        let (mut inlet, mut batch, mut all) = (Inlet::default(), Batch::new(), Vec::new());
        while all.len() < count {
            let mut filled = inlet.receive(from.as_fd(), &mut batch);
            while filled > 0 {
                all.extend((0..filled).map(|place| {
                    let one = batch.datagram(place).unwrap();
                    one.buffer[..one.length].to_vec()
                }));
                filled = inlet.next(&mut batch);
            }
        }
        all
    }

    #[test]
    fn packets_of_one_length_go_in_one_message_and_come_one_by_one_in_order() {
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            for (segments, coalesced) in [(true, true), (true, false), (false, true), (false, false)] {
                let (from, to) = (socket(bind), socket(bind));
                assert!(!coalesced || coalesce(to.as_fd()), "Linux has had it since 5.0");
                let mut outlet = Outlet::new(segments);
                let said: Vec<_> = (0..100).map(|number| numbered(number, 200)).collect();
                for packet in &said {
                    outlet.push([&packet[..12], &packet[12..]], to.local_addr().unwrap());
                }
                assert_eq!(outlet.waiting(), 100);
                let messages = outlet.flush(from.as_fd());
                assert_eq!(messages, if segments { 2 } else { 100 });
                assert_eq!(outlet.waiting(), 0);
                assert_eq!(taken(&to, 100), said, "{bind} {segments} {coalesced}");
            }
        }
    }

    #[test]
    fn each_address_has_messages_of_its_own_and_one_that_cannot_be_reached_holds_up_nothing() {
        let (from, to) = (socket("127.0.0.1:0"), [socket("127.0.0.1:0"), socket("127.0.0.1:0")]);
        let mut outlet = Outlet::new(true);
        for number in 0..30 {
            let packet = numbered(number, 100);
            let address = match number % 3 {
                // An IPv6 address has no way out of an IPv4 socket.
                2 => "[::1]:9".parse().unwrap(),
                place => to[place].local_addr().unwrap(),
            };
            outlet.push([&packet, &[]], address);
        }
        assert_eq!(outlet.flush(from.as_fd()), 3);
        for (place, to) in to.iter().enumerate() {
            let expected: Vec<_> = (0..10).map(|number| numbered(number * 3 + place, 100)).collect();
            assert_eq!(taken(to, 10), expected);
        }
    }

    #[test]
    fn a_turn_has_a_bound() {
        let (from, to) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
        let mut outlet = Outlet::new(true);
        for number in 0..2 * PACKETS_MAX {
            outlet.push([&numbered(number, 10), &[]], to.local_addr().unwrap());
        }
        assert!(outlet.is_full(0));
        assert_eq!((outlet.waiting(), outlet.octets.capacity()), (PACKETS_MAX, OCTETS_MAX));
        outlet.flush(from.as_fd());
        assert!(!outlet.is_full(0));
        assert_eq!(taken(&to, PACKETS_MAX).len(), PACKETS_MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_the_lengths_are_all_come_in_order(
            lengths in prop::collection::vec(prop_oneof![Just(200usize), 1usize..300, 1_000usize..1_400], 1..90),
            segments: bool,
        ) {
            let (from, to) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
            coalesce(to.as_fd());
            let mut outlet = Outlet::new(segments);
            let said: Vec<_> =
                lengths.iter().enumerate().map(|(number, &length)| numbered(number, length)).collect();
            for packet in &said {
                outlet.push([packet, &[]], to.local_addr().unwrap());
            }
            let messages = outlet.flush(from.as_fd());
            prop_assert!(messages <= said.len() && (segments || messages == said.len()));
            prop_assert_eq!(taken(&to, said.len()), said);
        }
    }
}
