//! TLS around connections: handshakes both ways, bounded in time and number.

use std::time::Duration;

use model::{net::Flow, trunk::TlsVersion};
use openssl::ssl::SslVersion;
use rustls::{ProtocolVersion, pki_types::CertificateDer};
use tokio::{net::TcpStream, time::timeout};
use tokio_openssl::SslStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    shell::Shared,
    tls::{Shown, client::Expected},
};

/// How long a handshake may take.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);

/// None: it came to nothing, which the log says.
pub async fn accept(core: &Shared, flow: Flow, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
    let (config, _under_way) = {
        let mut core = core.borrow_mut();
        match core.server_config(flow) {
            Ok(found) => found,
            Err(because) => {
                core.complain(flow, &format!("closed a connection: {because}"));
                return None;
            }
        }
    };
    let shaken = timeout(HANDSHAKE_WAIT, TlsAcceptor::from(config).accept(stream)).await;
    let mut core = core.borrow_mut();
    let because = match shaken {
        Ok(Ok(stream)) => {
            let session = stream.get_ref().1;
            let chain = session.peer_certificates().map(owned).unwrap_or_default();
            let newer = session.protocol_version() == Some(ProtocolVersion::TLSv1_3);
            core.secured(flow, Shown { version: version(newer), chain, as_server: false });
            return Some(stream);
        }
        Ok(Err(error)) => format!("no TLS with who connected: {error}"),
        Err(_) => format!("no TLS with who connected: the handshake took longer than {HANDSHAKE_WAIT:?}"),
    };
    core.insecure(flow, &because);
    None
}

/// None: it came to nothing, which the log says.
pub async fn connect(core: &Shared, flow: Flow, stream: TcpStream) -> Option<SslStream<TcpStream>> {
    let target = {
        let mut core = core.borrow_mut();
        match core.target(flow) {
            Ok(target) => target,
            Err(because) => {
                core.insecure(flow, &format!("no TLS with the peer: {because}"));
                return None;
            }
        }
    };
    let shaking = target.client.connect(stream, &target.host, Expected::SipNames(&target.names));
    let shaken = timeout(HANDSHAKE_WAIT, shaking).await;
    let mut core = core.borrow_mut();
    let because = match shaken {
        Ok(Ok(stream)) => {
            let chain = stream.ssl().peer_cert_chain().into_iter().flatten();
            let chain = chain.filter_map(|one| one.to_der().ok().map(CertificateDer::from)).collect();
            let newer = stream.ssl().version2() == Some(SslVersion::TLS1_3);
            core.secured(flow, Shown { version: version(newer), chain, as_server: true });
            return Some(stream);
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the handshake took longer than {HANDSHAKE_WAIT:?}"),
    };
    core.insecure(flow, &format!("no TLS with the peer `{}`: {because}", target.host));
    None
}

/// Nothing older is spoken than the two.
const fn version(newer: bool) -> TlsVersion {
    if newer { TlsVersion::Tls13 } else { TlsVersion::Tls12 }
}

fn owned(chain: &[CertificateDer<'_>]) -> Vec<CertificateDer<'static>> {
    chain.iter().map(|certificate| certificate.clone().into_owned()).collect()
}
