//! What the kernel has for frames: AF_XDP sockets with their rings and memory, and bpf(2) for maps, program and link.
//!
//! All `unsafe` of the frames' way is here, each use with its proof; what is exported is safe. A frame's memory belongs
//! either to the kernel or to us, as the rings say (Documentation/networking/af_xdp.rst): what we put on the fill or the
//! transmit ring is the kernel's until it comes back on the receive or the completion ring. Received and sent frames have
//! halves of their own of one mapping, [`Chunks`], so [`Inlet`] and [`Outlet`] never touch the same memory.
#![expect(unsafe_code, reason = "there is no safe wrapper of these system calls that needs no other library")]

use std::{
    ffi::{CStr, CString},
    fmt, io,
    mem::{self, size_of},
    net::IpAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr::{self, NonNull},
    slice,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use libc::{SOL_XDP, c_int, c_void};

use super::{ring::Side, wire::Mac};

/// Octets of a chunk, which holds one frame: a page holds two.
const CHUNK: usize = 2_048;
/// Frames that wait for the worker at most: 160 ms of 500 calls both ways.
const RECEIVED: u32 = 8_192;
/// Frames that wait for the interface at most.
const SENT: u32 = 1_024;
/// Frames sent by one system call (`max_tx_budget` of the kernel).
const SENT_AT_ONCE: u32 = 32;

// --- memory ---------------------------------------------------------------------------------------------------------

/// A mapping of its own.
struct Mapping {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping is plain memory that no thread is bound to; what may be touched in it is decided by its holders.
unsafe impl Send for Mapping {}
// SAFETY: as above; the type itself gives no access.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(length: usize, flags: c_int, fd: c_int, offset: libc::off_t) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses the place, so nothing that exists is touched.
        let base = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, fd, offset) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, length })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and who could reach into it holds this value.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.length) };
    }
}

/// Chunks of a mapping that nobody else of this process reaches.
struct Chunks {
    memory: Arc<Mapping>,
    first: usize,
    count: usize,
}

impl Chunks {
    /// From an address to the end of its chunk. The caller has the chunk from the kernel and has not given it back.
    /// `None`: it is not one of these.
    fn from(&mut self, address: u64) -> Option<&mut [u8]> {
        let address = usize::try_from(address).ok()?;
        let place = (address / CHUNK).checked_sub(self.first).filter(|&place| place < self.count)?;
        let length = CHUNK - address % CHUNK;
        let begin = (self.first + place) * CHUNK + address % CHUNK;
        // SAFETY: `begin + length` is at most the end of chunk `first + count - 1`, which lies in the mapping as
        // `memory` made it; no other `Chunks` has it, this one is borrowed mutably, and the kernel does not write to a
        // chunk that it has handed over. Any octets are valid.
        Some(unsafe { slice::from_raw_parts_mut(self.memory.base.as_ptr().add(begin), length) })
    }

    fn addresses(&self) -> impl Iterator<Item = u64> + use<> {
        (self.first..self.first + self.count).map(|place| (place * CHUNK) as u64)
    }
}

/// Memory for the frames of one socket, in its two halves.
fn memory() -> io::Result<(Arc<Mapping>, Chunks, Chunks)> {
    let (received, sent) = (RECEIVED as usize, SENT as usize);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
    let memory = Arc::new(Mapping::new((received + sent) * CHUNK, flags, -1, 0)?);
    let chunks = |first, count| Chunks { memory: Arc::clone(&memory), first, count };
    let halves = (chunks(0, received), chunks(received, sent));
    Ok((memory, halves.0, halves.1))
}

// --- rings ----------------------------------------------------------------------------------------------------------

/// A ring shared with the kernel: counters and entries of `T`.
struct Ring<T> {
    side: Side,
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    _mapping: Mapping,
}

// SAFETY: a ring may be used by any one thread at a time; its counters are atomics, and its entries are plain data.
unsafe impl<T: Send> Send for Ring<T> {}

/// Plain data of a ring that every bit pattern is valid for.
trait Entry: Copy {}
impl Entry for u64 {}
impl Entry for libc::xdp_desc {}

impl<T: Entry> Ring<T> {
    /// `side` has the size that the socket was told; `offset` names the ring.
    fn new(
        socket: BorrowedFd<'_>,
        side: Side,
        size: u32,
        at: &libc::xdp_ring_offset,
        offset: libc::off_t,
    ) -> io::Result<Self> {
        let place = |at: u64| usize::try_from(at).map_err(|_| io::Error::from(io::ErrorKind::InvalidData));
        let (producer, consumer) = (place(at.producer)?, place(at.consumer)?);
        let (flags, entries) = (place(at.flags)?, place(at.desc)?);
        let length = entries + size as usize * size_of::<T>();
        if [producer, consumer, flags].iter().any(|&at| at + size_of::<AtomicU32>() > length) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let shared = libc::MAP_SHARED | libc::MAP_POPULATE;
        let mapping = Mapping::new(length, shared, socket.as_raw_fd(), offset)?;
        // SAFETY: all three, and the `size` entries from `entries` on, lie in the mapping, as was checked; the kernel
        // aligns them for their types.
        let (producer, consumer, flags, entries) = unsafe {
            let base = mapping.base;
            (
                base.add(producer).cast(),
                base.add(consumer).cast(),
                base.add(flags).cast(),
                base.add(entries).cast(),
            )
        };
        Ok(Self { side, producer, consumer, flags, entries, _mapping: mapping })
    }

    /// Puts an entry; seen by the kernel after [`Ring::publish`]. `false`: the ring is full.
    fn put(&mut self, entry: T) -> bool {
        let place = self.side.advance().or_else(|| {
            self.side.consumed(self.counter(self.consumer).load(Ordering::Acquire));
            self.side.advance()
        });
        let Some(place) = place else { return false };
        // SAFETY: `place` is below the ring's size, and the kernel reads it only once it was published.
        unsafe { self.entries.add(place).write(entry) };
        true
    }

    fn publish(&self) {
        self.counter(self.producer).store(self.side.own(), Ordering::Release);
    }

    /// Takes an entry; its place is the kernel's again after [`Ring::release`].
    fn take(&mut self) -> Option<T> {
        let place = self.side.advance().or_else(|| {
            self.side.produced(self.counter(self.producer).load(Ordering::Acquire));
            self.side.advance()
        })?;
        // SAFETY: `place` is below the ring's size, the kernel has written it, and any bits are a valid entry.
        Some(unsafe { self.entries.add(place).read() })
    }

    fn release(&self) {
        self.counter(self.consumer).store(self.side.own(), Ordering::Release);
    }

    /// Entries that the kernel has not read.
    fn pending(&self) -> u32 {
        self.side.pending(self.counter(self.consumer).load(Ordering::Acquire))
    }

    /// Whether the kernel goes on only when it is called.
    fn needs_wakeup(&self) -> bool {
        self.counter(self.flags).load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }

    const fn counter(&self, counter: NonNull<AtomicU32>) -> &AtomicU32 {
        // SAFETY: it lies in the mapping that `self` holds, aligned, and is only ever used as an atomic.
        unsafe { counter.as_ref() }
    }
}

// --- sockets --------------------------------------------------------------------------------------------------------

/// What comes by one queue.
pub struct Inlet {
    socket: Arc<OwnedFd>,
    received: Ring<libc::xdp_desc>,
    fill: Ring<u64>,
    chunks: Chunks,
}

/// What goes out by one queue.
pub struct Outlet {
    socket: Arc<OwnedFd>,
    sent: Ring<libc::xdp_desc>,
    completed: Ring<u64>,
    chunks: Chunks,
    free: Vec<u64>,
    waiting: u32,
}

/// Opens a socket on a queue of an interface; `copy` forbids that the card writes to our memory itself.
pub fn open(interface: u32, queue: u32, copy: bool) -> io::Result<(Inlet, Outlet)> {
    // SAFETY: takes no pointer; a descriptor that is not negative is new and ours.
    let socket = unsafe { owned(libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0)) }?;
    let (memory, received, sent) = memory()?;
    let region = libc::xdp_umem_reg {
        addr: memory.base.as_ptr() as u64,
        len: memory.length as u64,
        chunk_size: CHUNK as u32,
        headroom: 0,
        flags: 0,
        tx_metadata_len: 0,
    };
    option(&socket, libc::XDP_UMEM_REG, &region)?;
    for (name, size) in [
        (libc::XDP_UMEM_FILL_RING, RECEIVED),
        (libc::XDP_UMEM_COMPLETION_RING, SENT),
        (libc::XDP_RX_RING, RECEIVED),
        (libc::XDP_TX_RING, SENT),
    ] {
        option(&socket, name, &size)?;
    }
    let offsets = offsets(&socket)?;
    let fd = socket.as_fd();
    let mut fill = Ring::new(
        fd,
        Side::producer(RECEIVED),
        RECEIVED,
        &offsets.fr,
        libc::XDP_UMEM_PGOFF_FILL_RING as libc::off_t,
    )?;
    let completed = Ring::new(
        fd,
        Side::consumer(SENT),
        SENT,
        &offsets.cr,
        libc::XDP_UMEM_PGOFF_COMPLETION_RING as libc::off_t,
    )?;
    let inlet_ring = Ring::new(fd, Side::consumer(RECEIVED), RECEIVED, &offsets.rx, libc::XDP_PGOFF_RX_RING)?;
    let outlet_ring = Ring::new(fd, Side::producer(SENT), SENT, &offsets.tx, libc::XDP_PGOFF_TX_RING)?;
    for address in received.addresses() {
        fill.put(address);
    }
    fill.publish();
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: libc::XDP_USE_NEED_WAKEUP | if copy { libc::XDP_COPY } else { 0 },
        sxdp_ifindex: interface,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: 0,
    };
    let length = size_of::<libc::sockaddr_xdp>() as u32;
    // SAFETY: `address` is a live sockaddr_xdp of the stated length.
    checked(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
    let socket = Arc::new(socket);
    let free = sent.addresses().collect();
    let inlet = Inlet { socket: Arc::clone(&socket), received: inlet_ring, fill, chunks: received };
    let outlet = Outlet { socket, sent: outlet_ring, completed, chunks: sent, free, waiting: 0 };
    Ok((inlet, outlet))
}

impl Inlet {
    /// Gives what has come, at most `most` frames, each with the room behind it and its length. Returns how many.
    pub fn receive(&mut self, most: usize, mut take: impl FnMut(&mut [u8], usize)) -> usize {
        let mut count = 0;
        while count < most
            && let Some(frame) = self.received.take()
        {
            count += 1;
            if let Some(chunk) = self.chunks.from(frame.addr) {
                let length = (frame.len as usize).min(chunk.len());
                take(chunk, length);
            }
            // As many as there are chunks fit on it.
            self.fill.put(frame.addr & !(CHUNK as u64 - 1));
        }
        if count > 0 {
            self.received.release();
            self.fill.publish();
        }
        if self.fill.needs_wakeup() {
            // SAFETY: no buffer is given. A failure is one that the next frame tells of, too.
            unsafe {
                let (no_buffer, no_address) = (ptr::null_mut::<c_void>(), ptr::null_mut());
                let flags = libc::MSG_DONTWAIT;
                libc::recvfrom(self.socket.as_raw_fd(), no_buffer, 0, flags, no_address, ptr::null_mut())
            };
        }
        count
    }

    /// For an epoll set.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Outlet {
    /// Has a frame written, which goes out with [`Outlet::flush`] or when enough wait. `write` returns its length or
    /// gives up. `false`: nothing goes out, for want of room or because it gave up.
    pub fn send(&mut self, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> bool {
        if self.free.is_empty() {
            self.reclaim();
        }
        let Some(&address) = self.free.last() else { return false };
        let Some(length) = self.chunks.from(address).and_then(write).filter(|&length| length <= CHUNK) else {
            return false;
        };
        if !self.sent.put(libc::xdp_desc { addr: address, len: length as u32, options: 0 }) {
            return false;
        }
        self.free.pop();
        self.waiting += 1;
        if self.waiting >= SENT_AT_ONCE {
            self.flush();
        }
        true
    }

    /// Sends what waits.
    pub fn flush(&mut self) {
        if self.waiting == 0 {
            return;
        }
        self.sent.publish();
        let tries = 2 + self.sent.pending() / SENT_AT_ONCE;
        for _ in 0..tries {
            // SAFETY: no buffer is given.
            let result = unsafe {
                let flags = libc::MSG_DONTWAIT;
                libc::sendto(self.socket.as_raw_fd(), ptr::null(), 0, flags, ptr::null(), 0)
            };
            // More than one call's worth waits, or the interface is busy; anything else would fail again.
            let again = [libc::EAGAIN, libc::EBUSY, libc::ENOBUFS];
            let failed = (result < 0).then(io::Error::last_os_error);
            let lasting = failed.is_some_and(|it| it.raw_os_error().is_none_or(|it| !again.contains(&it)));
            if lasting || self.sent.pending() == 0 {
                break;
            }
        }
        self.waiting = self.sent.pending();
        self.reclaim();
    }

    fn reclaim(&mut self) {
        let before = self.free.len();
        while let Some(address) = self.completed.take() {
            self.free.push(address & !(CHUNK as u64 - 1));
        }
        if self.free.len() > before {
            self.completed.release();
        }
    }

    /// For a map of sockets.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn option<T>(socket: &OwnedFd, name: c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as u32;
    // SAFETY: `value` is live and of the stated length; the kernel reads it alone.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), SOL_XDP, name, ptr::from_ref(value).cast(), length) };
    checked(result).map(drop)
}

fn offsets(socket: &OwnedFd) -> io::Result<libc::xdp_mmap_offsets> {
    // SAFETY: plain numbers, for which all zeroes are valid.
    let mut offsets: libc::xdp_mmap_offsets = unsafe { mem::zeroed() };
    let mut length = size_of::<libc::xdp_mmap_offsets>() as u32;
    let name = libc::XDP_MMAP_OFFSETS;
    // SAFETY: `offsets` has room for `length` octets.
    let result = unsafe {
        let (out, length) = ((&raw mut offsets).cast(), &raw mut length);
        libc::getsockopt(socket.as_raw_fd(), SOL_XDP, name, out, length)
    };
    checked(result)?;
    // A kernel before 5.4 knows no flags and says less.
    if length as usize != size_of::<libc::xdp_mmap_offsets>() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(offsets)
}

// --- bpf(2) ---------------------------------------------------------------------------------------------------------

const MAP_CREATE: c_int = 0;
const MAP_UPDATE: c_int = 2;
const MAP_DELETE: c_int = 3;
const PROGRAM_LOAD: c_int = 5;
const LINK_CREATE: c_int = 28;
const KIND_HASH: u32 = 1;
const KIND_SOCKETS: u32 = 17;
const PROGRAM_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
const NO_PREALLOCATION: u32 = 1;

/// How a program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Mode {
    /// By the driver, before the kernel has made a packet of its own of the frame.
    Native = 1 << 2,
    /// After that, on any interface.
    Generic = 1 << 1,
}

/// A map of the kernel from `K` octets to a number.
#[derive(Debug)]
pub struct Map<const K: usize>(OwnedFd);

#[repr(C)]
struct MapAttributes {
    kind: u32,
    key_size: u32,
    value_size: u32,
    entries: u32,
    flags: u32,
}

#[repr(C)]
struct ElementAttributes {
    map: u32,
    nothing: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct ProgramAttributes {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach: u32,
}

#[repr(C)]
struct LinkAttributes {
    program: u32,
    interface: u32,
    attach: u32,
    flags: u32,
}

impl<const K: usize> Map<K> {
    /// Of at most so many keys.
    pub fn hash(entries: u32) -> io::Result<Self> {
        Self::new(KIND_HASH, entries, NO_PREALLOCATION)
    }

    fn new(kind: u32, entries: u32, flags: u32) -> io::Result<Self> {
        let attributes = MapAttributes { kind, key_size: K as u32, value_size: 4, entries, flags };
        // SAFETY: no pointer is in it; a descriptor that is not negative is new and ours.
        unsafe { bpf(MAP_CREATE, &attributes).and_then(|fd| owned(fd)) }.map(Self)
    }

    /// Sets a key.
    pub fn set(&self, key: &[u8; K], value: u32) -> io::Result<()> {
        let (map, key) = (self.0.as_raw_fd() as u32, key.as_ptr() as u64);
        let attributes = ElementAttributes { map, nothing: 0, key, value: &raw const value as u64, flags: 0 };
        // SAFETY: `key` has the K octets and `value` the four that this map was made for; both outlive the call.
        unsafe { bpf(MAP_UPDATE, &attributes) }.map(drop)
    }

    /// Forgets a key; it is no fault if there is none.
    pub fn unset(&self, key: &[u8; K]) {
        let (map, key) = (self.0.as_raw_fd() as u32, key.as_ptr() as u64);
        // SAFETY: as in `set`; deleting reads no value.
        let _ = unsafe { bpf(MAP_DELETE, &ElementAttributes { map, nothing: 0, key, value: 0, flags: 0 }) };
    }

    /// As the program names it.
    pub fn number(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

impl Map<4> {
    /// Of the sockets of so many queues.
    pub fn sockets(queues: u32) -> io::Result<Self> {
        Self::new(KIND_SOCKETS, queues, 0)
    }

    /// Sets a queue's socket.
    pub fn set_socket(&self, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.set(&queue.to_ne_bytes(), socket.as_raw_fd() as u32)
    }
}

/// Has the kernel check a program for frames and take it.
pub fn load(instructions: &[u64]) -> io::Result<OwnedFd> {
    const LICENSE: &CStr = c"Apache-2.0";
    let mut name = [0; 16];
    name[..11].copy_from_slice(b"switchboard");
    let attributes = ProgramAttributes {
        kind: PROGRAM_XDP,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name,
        interface: 0,
        attach: ATTACH_XDP,
    };
    // SAFETY: `count` instructions of eight octets and a terminated string, both of which outlive the call; a descriptor
    // that is not negative is new and ours.
    unsafe { bpf(PROGRAM_LOAD, &attributes).and_then(|fd| owned(fd)) }
}

/// Attaches a program to an interface until the descriptor is closed, at the latest by the process's end.
pub fn attach(program: BorrowedFd<'_>, interface: u32, mode: Mode) -> io::Result<OwnedFd> {
    let program = program.as_raw_fd() as u32;
    let attributes = LinkAttributes { program, interface, attach: ATTACH_XDP, flags: mode as u32 };
    // SAFETY: no pointer is in it; a descriptor that is not negative is new and ours.
    unsafe { bpf(LINK_CREATE, &attributes).and_then(|fd| owned(fd)) }
}

/// # Safety
/// `attributes` are laid out as bpf(2) has them for this command, and what they point to outlives the call.
unsafe fn bpf<T>(command: c_int, attributes: &T) -> io::Result<c_int> {
    // SAFETY: `attributes` is live and of the stated size; the rest is the caller's promise.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_ref(attributes), size_of::<T>() as u32) };
    checked(result as c_int)
}

// --- interfaces -----------------------------------------------------------------------------------------------------

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: u32,
    /// Its Ethernet address.
    pub mac: Mac,
    /// The longest IP packet that goes out by it.
    pub mtu: usize,
}

impl Interface {
    /// By its name; `Unsupported` if it is none of Ethernet.
    pub fn named(name: &str) -> io::Result<Self> {
        let text = CString::new(name)?;
        // SAFETY: a terminated string that outlives the call.
        let index = unsafe { libc::if_nametoindex(text.as_ptr()) };
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        let hardware = request(name, libc::SIOCGIFHWADDR)?;
        let mtu = request(name, libc::SIOCGIFMTU)?;
        // SAFETY: each request has written the member that is read, and both are plain data.
        let (hardware, mtu) = unsafe { (hardware.ifr_ifru.ifru_hwaddr, mtu.ifr_ifru.ifru_mtu) };
        if hardware.sa_family != libc::ARPHRD_ETHER {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mac = std::array::from_fn(|place| hardware.sa_data[place] as u8);
        Ok(Self { name: name.to_owned(), index, mac, mtu: usize::try_from(mtu).unwrap_or(0) })
    }
}

fn request(name: &str, request: libc::Ioctl) -> io::Result<libc::ifreq> {
    // SAFETY: plain data for which all zeroes are valid.
    let mut argument: libc::ifreq = unsafe { mem::zeroed() };
    if name.len() >= argument.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in argument.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: takes no pointer; a descriptor that is not negative is new and ours.
    let socket = unsafe { owned(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)) }?;
    // SAFETY: both requests read a terminated name and write within this structure, which outlives the call.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut argument) })?;
    Ok(argument)
}

/// The name of the interface that has this address.
pub fn interface_of(address: IpAddr) -> io::Result<Option<String>> {
    let mut first = ptr::null_mut();
    // SAFETY: it writes a pointer to a list, which is ours to free.
    checked(unsafe { libc::getifaddrs(&raw mut first) })?;
    let (mut next, mut found) = (first, None);
    // SAFETY: the list ends with null, its members are valid until it is freed, and a name is a terminated string.
    while let Some(entry) = unsafe { next.as_ref() } {
        if found.is_none() && address_at(entry.ifa_addr) == Some(address) {
            // SAFETY: as above.
            found = Some(unsafe { CStr::from_ptr(entry.ifa_name) }.to_string_lossy().into_owned());
        }
        next = entry.ifa_next;
    }
    // SAFETY: `first` is what getifaddrs has given, and nothing of it is used from here on.
    unsafe { libc::freeifaddrs(first) };
    Ok(found)
}

fn address_at(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: null, or a valid socket address of the family it names, which getifaddrs promises.
    unsafe {
        match i32::from(address.as_ref()?.sa_family) {
            libc::AF_INET => {
                let inet = address.cast::<libc::sockaddr_in>().read_unaligned();
                Some(IpAddr::from(u32::from_be(inet.sin_addr.s_addr).to_be_bytes()))
            }
            libc::AF_INET6 => {
                let inet = address.cast::<libc::sockaddr_in6>().read_unaligned();
                Some(IpAddr::from(inet.sin6_addr.s6_addr))
            }
            _ => None,
        }
    }
}

/// # Safety
/// `fd`, if not negative, is open and owned by nobody else.
unsafe fn owned(fd: c_int) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    checked(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

fn checked(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

impl fmt::Debug for Inlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inlet")
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outlet")
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_interface_of_an_address_is_found_and_the_loopback_is_refused() {
        let name = interface_of(IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
        assert_eq!(name.as_deref(), Some("lo"));
        assert_eq!(interface_of("192.0.2.77".parse().unwrap()).unwrap(), None);
        assert_eq!(Interface::named("lo").unwrap_err().kind(), io::ErrorKind::Unsupported);
        assert!(Interface::named("no-such-interface-at-all").is_err());
    }

    #[test]
    fn chunks_are_reached_within_their_half_alone() {
        let (_, mut received, mut sent) = memory().unwrap();
        let border = u64::from(RECEIVED) * CHUNK as u64;
        assert_eq!(received.from(border - 1).map(|it| it.len()), Some(1));
        assert!(received.from(border).is_none() && sent.from(border - 1).is_none());
        assert_eq!(sent.from(border + 256).map(|it| it.len()), Some(CHUNK - 256));
        let end = border + u64::from(SENT) * CHUNK as u64;
        assert!(sent.from(end).is_none() && sent.from(u64::MAX).is_none());
    }
}
