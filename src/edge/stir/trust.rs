//! Certificates of signers: whose they are, and whether an authority that is trusted vouches for them (RFC 8226).

use jiff::Timestamp;
use openssl::{
    asn1::Asn1Time,
    bn::BigNum,
    ecdsa::EcdsaSig,
    hash::{MessageDigest, hash},
    nid::Nid,
    pkey::{HasPublic, Id, PKey, PKeyRef, Public},
    stack::Stack,
    x509::{
        X509, X509Ref, X509StoreContext,
        store::{X509Store, X509StoreBuilder},
        verify::{X509VerifyFlags, X509VerifyParam},
    },
};
use stir::authority::{self, Numbers};

/// Most certificates of authorities, and of one signer's chain.
const ANCHORS_MAX: usize = 256;
pub const CHAIN_MAX: usize = 8;

/// At least 112 bits.
const SECURITY_LEVEL: i32 = 2;

/// Authorities that signers' certificates must come from.
pub struct Anchors(Vec<X509>);

/// A signer that is trusted.
pub struct Trusted {
    key: PKey<Public>,
    /// The numbers that it may sign for. None: its certificate lists none.
    pub numbers: Option<Numbers>,
}

impl Anchors {
    /// Reads PEM.
    ///
    /// # Errors
    /// It has none, as a sentence.
    pub fn new(pem: &[u8]) -> Result<Self, String> {
        let anchors = X509::stack_from_pem(pem).map_err(|_| "the authorities of signers are no PEM")?;
        let anchors: Vec<_> = anchors.into_iter().take(ANCHORS_MAX).collect();
        if anchors.is_empty() {
            return Err("there is no authority of signers to trust".into());
        }
        Ok(Self(anchors))
    }

    /// The signer of a chain, whose own certificate comes first.
    ///
    /// # Errors
    /// Why it is not trusted.
    pub fn vouch_for(&self, chain: &[X509], now: Timestamp) -> Result<Trusted, String> {
        let (leaf, above) = chain.split_first().ok_or("its certificate is empty")?;
        let key = leaf.public_key().map_err(|_| "its certificate's key cannot be read")?;
        if !is_of_p256(&key) {
            return Err("its certificate's key is not of the curve P-256".into());
        }
        self.built(leaf, above, now)?;
        let numbers = numbers_of(leaf)?;
        Ok(Trusted { key, numbers })
    }

    fn built(&self, leaf: &X509Ref, above: &[X509], now: Timestamp) -> Result<(), String> {
        let unusable = |_| "its certificates cannot be looked at".to_owned();
        let store = self.store(now).map_err(unusable)?;
        let mut untrusted = Stack::new().map_err(unusable)?;
        for one in above.iter().take(CHAIN_MAX) {
            untrusted.push(one.clone()).map_err(unusable)?;
        }
        let mut context = X509StoreContext::new().map_err(unusable)?;
        let outcome = context.init(&store, leaf, &untrusted, |context| {
            if !context.verify_cert()? {
                return Ok(Err(context.error().error_string().to_owned()));
            }
            let weak = context.chain().is_some_and(|chain| {
                let signed = chain.iter().take(chain.len().saturating_sub(1).max(1));
                signed
                    .map(|one| one.signature_algorithm().object().nid())
                    .any(|nid| nid != Nid::ECDSA_WITH_SHA256)
            });
            Ok(if weak { Err("it is not signed by ECDSA with SHA-256".to_owned()) } else { Ok(()) })
        });
        outcome.map_err(unusable)?.map_err(|because| format!("its certificate is refused: {because}"))
    }

    fn store(&self, now: Timestamp) -> Result<X509Store, openssl::error::ErrorStack> {
        let mut store = X509StoreBuilder::new()?;
        for anchor in &self.0 {
            store.add_cert(anchor.clone())?;
        }
        let mut parameters = X509VerifyParam::new()?;
        parameters.set_time(now.as_second());
        parameters.set_auth_level(SECURITY_LEVEL);
        // What the YAML names is trusted, whether or not it has signed itself.
        parameters.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
        store.set_param(&parameters)?;
        Ok(store.build())
    }
}

impl Trusted {
    /// Whether a signature of ES256 holds.
    pub fn is_signed(&self, text: &str, signature: &[u8; 64]) -> bool {
        let (r, s) = signature.split_at(32);
        let check = || {
            let digest = hash(MessageDigest::sha256(), text.as_bytes())?;
            let signature =
                EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?;
            signature.verify(&digest, self.key.ec_key()?.as_ref())
        };
        check().unwrap_or(false)
    }

    #[cfg(test)]
    pub fn of(key: PKey<Public>) -> Self {
        Self { key, numbers: None }
    }
}

pub fn is_of_p256<K: HasPublic>(key: &PKeyRef<K>) -> bool {
    key.id() == Id::EC
        && key.ec_key().is_ok_and(|key| key.group().curve_name() == Some(Nid::X9_62_PRIME256V1))
}

pub fn is_valid_at(certificate: &X509Ref, now: Timestamp) -> bool {
    Asn1Time::from_unix(now.as_second())
        .is_ok_and(|now| certificate.not_before() <= now && certificate.not_after() >= now)
}

fn numbers_of(certificate: &X509Ref) -> Result<Option<Numbers>, String> {
    let unreadable = || "its certificate's list of numbers (TNAuthList) cannot be read".to_owned();
    let der = certificate.to_der().map_err(|_| unreadable())?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|_| unreadable())?;
    let list = parsed.extensions().iter().find(|extension| extension.oid.to_id_string() == authority::OID);
    match list {
        None => Ok(None),
        Some(list) => Numbers::read(list.value).map(Some).ok_or_else(unreadable),
    }
}
