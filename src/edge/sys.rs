//! The error queue of datagram sockets: which peer's address the network calls unreachable (RFC 3261 §18.4, ip(7)).
//!
//! All `unsafe` of this crate is here, each use with its proof; what is exported is safe. Linux only.
#![expect(unsafe_code, reason = "these system calls have no safe wrapper in the standard library")]

use std::{
    io, mem,
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use socket2::SockAddrStorage;

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
    let address = unsafe { socket2::SockAddr::new(address, message.msg_namelen) };
    let address = address.as_socket()?;
    let ip = match address.ip() {
        IpAddr::V6(ip) => ip.to_canonical(),
        ip @ IpAddr::V4(_) => ip,
    };
    Some(SocketAddr::new(ip, address.port()))
}
