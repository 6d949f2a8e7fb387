//! A worker thread: waits for orders, packets and ticks, and gives them to its engine.
//!
//! System calls, by `tests/bench/media.rs` (200 calls both ways, two cores that a load of nine shared, rtpengine 11.4 µs a
//! packet in the same run): a pair of ports per leg 7.8 µs; shared ports 6.1 µs, where one `recvmmsg` and one `epoll_wait`
//! may serve several calls; SRTP on one side adds 1 µs. Other system calls were not compared here.

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

use model::media::MediaOrder;

use crate::{
    engine::Engine,
    legs::Owner,
    server::Shared,
    sys::{Batch, Epoll, EventFd, Ticker, pin_to_core, thread_cpu},
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
            xdp::flush();
            let timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if let Err(error) = self.epoll.wait(timeout, &mut tokens) {
                tracing::error!(%error, "a media worker cannot wait for packets");
                break;
            }
            for &token in &tokens {
                match token {
                    ORDERS => self.take_orders(),
                    TICKS => self.tick(),
                    token @ FRAMES..=FRAMES_LAST => {
                        let frames = frames.get_mut((token - FRAMES) as usize);
                        frames.into_iter().for_each(|frames| self.take_frames(frames));
                    }
                    token => self.take_datagrams(token),
                }
            }
        }
        self.take_orders();
        self.engine.end(Instant::now());
        self.engine.tell_all();
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
            if let (_, false) = Owner::from_token(token) {
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

    fn take_datagrams(&mut self, token: u64) {
        let (owner, rtcp) = Owner::from_token(token);
        let Self { engine, batch, .. } = self;
        let Some(socket) = engine.socket(owner, rtcp) else { return };
        let count = batch.receive(socket);
        let now = Instant::now();
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
    }

    fn take_frames(&mut self, frames: &mut Frames) {
        let Self { engine, tally, .. } = self;
        let now = Instant::now();
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
