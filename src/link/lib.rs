//! The seam between the roles, and its in-process twin.
//!
//! An edge gives [`MediaOrder`]s and takes [`MediaEvent`]s; it never learns whether the media server is a thread of
//! its own process or a pod on another node. The values that cross are those of `model::media`, unchanged.
//!
//! Contract: orders of one session are carried out in the order given; events of one session arrive in the order of
//! their happening; nothing here blocks. A full queue is an answer, so the edge can refuse the call it is for.

mod backoff;
pub mod config;
pub mod identity;
pub mod media;
pub mod pki;
pub mod server;
pub mod stored;
pub mod tls;
mod turn;
pub mod wire;

pub use turn::run_soon;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
    mpsc,
};

use model::media::{MediaEvent, MediaOrder};

/// Edge side: give orders.
pub trait MediaOrders: Send + Sync {
    /// Hands an order over without blocking.
    ///
    /// # Errors
    /// [`Full`] when the bounded queue to the media server holds no more; the order is not carried out.
    fn send(&self, order: MediaOrder) -> Result<(), Full>;

    /// As [`MediaOrders::send`], but the order may wait for [`MediaOrders::flush`]: whoever has several at once spares the
    /// media server from being woken for each.
    ///
    /// # Errors
    /// As [`MediaOrders::send`].
    fn queue(&self, order: MediaOrder) -> Result<(), Full> {
        self.send(order)
    }

    /// Sees to it that every order that was queued is under way.
    fn flush(&self) {}
}

/// Media side: where events go. Called from worker threads, so it must not block.
pub trait MediaEvents: Send + Sync {
    /// Hands an event over without blocking.
    fn send(&self, event: MediaEvent);
}

/// The queue to the media server is full, or the media server has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the media server takes no more orders at the moment")]
pub struct Full;

impl<T: MediaOrders + ?Sized> MediaOrders for Arc<T> {
    fn send(&self, order: MediaOrder) -> Result<(), Full> {
        (**self).send(order)
    }

    fn queue(&self, order: MediaOrder) -> Result<(), Full> {
        (**self).queue(order)
    }

    fn flush(&self) {
        (**self).flush();
    }
}

impl<T: MediaEvents + ?Sized> MediaEvents for Arc<T> {
    fn send(&self, event: MediaEvent) {
        (**self).send(event);
    }
}

/// Turns any function into a place where events go.
#[derive(Debug, Clone)]
pub struct EventsTo<F>(pub F);

impl<F: Fn(MediaEvent) + Send + Sync> MediaEvents for EventsTo<F> {
    fn send(&self, event: MediaEvent) {
        (self.0)(event);
    }
}

/// Sending end of [`event_queue`]. Events that find it full are dropped and counted.
#[derive(Debug)]
pub struct EventSender {
    queue: mpsc::SyncSender<MediaEvent>,
    dropped: AtomicU64,
}

impl EventSender {
    /// How many events found the queue full or its reader gone.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl MediaEvents for EventSender {
    fn send(&self, event: MediaEvent) {
        if self.queue.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A queue of at most `bound` events, for an edge that has a thread to read it.
#[must_use]
pub fn event_queue(bound: usize) -> (Arc<EventSender>, mpsc::Receiver<MediaEvent>) {
    let (queue, events) = mpsc::sync_channel(bound);
    (Arc::new(EventSender { queue, dropped: AtomicU64::new(0) }), events)
}

/// What a thread that has panicked left behind is still whole: nothing here panics half way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use model::{LegId, SessionId, media::Event};

    use super::*;

    fn event(leg: u64) -> MediaEvent {
        MediaEvent { session: SessionId(1), event: Event::FirstPacket { leg: LegId(leg) } }
    }

    #[test]
    fn a_full_event_queue_drops_and_counts_and_keeps_the_order() {
        let (sender, events) = event_queue(2);
        for leg in 0..3 {
            sender.send(event(leg));
        }
        assert_eq!(events.try_iter().collect::<Vec<_>>(), [event(0), event(1)]);
        assert_eq!(sender.dropped(), 1);
    }

    #[test]
    fn a_function_takes_events() {
        let (sender, events) = mpsc::channel();
        let twin: Arc<dyn MediaEvents> = Arc::new(EventsTo(move |event| {
            sender.send(event).unwrap();
        }));
        twin.send(event(7));
        assert_eq!(events.recv().unwrap(), event(7));
    }
}
