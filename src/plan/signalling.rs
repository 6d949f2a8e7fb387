//! How trunks are spoken to, as pods are told: digest, registration, TLS, numbers, probes.

use api::v1alpha1 as v1;
use model::{
    Key,
    centre::SecretKey,
    snapshot::{Capture, Tracing},
    trunk::{
        Attestation, CallerIdPolicy, CipherSuite, DigestAlgorithm, Health, NumberFormat, NumberFormats,
        Proxy, Register, Stir, StirSign, StirVerify, TlsPolicy, TlsVersion, TrunkDigest, TrunkTls,
        default_failover_codes,
    },
};

use crate::{
    platform::host_and_perhaps_port,
    snapshot::figure,
    world::{Item, PlannedTrunk, World},
};

/// Suites that a trunk is offered besides the cluster's: most carriers have an RSA certificate.
const USUAL: [CipherSuite; 2] = [CipherSuite::EcdheRsaAes128Gcm, CipherSuite::EcdheRsaAes256Gcm];

/// Where a collector of HEP listens as a rule.
const HEP_PORT: u16 = 9_060;

pub(crate) fn policy(item: &Item<v1::VoiceClusterSpec>) -> TlsPolicy {
    let tls = &item.spec.tls;
    TlsPolicy {
        minimum_version: version(tls.minimum_version),
        inbound_suites: suites(&tls.inbound_suites),
        outbound_suites: suites(&tls.outbound_suites),
        certificate: tls.certificate_ref.as_ref().map(|secret| Key::new(item.namespace(), &secret.name)),
    }
}

/// In their order, each once.
pub(crate) fn digest_algorithms(item: &Item<v1::VoiceClusterSpec>) -> Vec<DigestAlgorithm> {
    let mut algorithms = Vec::new();
    for algorithm in &item.spec.digest_algorithms {
        let algorithm = match algorithm {
            v1::DigestAlgorithm::Md5 => DigestAlgorithm::Md5,
            v1::DigestAlgorithm::Sha256 => DigestAlgorithm::Sha256,
            v1::DigestAlgorithm::Sha512256 => DigestAlgorithm::Sha512256,
        };
        if !algorithms.contains(&algorithm) {
            algorithms.push(algorithm);
        }
    }
    algorithms
}

pub(crate) fn capture(item: &Item<v1::VoiceClusterSpec>) -> Option<Capture> {
    let capture = item.spec.capture.as_ref()?;
    let (host, port) = host_and_perhaps_port(&capture.collector)?;
    let secret = capture.secret_ref.as_ref();
    Some(Capture {
        host,
        port: port.unwrap_or(HEP_PORT),
        id: figure(capture.id),
        secret: secret.map(|secret| (Key::new(item.namespace(), &secret.name), secret.key.clone())),
    })
}

pub(crate) fn tracing(item: &Item<v1::VoiceClusterSpec>) -> Option<Tracing> {
    let tracing = item.spec.tracing.as_ref()?;
    let place = |secret: &v1::SecretKeyRef| (Key::new(item.namespace(), &secret.name), secret.key.clone());
    Some(Tracing {
        endpoint: tracing.endpoint.trim_end_matches('/').to_owned(),
        sample_permille: figure(tracing.sample_permille),
        headers: tracing.headers_secret_ref.as_ref().map(place),
        ca: tracing.ca_secret_ref.as_ref().map(place),
    })
}

pub(crate) fn stir(stir: &v1::Stir) -> Stir {
    let sign = stir.sign.as_ref().map(|sign| StirSign {
        key: secret(&sign.key_secret_ref),
        certificate: secret(&sign.certificate_secret_ref),
        certificate_url: sign.certificate_url.clone(),
        maximum_attestation: match sign.maximum_attestation {
            v1::Attestation::A => Attestation::A,
            v1::Attestation::B => Attestation::B,
            v1::Attestation::C => Attestation::C,
        },
        origin_id: sign.origin_id.clone(),
    });
    let verify = stir.verify.as_ref().filter(|verify| verify.mode != v1::StirMode::Disabled);
    let verify = verify.map(|verify| StirVerify {
        required: verify.mode == v1::StirMode::Require,
        anchors: secret(&verify.anchors_secret_ref),
        ca: verify.ca_secret_ref.as_ref().map(secret),
    });
    Stir { sign, verify }
}

/// What a trunk narrows, else the cluster's and the usual ones.
pub(crate) fn tls(planned: &PlannedTrunk, world: &World) -> TrunkTls {
    let cluster = world.clusters.get(&planned.cluster).map(|cluster| &cluster.spec.tls);
    let mut offered = cluster.map(|tls| suites(&tls.outbound_suites)).unwrap_or_default();
    offered.extend(USUAL.into_iter().filter(|suite| !offered.contains(suite)).collect::<Vec<_>>());
    let oldest = cluster.map(|tls| version(tls.minimum_version)).unwrap_or_default();
    let Some(own) = &planned.item.spec.tls else {
        return TrunkTls { minimum_version: oldest, suites: offered, ..TrunkTls::default() };
    };
    let narrowed = suites(&own.suites);
    offered.retain(|suite| narrowed.is_empty() || narrowed.contains(suite));
    TrunkTls {
        minimum_version: version(own.minimum_version).max(oldest),
        suites: offered,
        peer_names: own.peer_names.clone(),
        ca: own.ca_secret_ref.as_ref().map(secret),
        client_certificate: own.client_certificate == v1::ClientCertificate::Required,
        accept_server_auth_eku: own.server_auth_eku == v1::ServerAuthEku::Accepted,
    }
}

pub(crate) fn digest(digest: &v1::Digest) -> TrunkDigest {
    TrunkDigest {
        username: digest.username.clone(),
        secret: secret(&digest.secret_ref),
        realm: digest.realm.clone(),
        challenge: digest.challenge == v1::Challenge::Always,
    }
}

pub(crate) fn register(register: &v1::Register) -> Option<Register> {
    let (host, port) = host_and_perhaps_port(&register.registrar)?;
    Some(Register {
        host,
        port,
        user: register.user.clone(),
        expires_seconds: figure(register.expires_seconds),
    })
}

pub(crate) fn proxy(address: &str) -> Option<Proxy> {
    host_and_perhaps_port(address).map(|(host, port)| Proxy { host, port })
}

pub(crate) fn number_formats(formats: Option<&v1::NumberFormats>) -> NumberFormats {
    let Some(formats) = formats else { return NumberFormats::default() };
    NumberFormats {
        inbound: number_format(formats.inbound),
        outbound: number_format(formats.outbound),
        country: formats.country.clone(),
    }
}

const fn number_format(format: v1::NumberFormat) -> NumberFormat {
    match format {
        v1::NumberFormat::E164 => NumberFormat::E164,
        v1::NumberFormat::E164WithoutPlus => NumberFormat::E164WithoutPlus,
        v1::NumberFormat::National => NumberFormat::National,
        v1::NumberFormat::International => NumberFormat::International,
    }
}

pub(crate) const fn caller_id_policy(policy: v1::CallerIdPolicy) -> CallerIdPolicy {
    match policy {
        v1::CallerIdPolicy::Granted => CallerIdPolicy::Granted,
        v1::CallerIdPolicy::Forwarded => CallerIdPolicy::Forwarded,
    }
}

pub(crate) fn health(health: &v1::Health) -> Health {
    Health {
        period_seconds: figure(health.period_seconds),
        timeout_seconds: figure(health.timeout_seconds),
        failures: figure(health.failures),
    }
}

/// Sorted, each once.
pub(crate) fn failover_codes(codes: &[i32]) -> Vec<u16> {
    if codes.is_empty() {
        return default_failover_codes();
    }
    let mut codes: Vec<u16> = codes.iter().filter_map(|code| u16::try_from(*code).ok()).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

fn secret(reference: &v1::SecretKeyRef) -> SecretKey {
    SecretKey { name: reference.name.clone(), key: reference.key.clone() }
}

const fn version(version: v1::TlsVersion) -> TlsVersion {
    match version {
        v1::TlsVersion::Tls12 => TlsVersion::Tls12,
        v1::TlsVersion::Tls13 => TlsVersion::Tls13,
    }
}

fn suites(suites: &[v1::CipherSuite]) -> Vec<CipherSuite> {
    let suite = |suite: &v1::CipherSuite| match suite {
        v1::CipherSuite::DheRsaAes128Gcm => CipherSuite::DheRsaAes128Gcm,
        v1::CipherSuite::EcdheRsaAes128Cbc => CipherSuite::EcdheRsaAes128Cbc,
        v1::CipherSuite::EcdheEcdsaAes128Gcm => CipherSuite::EcdheEcdsaAes128Gcm,
        v1::CipherSuite::EcdheEcdsaAes256Gcm => CipherSuite::EcdheEcdsaAes256Gcm,
        v1::CipherSuite::EcdheRsaAes128Gcm => CipherSuite::EcdheRsaAes128Gcm,
        v1::CipherSuite::EcdheRsaAes256Gcm => CipherSuite::EcdheRsaAes256Gcm,
    };
    suites.iter().map(suite).collect()
}
