//! A worker thread: waits for orders, packets and ticks, and gives them to its engine.
//!
//! # System calls
//! Of bare relays that do nothing else, 200 calls both ways, two runs on two cores that a load of ten shared, CPU-µs a packet:
//!
//! | how | |
//! |---|---|
//! | two sockets per call, epoll, `recvfrom` and `sendto` | 8.5, 7.6 |
//! | the same with `recvmmsg` and `sendmmsg` | 6.6, 8.3 |
//! | the same as the first with connected sockets | 8.1, 5.9 |
//! | two sockets per call, io_uring | 4.6, 7.5 |
//! | one pair of sockets for all calls, `recvfrom` and `sendto` | 6.0, 5.7 |
//! | the same with `recvmmsg` and `sendmmsg` | 4.7, 4.1 |
//! | the same with io_uring | 4.3, 3.2 |
//! | the same with UDP_GRO and UDP_SEGMENT, all calls from one address to one address | 1.4, 1.4 |
//!
//! So a leg's own socket is read by `recvfrom` and written by `sendto`: its next packet is 20 ms away, and many messages for
//! one call cost their bookkeeping. A shared port is read by `recvmmsg`, and what goes out at one port goes by one `sendmmsg`
//! from where it was received. A connected socket is deaf to the peer's next address, which symmetric RTP must hear
//! ([`crate::latch`]). io_uring saves a tenth to a quarter at shared ports, and the usual filters of containers forbid it.
//! UDP_SEGMENT needs runs of packets to one address: here an address at a port is one call's, whose packets come one in 20 ms.
//!
//! A pause of 200 µs for packets to gather, tried where they come fast, made each dearer by a tenth to a fifth: what it slept
//! for cost more than the wake-ups that it spared. A short turn on the processor ([`link::run_soon`]) brings the 99th percentile
//! of the added delay from 3.4 ms to 0.1 ms beside a load of 18 on two cores; a packet is dearer there by the half (9.9 for 6.6
//! µs), because it is sent on at once, where a worker that comes late finds many. Alone in a real-time class, where turns play
//! no part, a packet costs 9.9 µs at a pair of ports and 7.7 µs at a shared one.
//!
//! On two quiet cores, 500 calls, all in one run: ours 6.2 µs at a pair of ports, 7.5 µs with the calls set up by SIP and keys
//! listened for in the sound; a relay that knows nothing of RTP 5.3 µs, which is what this machine asks at least. Of ours, 64 %
//! are `sendto`, 12 % `epoll_wait`, 12 % `recvfrom` and 12 % our own. Slices of 0.1 to 3 ms, threads that are not pinned, and
//! one worker for two are within a tenth of each other there, which is what one run differs from the next by.

use std::{
    io,
    net::SocketAddr,
    os::fd::BorrowedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use link::run_soon;
use model::media::MediaOrder;

use crate::{
    engine::Engine,
    legs::Owner,
    server::Shared,
    span,
    sys::{Batch, Epoll, EventFd, Inlet, Ticker, pin_to_core, thread_cpu},
    tally::Tally,
    xdp::{self, Frames, INTERFACES_MAX, Lane},
};

/// Orders that wait for one worker at most.
pub const ORDERS_MAX: usize = 4_096;
/// The clock of what we send ourselves: the greatest common divisor of all packet times, so that each is even.
const TICK: Duration = Duration::from_millis(10);
/// Ticks made up for, when the worker was late.
const TICKS_MAX: u64 = 10;

/// How often the thread's processor time is read.
const COUNTING: Duration = Duration::from_secs(1);

/// Sockets whose packets have one time of arrival.
const CLOCKED: usize = 16;

const ORDERS: u64 = u64::MAX;
const TICKS: u64 = u64::MAX - 1;
/// Of the first interface with frames; the others' go up from it, below the one of ticks.
const FRAMES: u64 = TICKS - INTERFACES_MAX as u64;
const FRAMES_LAST: u64 = TICKS - 1;

/// Wakes a worker for orders, once for as many as there are.
#[derive(Debug)]
pub struct Wake {
    fd: EventFd,
    pending: AtomicBool,
    stop: AtomicBool,
}

impl Wake {
    /// For a worker that is to be started.
    pub fn new() -> io::Result<Self> {
        Ok(Self { fd: EventFd::new()?, pending: AtomicBool::new(false), stop: AtomicBool::new(false) })
    }

    /// There are orders.
    pub fn orders(&self) {
        if !self.pending.swap(true, Ordering::AcqRel) {
            self.fd.set();
        }
    }

    /// It is to end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.fd.set();
    }
}

/// What one worker needs, made by the thread that starts it so that a failure is told there.
#[derive(Debug)]
pub struct Worker {
    epoll: Epoll,
    ticker: Ticker,
    batch: Batch,
    /// What takes datagrams of other media servers.
    inlet: Inlet,
    wake: Arc<Wake>,
    orders: mpsc::Receiver<MediaOrder>,
    engine: Engine,
    /// When the clock's last tick was, while it runs.
    ticked: Option<Instant>,
    tally: Arc<Tally>,
    /// When its processor time was counted last.
    counted: Option<Instant>,
}

impl Worker {
    /// Without sessions.
    pub fn new(
        shared: Arc<Shared>,
        tally: Arc<Tally>,
        wake: Arc<Wake>,
        orders: mpsc::Receiver<MediaOrder>,
    ) -> io::Result<Self> {
        let (epoll, ticker) = (Epoll::new()?, Ticker::new()?);
        epoll.add(wake.fd.fd(), ORDERS)?;
        epoll.add(ticker.fd(), TICKS)?;
        let engine = Engine::new(shared, Arc::clone(&tally));
        Ok(Self {
            epoll,
            ticker,
            batch: Batch::new(),
            inlet: Inlet::default(),
            wake,
            orders,
            engine,
            ticked: None,
            tally,
            counted: None,
        })
    }

    /// Works until it is told to stop. `core`: which processor to stay on. `lanes`: ways beside the sockets.
    pub fn run(mut self, core: Option<usize>, lanes: Vec<Lane>) {
        if let Some(Err(error)) = core.map(pin_to_core) {
            tracing::debug!(%error, "a media worker is not pinned");
        }
        if let Err(error) = run_soon() {
            tracing::debug!(%error, "a media worker has its turn when it comes");
        }
        let mut frames = xdp::settle(lanes, &self.tally);
        for (place, frames) in frames.iter().enumerate() {
            if let Err(error) = self.epoll.add(frames.fd(), FRAMES + place as u64) {
                tracing::error!(%error, "a media worker cannot wait for frames");
            }
        }
        let mut tokens = Vec::new();
        while !self.wake.stop.load(Ordering::Acquire) {
            let now = Instant::now();
            self.count_cpu(now);
            let deadline = self.engine.housekeeping(now);
            self.engine.tell_all();
            self.set_clock();
            span::flush();
            xdp::flush();
            let timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if let Err(error) = self.epoll.wait(timeout, &mut tokens) {
                tracing::error!(%error, "a media worker cannot wait for packets");
                break;
            }
            for tokens in tokens.chunks(CLOCKED) {
                let now = Instant::now();
                for &token in tokens {
                    match token {
                        ORDERS => self.take_orders(),
                        TICKS => self.tick(),
                        token @ FRAMES..=FRAMES_LAST => {
                            let frames = frames.get_mut((token - FRAMES) as usize);
                            frames.into_iter().for_each(|frames| self.take_frames(frames, now));
                        }
                        token => self.take_datagrams(token, now),
                    }
                }
            }
        }
        self.take_orders();
        self.engine.end(Instant::now());
        self.engine.tell_all();
        span::flush();
        xdp::flush();
    }

    fn count_cpu(&mut self, now: Instant) {
        if self.counted.is_none_or(|at| now.saturating_duration_since(at) >= COUNTING) {
            self.counted = Some(now);
            let cpu = u64::try_from(thread_cpu().as_micros()).unwrap_or(u64::MAX);
            self.tally.cpu_us.store(cpu, Ordering::Relaxed);
        }
    }

    fn take_orders(&mut self) {
        self.wake.fd.clear();
        self.wake.pending.swap(false, Ordering::AcqRel);
        // No more than the queue holds, so that a flood of orders cannot keep packets waiting.
        for _ in 0..ORDERS_MAX {
            let Ok(order) = self.orders.try_recv() else { return };
            self.take_order(order);
        }
        self.wake.orders();
    }

    fn take_order(&mut self, order: MediaOrder) {
        let Self { engine, epoll, .. } = self;
        let session = order.session;
        let watch = |socket: BorrowedFd<'_>, token: u64| {
            epoll.add(socket, token)?;
            if let (Owner::Leg(_) | Owner::Shared(_), false) = Owner::from_token(token) {
                xdp::opened(|| socket_address(socket), token);
            }
            Ok(())
        };
        let work = AssertUnwindSafe(|| engine.order(order, Instant::now(), &watch));
        if catch_unwind(work).is_err() {
            tracing::error!(%session, "a media session is ended by a fault");
            self.engine.abandon(session, Instant::now());
        }
    }

    fn take_datagrams(&mut self, token: u64, now: Instant) {
        let (owner, rtcp) = Owner::from_token(token);
        let Self { engine, batch, inlet, .. } = self;
        let Some(socket) = engine.socket(owner, rtcp) else { return };
        if owner == Owner::Spans {
            let mut count = inlet.receive(socket, batch);
            while count > 0 {
                Self::take_batch(engine, batch, count, (owner, rtcp), now);
                count = inlet.next(batch);
            }
            return;
        }
        // A telephone's next packet is 20 ms away; at a shared port there are others.
        let count = batch.receive(socket, matches!(owner, Owner::Shared(_)));
        Self::take_batch(engine, batch, count, (owner, rtcp), now);
    }

    fn take_batch(
        engine: &mut Engine,
        batch: &mut Batch,
        count: usize,
        (owner, rtcp): (Owner, bool),
        now: Instant,
    ) {
        let mut place = 0;
        while place < count {
            let work = AssertUnwindSafe(|| {
                while place < count {
                    let datagram = batch.datagram(place);
                    place += 1;
                    engine.datagram(owner, rtcp, datagram, now);
                }
            });
            // One session's fault must not take the others along.
            if catch_unwind(work).is_err()
                && let Some(session) = engine.session_at_work()
            {
                tracing::error!(%session, "a media session is ended by a fault");
                engine.abandon(session, now);
            }
        }
        batch.send();
    }

    fn take_frames(&mut self, frames: &mut Frames, now: Instant) {
        let Self { engine, tally, .. } = self;
        frames.receive(now, |token, datagram| {
            let (owner, rtcp) = Owner::from_token(token);
            let before = tally.received.load(Ordering::Relaxed);
            let work = AssertUnwindSafe(|| engine.datagram(owner, rtcp, Some(datagram), now));
            if catch_unwind(work).is_err()
                && let Some(session) = engine.session_at_work()
            {
                tracing::error!(%session, "a media session is ended by a fault");
                engine.abandon(session, now);
            }
            tally.received.load(Ordering::Relaxed) != before
        });
    }

    fn tick(&mut self) {
        let ticks = self.ticker.ticks();
        let Some(before) = self.ticked.filter(|_| ticks > 0) else { return };
        let last = before + TICK * u32::try_from(ticks).unwrap_or(u32::MAX);
        self.ticked = Some(last);
        // Late ticks one by one, so that each leg catches up in its own steps.
        for behind in (0..ticks.min(TICKS_MAX) as u32).rev() {
            self.engine.tick(last - TICK * behind);
        }
    }

    /// The clock runs only while something plays.
    fn set_clock(&mut self) {
        let wanted = self.engine.wants_clock();
        if wanted == self.ticked.is_some() {
            return;
        }
        let period = if wanted { TICK } else { Duration::ZERO };
        match self.ticker.set(period) {
            Ok(()) => self.ticked = wanted.then(Instant::now),
            Err(error) => tracing::error!(%error, "a media worker has no clock"),
        }
    }
}

fn socket_address(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let address = socket2::SockRef::from(&socket).local_addr()?;
    address.as_socket().ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
