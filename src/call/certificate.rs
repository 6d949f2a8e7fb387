//! Who is at the other end of a connection under TLS, as a certificate proves (RFC 5922).

use std::collections::BTreeSet;

use model::{TrunkId, snapshot::Trunk, trunk::TlsVersion};

/// What a connection under TLS is worth: the version, what the peer's certificate says, and who believes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// What is spoken.
    pub version: TlsVersion,
    /// Whether the peer has shown a certificate at all.
    pub certified: bool,
    /// SIP domains (RFC 5922 §7.1) and addresses of the certificate, in lower case.
    pub names: Vec<String>,
    /// Trunks whose authorities vouch for it.
    pub vouched: BTreeSet<TrunkId>,
}

/// Names of which one must stand in a certificate of the trunk's peers: those it lists, else the hosts that we call.
pub fn wanted_names(trunk: &Trunk) -> impl Iterator<Item = &str> {
    let listed = trunk.tls.peer_names.iter().map(String::as_str);
    let is_listed = !trunk.tls.peer_names.is_empty();
    listed.chain(trunk.peers.iter().filter(move |_| !is_listed).map(|peer| peer.host.as_str()))
}

/// What is known of who calls.
#[derive(Debug, Clone, Copy)]
pub enum Proof<'a> {
    /// Taken for whom the source says, for a question without a call.
    Taken,
    /// What the connection's certificate proves, if there is one.
    Shown(Option<&'a Identity>),
}

/// Why a trunk that asks for a certificate, or a newer TLS, does not take a call with this one. None: it does, or asks
/// for none.
pub(crate) fn failure(proof: Proof<'_>, (id, trunk): (&TrunkId, &Trunk)) -> Option<String> {
    let Proof::Shown(identity) = proof else { return None };
    if identity.is_some_and(|identity| identity.version < trunk.tls.minimum_version) {
        return Some("its tls.minimumVersion is TLSv1.3, and the call came under TLS 1.2".into());
    }
    if !trunk.tls.client_certificate {
        return None;
    }
    let identity = identity.filter(|identity| identity.certified);
    let Some(identity) = identity else {
        return Some(
            "its tls.clientCertificate is Required, and the call came without one: its peer must show one under TLS"
                .into(),
        );
    };
    if !identity.vouched.contains(id) {
        return Some(
            "the peer's certificate is of no authority that it trusts, or none for clients: see its tls.caSecretRef \
             and tls.serverAuthEku"
                .into(),
        );
    }
    let fits = |wanted: &str| identity.names.iter().any(|name| name.eq_ignore_ascii_case(wanted));
    if wanted_names(trunk).any(fits) {
        return None;
    }
    // Names come from a stranger: few, and as text.
    let named: Vec<_> = identity.names.iter().take(4).map(|name| format!("{name:?}")).collect();
    Some(format!("the peer's certificate names {}, none of its tls.peerNames", named.join(", ")))
}

#[cfg(test)]
mod tests {
    use model::trunk::{TlsVersion, TrunkTls};

    use super::*;

    fn trunk(client_certificate: bool) -> Trunk {
        let trunk = serde_json::json!({
            "network": "public", "delivers": "Pstn", "ucaasPartner": false, "direction": "Both", "sources": [],
            "peers": [], "codecs": [], "callsMax": null, "grants": [],
        });
        let tls = TrunkTls {
            client_certificate,
            peer_names: vec!["sip.carrier.example".into()],
            ..TrunkTls::default()
        };
        Trunk { tls, ..serde_json::from_value(trunk).unwrap() }
    }

    #[test]
    fn a_trunk_that_asks_for_the_newer_tls_takes_no_call_under_the_older() {
        let id = TrunkId::new("platform", "a");
        let mut trunk = trunk(false);
        trunk.tls.minimum_version = TlsVersion::Tls13;
        for (version, is_taken) in [(TlsVersion::Tls12, false), (TlsVersion::Tls13, true)] {
            let identity = Identity { version, ..Identity::default() };
            let found = failure(Proof::Shown(Some(&identity)), (&id, &trunk));
            assert_eq!(found.is_none(), is_taken, "{found:?}");
        }
        assert_eq!(
            failure(Proof::Shown(None), (&id, &trunk)),
            None,
            "in the clear, where there is no TLS to be old"
        );
    }

    #[test]
    fn a_trunk_that_asks_for_a_certificate_takes_its_own_alone() {
        let (id, other) = (TrunkId::new("platform", "a"), TrunkId::new("platform", "b"));
        let identity = |name: &str, vouched: &TrunkId| Identity {
            version: TlsVersion::Tls12,
            certified: true,
            names: vec![name.into()],
            vouched: BTreeSet::from([vouched.clone()]),
        };
        for (what, identity, asks, wanted) in [
            ("no certificate", None, true, Some("without one")),
            ("no certificate, and none asked for", None, false, None),
            ("the right one", Some(identity("sip.carrier.example", &id)), true, None),
            ("the right one in capitals", Some(identity("SIP.carrier.example", &id)), true, None),
            ("another name", Some(identity("evil.example", &id)), true, Some("none of its tls.peerNames")),
            ("a name below it", Some(identity("a.sip.carrier.example", &id)), true, Some("none of its")),
            ("a wildcard", Some(identity("*.carrier.example", &id)), true, Some("none of its")),
            (
                "of another authority",
                Some(identity("sip.carrier.example", &other)),
                true,
                Some("no authority"),
            ),
        ] {
            let found = failure(Proof::Shown(identity.as_ref()), (&id, &trunk(asks)));
            match wanted {
                None => assert_eq!(found, None, "{what}"),
                Some(part) => {
                    assert!(found.as_ref().is_some_and(|found| found.contains(part)), "{what}: {found:?}")
                }
            }
        }
    }
}
