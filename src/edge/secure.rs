//! TLS around connections: handshakes both ways, bounded in time and number, on threads of their own. An RSA signature takes
//! longer than most things that a call asks for, and whoever wants one chooses when.

use std::{io, time::Duration};

use model::{net::Flow, trunk::TlsVersion};
use openssl::ssl::SslVersion;
use rustls::{ProtocolVersion, pki_types::CertificateDer};
use tokio::{net::TcpStream, time::timeout};
use tokio_openssl::SslStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    movable::Movable,
    shell::Shared,
    tls::{Shown, client::Expected},
};

/// How long a handshake may take.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);

/// None: it came to nothing, which the log says.
pub async fn accept(core: &Shared, flow: Flow, stream: TcpStream) -> Option<TlsStream<Movable>> {
    let (config, _under_way, workers) = {
        let mut core = core.borrow_mut();
        match core.server_config(flow) {
            Ok((config, under_way)) => (config, under_way, core.workers()?),
            Err(because) => {
                core.complain(flow, &format!("closed a connection: {because}"));
                return None;
            }
        }
    };
    let shaking = async move {
        let mut stream = Movable::leaving(stream)?;
        stream.arrive()?;
        let mut stream = TlsAcceptor::from(config).accept(stream).await?;
        let session = stream.get_ref().1;
        let chain = session.peer_certificates().map(owned).unwrap_or_default();
        let newer = session.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        stream.get_mut().0.leave()?;
        io::Result::Ok((stream, Shown { version: version(newer), chain, as_server: false }))
    };
    let because = match workers.spawn(timeout(HANDSHAKE_WAIT, shaking)).await {
        Ok(Ok(Ok((mut stream, shown)))) => match stream.get_mut().0.arrive() {
            Ok(()) => {
                secured(core, flow, shown).await;
                return Some(stream);
            }
            Err(error) => error.to_string(),
        },
        Ok(Ok(Err(error))) => error.to_string(),
        Ok(Err(_)) => format!("the handshake took longer than {HANDSHAKE_WAIT:?}"),
        // The edge is ending.
        Err(_) => return None,
    };
    core.borrow_mut().insecure(flow, &format!("no TLS with who connected: {because}"));
    None
}

/// Or why it came to nothing, which the log says too.
pub async fn connect(core: &Shared, flow: Flow, stream: TcpStream) -> Result<SslStream<Movable>, String> {
    let (target, workers) = {
        let mut core = core.borrow_mut();
        match core.target(flow) {
            Ok(target) => (target, core.workers().ok_or("the edge is ending")?),
            Err(because) => {
                let because = format!("no TLS with the peer: {because}");
                core.insecure(flow, &because);
                return Err(because);
            }
        }
    };
    let host = target.host.clone();
    let shaking = async move {
        let told = |error: io::Error| error.to_string();
        let mut stream = Movable::leaving(stream).map_err(told)?;
        stream.arrive().map_err(told)?;
        let client = target.client.made()?;
        let shaken = client.connect(stream, &target.host, Expected::SipNames(&target.names)).await;
        let mut stream = shaken.map_err(|error| error.to_string())?;
        let chain = stream.ssl().peer_cert_chain().into_iter().flatten();
        let chain = chain.filter_map(|one| one.to_der().ok().map(CertificateDer::from)).collect();
        let newer = stream.ssl().version2() == Some(SslVersion::TLS1_3);
        stream.get_mut().leave().map_err(told)?;
        Ok((stream, Shown { version: version(newer), chain, as_server: true }))
    };
    let because = match workers.spawn(timeout(HANDSHAKE_WAIT, shaking)).await {
        Ok(Ok(Ok((mut stream, shown)))) => match stream.get_mut().arrive() {
            Ok(()) => {
                secured(core, flow, shown).await;
                return Ok(stream);
            }
            Err(error) => error.to_string(),
        },
        Ok(Ok(Err(because))) => because,
        Ok(Err(_)) => format!("the handshake took longer than {HANDSHAKE_WAIT:?}"),
        Err(_) => "the edge is ending".to_owned(),
    };
    let because = format!("no TLS with the peer `{host}`: {because}");
    core.borrow_mut().insecure(flow, &because);
    Err(because)
}

/// A handshake is through: who it is must be known before its first message.
async fn secured(core: &Shared, flow: Flow, shown: Shown) {
    core.borrow_mut().secured(flow);
    identify(core, flow, shown).await;
}

/// Finds out who a peer is by what it has shown, and tells the engine. Once more, if what that goes by has changed meanwhile.
pub async fn identify(core: &Shared, flow: Flow, shown: Shown) {
    loop {
        let (judge, workers) = {
            let core = core.borrow();
            (core.judge(), core.workers())
        };
        let since = judge.since;
        let asked = shown.clone();
        let identity = match workers {
            // That nothing was shown takes nobody's time.
            Some(workers) if !shown.chain.is_empty() => {
                match workers.spawn(async move { judge.identify(flow, &asked) }).await {
                    Ok(identity) => identity,
                    Err(_) => return,
                }
            }
            _ => judge.identify(flow, &asked),
        };
        if core.borrow_mut().identified(flow, &shown, identity, since) {
            return;
        }
    }
}

/// Nothing older is spoken than the two.
const fn version(newer: bool) -> TlsVersion {
    if newer { TlsVersion::Tls13 } else { TlsVersion::Tls12 }
}

fn owned(chain: &[CertificateDer<'_>]) -> Vec<CertificateDer<'static>> {
    chain.iter().map(|certificate| certificate.clone().into_owned()).collect()
}
