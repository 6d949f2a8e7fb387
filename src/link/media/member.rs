//! An edge's stream to one media pod.

use std::{
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::Status;

use super::{
    pool::{MemberId, Shared},
    streams::{MESSAGES_MAX, Streams},
};
use crate::{
    MediaOrders,
    backoff::Backoff,
    identity::{Identity, Role},
    server::MESSAGE_MAX,
    tls::channel,
    wire::{Attached, FromEdge, ToEdge, from_edge, media_client::MediaClient, to_edge},
};

/// How long an attempt to connect may take.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// How often an edge says that it is there, and how long a media pod may not answer.
const PING: Duration = Duration::from_secs(1);
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// How a media pod is reached.
pub enum Way {
    Network(SocketAddr),
    Twin(Arc<Streams>, Arc<dyn MediaOrders>),
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => fmt::Display::fmt(address, f),
            Self::Twin(..) => f.write_str("twin"),
        }
    }
}

type Heard = Pin<Box<dyn Stream<Item = Result<ToEdge, Status>> + Send>>;

/// Connects, and connects again, until it is aborted or the pool is gone.
pub async fn run(pool: Weak<Shared>, id: MemberId, way: Way, changed: Arc<Notify>, mut backoff: Backoff) {
    loop {
        let Some(shared) = pool.upgrade() else { return };
        let end = attempt(&shared, &id, &way, &changed, &mut backoff).await;
        shared.down(&id);
        drop(shared);
        tracing::debug!(pod = %id.0, ?way, status = ?end.err(), "no stream to a media pod");
        sleep(backoff.next()).await;
    }
}

async fn attempt(
    shared: &Shared,
    id: &MemberId,
    way: &Way,
    changed: &Notify,
    backoff: &mut Backoff,
) -> Result<(), Status> {
    let (told, said) = mpsc::channel(MESSAGES_MAX);
    // The attach goes ahead: a media pod may answer nothing before it has come.
    let first = FromEdge { what: Some(from_edge::What::Attach(shared.attach(id))) };
    told.send(first).await.map_err(|_| Status::internal("no room"))?;
    let open = open(shared, way, ReceiverStream::new(said));
    let late = |_| Status::deadline_exceeded("the media pod does not answer");
    let mut heard = timeout(CONNECT_WAIT, open).await.map_err(late)??;
    let attached = match timeout(CONNECT_WAIT, heard.next()).await.map_err(late)? {
        Some(Ok(ToEdge { what: Some(to_edge::What::Attached(attached)) })) => attached,
        Some(Err(status)) => return Err(status),
        Some(Ok(_)) | None => return Err(Status::internal("no answer to the attach")),
    };
    let Attached { resumed, received } = attached;
    if !shared.up(id, resumed, received) {
        return Err(Status::internal("the media pod has orders that were never given"));
    }
    backoff.reset();
    serve(shared, id, changed, told, heard).await
}

async fn open(shared: &Shared, way: &Way, said: ReceiverStream<FromEdge>) -> Result<Heard, Status> {
    match way {
        Way::Twin(streams, orders) => {
            let heard = streams.open(&shared.identity, Arc::clone(orders), said.map(Ok))?;
            Ok(Box::pin(heard))
        }
        Way::Network(address) => {
            let media = Identity::new(shared.identity.cluster.clone(), Role::Media);
            let channel = channel(&shared.tls, &address.to_string(), &media.dns_name()).await;
            let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
            let mut client = MediaClient::new(channel).max_decoding_message_size(MESSAGE_MAX);
            Ok(Box::pin(client.attach(said).await?.into_inner()))
        }
    }
}

async fn serve(
    shared: &Shared,
    id: &MemberId,
    changed: &Notify,
    told: mpsc::Sender<FromEdge>,
    mut heard: Heard,
) -> Result<(), Status> {
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut heard_at, mut owes) = (Instant::now(), false);
    loop {
        tokio::select! {
            message = heard.next() => {
                let Some(message) = message.transpose()? else { return Ok(()) };
                heard_at = Instant::now();
                if let Some(to_edge::What::Events(batch)) = message.what {
                    // What came is confirmed with the next orders or the next ping.
                    if !shared.heard(id, batch) {
                        return Err(Status::internal("the media pod does not keep to the rules"));
                    }
                }
            }
            permit = told.reserve(), if owes || shared.has_orders(id) => {
                let Ok(permit) = permit else { return Ok(()) };
                if let Some(batch) = shared.orders(id, owes) {
                    permit.send(FromEdge { what: Some(from_edge::What::Orders(batch)) });
                }
                owes = false;
            }
            () = changed.notified() => {}
            _ = ping.tick() => owes = true,
            () = sleep_until(heard_at + SILENCE_MAX) => {
                return Err(Status::deadline_exceeded("the media pod has said nothing for too long"));
            }
        }
    }
}
