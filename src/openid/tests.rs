use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
        RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    document::{self, Authentication},
    exchange::{self, Client, Code, Refusal},
    keys::{Algorithm, Found, Keys},
    token::{self, Expected, Refused},
    used::{Taken, USED_MAX, Used},
};

const ISSUER: &str = "https://login.example.com";
const NOW: i64 = 1_800_000_000;
const EXPECTED: Expected<'static> =
    Expected { issuer: ISSUER, client_id: "switchboard", nonce: "n-1", subject_claim: "sub" };

/// A provider's private keys.
struct Signers {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Signers {
    fn new() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            ed: Ed25519KeyPair::generate().unwrap(),
        }
    }

    /// Modulus and exponent, out of the RSAPublicKey of RFC 8017 Appendix A.1.1, whose lengths are always these.
    fn modulus(&self) -> (Vec<u8>, Vec<u8>) {
        let der = self.rsa.public_key().as_ref();
        assert_eq!((der.len(), der[8]), (270, 0));
        (der[9..265].to_vec(), der[267..].to_vec())
    }

    fn set(&self, generation: &str) -> Value {
        let encoded = |octets: &[u8]| URL_SAFE_NO_PAD.encode(octets);
        let (n, e) = self.modulus();
        let point = self.ec.public_key().as_ref();
        json!({"keys": [
            {"kty": "RSA", "kid": format!("rsa-{generation}"), "use": "sig", "n": encoded(&n), "e": encoded(&e)},
            {"kty": "EC", "kid": format!("ec-{generation}"), "crv": "P-256", "x": encoded(&point[1..33]), "y": encoded(&point[33..])},
            {"kty": "OKP", "kid": format!("ed-{generation}"), "crv": "Ed25519", "x": encoded(self.ed.public_key().as_ref())},
        ]})
    }

    fn keys(&self, generation: &str) -> Keys {
        Keys::read(self.set(generation).to_string().as_bytes()).unwrap()
    }

    fn sign(&self, header: &Value, claims: &Value, how: &str) -> String {
        let encoded = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let text = format!("{}.{}", encoded(header), encoded(claims));
        let random = SystemRandom::new();
        let rsa = |encoding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; 256];
            self.rsa.sign(encoding, &random, text.as_bytes(), &mut signature).unwrap();
            signature
        };
        let signature = match how {
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "ES256" => self.ec.sign(&random, text.as_bytes()).unwrap().as_ref().to_vec(),
            "EdDSA" => self.ed.sign(text.as_bytes()).as_ref().to_vec(),
            _ => Vec::new(),
        };
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(&json!({"alg": "RS256", "kid": "rsa-1", "typ": "JWT"}), claims, "RS256")
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "switchboard", "sub": "ada", "exp": NOW + 300, "iat": NOW - 10, "nonce": "n-1",
        "email": "ada@example.com", "email_verified": true,
    })
}

fn but(name: &str, value: Value) -> Value {
    let mut claims = claims();
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

#[test]
fn a_token_holds_by_each_algorithm_that_is_taken() {
    let signers = Signers::new();
    let keys = signers.keys("1");
    for (algorithm, kid) in [("RS256", "rsa-1"), ("PS256", "rsa-1"), ("ES256", "ec-1"), ("EdDSA", "ed-1")] {
        for header in [json!({"alg": algorithm, "kid": kid}), json!({"alg": algorithm, "typ": "jwt"})] {
            let token = signers.sign(&header, &claims(), algorithm);
            let verified = token::verify(&token, &keys, &EXPECTED, NOW).unwrap();
            assert_eq!((verified.subject.as_str(), verified.until), ("ada", NOW + 360), "{algorithm}");
        }
    }
}

#[test]
fn each_claim_that_is_wrong_has_its_own_words() {
    let signers = Signers::new();
    let keys = signers.keys("1");
    let missing = |name: &str| Err(Refused::Missing(name.into()));
    let rows: &[(&str, Value, Result<(), Refused>)] = &[
        (
            "iss",
            json!("https://login.example.com/"),
            Err(Refused::Issuer("https://login.example.com/".into())),
        ),
        ("iss", json!(7), missing("iss")),
        ("iss", Value::Null, missing("iss")),
        ("aud", json!("other"), Err(Refused::Audience("other".into()))),
        ("aud", json!(["other", "third"]), Err(Refused::Audience("other, third".into()))),
        ("aud", json!(["switchboard"]), Ok(())),
        ("aud", json!(["switchboard", "other"]), missing("azp")),
        ("aud", json!([]), missing("aud")),
        ("aud", json!(["switchboard", 7]), missing("aud")),
        ("aud", Value::Null, missing("aud")),
        ("azp", json!("switchboard"), Ok(())),
        ("azp", json!("other"), Err(Refused::Party("other".into()))),
        ("azp", json!(["switchboard"]), Err(Refused::Party("what is no text".into()))),
        ("exp", json!(NOW - 60), Ok(())),
        ("exp", json!(NOW - 61), Err(Refused::Expired(61))),
        ("exp", json!(NOW as f64 + 0.5), Ok(())),
        ("exp", json!("never"), missing("exp")),
        ("exp", Value::Null, missing("exp")),
        ("iat", json!(NOW + 60), Ok(())),
        ("iat", json!(NOW + 61), Err(Refused::Early("iat", 61))),
        ("iat", json!(NOW - 660), Ok(())),
        ("iat", json!(NOW - 661), Err(Refused::Old(661))),
        ("iat", Value::Null, missing("iat")),
        ("nbf", json!(NOW + 61), Err(Refused::Early("nbf", 61))),
        ("nonce", json!("n-2"), Err(Refused::Nonce)),
        ("nonce", Value::Null, Err(Refused::Nonce)),
        ("sub", Value::Null, missing("sub")),
        ("sub", json!(""), missing("sub")),
        ("sub", json!("a".repeat(256)), missing("sub")),
        ("email_verified", json!(false), Ok(())),
    ];
    for (name, value, wanted) in rows {
        let token = signers.token(&but(name, value.clone()));
        let found = token::verify(&token, &keys, &EXPECTED, NOW).map(|_| ());
        assert_eq!(found, *wanted, "{name}: {value}");
    }
    let both = json!({"aud": ["switchboard", "other"], "azp": "switchboard"});
    let mut claims = claims();
    both.as_object().unwrap().iter().for_each(|(name, value)| claims[name] = value.clone());
    assert!(token::verify(&signers.token(&claims), &keys, &EXPECTED, NOW).is_ok());
}

#[test]
fn an_address_of_mail_counts_only_where_it_is_verified() {
    let signers = Signers::new();
    let keys = signers.keys("1");
    let expected = Expected { subject_claim: "email", ..EXPECTED };
    for (name, value, wanted) in [
        ("email_verified", json!(true), Ok("ada@example.com")),
        ("email_verified", json!(false), Err(Refused::Unverified)),
        ("email_verified", json!("true"), Err(Refused::Unverified)),
        ("email_verified", Value::Null, Err(Refused::Unverified)),
        ("email", Value::Null, Err(Refused::Missing("email".into()))),
    ] {
        let found = token::verify(&signers.token(&but(name, value.clone())), &keys, &expected, NOW);
        assert_eq!(found.map(|verified| verified.subject), wanted.map(str::to_owned), "{name}: {value}");
    }
}

#[test]
fn no_token_chooses_how_it_is_verified() {
    let signers = Signers::new();
    let keys = signers.keys("1");
    let (modulus, _) = signers.modulus();
    let encoded = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    // Signed with what everybody knows: the public key as a secret.
    let text = format!("{}.{}", encoded(&json!({"alg": "HS256", "kid": "rsa-1"})), encoded(&claims()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &modulus), text.as_bytes());
    let by_secret = format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()));
    let rows = [
        ("a secret", by_secret, Refused::Algorithm("HS256".into())),
        ("nothing", signers.sign(&json!({"alg": "none"}), &claims(), ""), Refused::Algorithm("none".into())),
        ("None", signers.sign(&json!({"alg": "None"}), &claims(), ""), Refused::Algorithm("None".into())),
        ("no alg", signers.sign(&json!({}), &claims(), ""), Refused::Algorithm("nothing".into())),
        (
            "RS384",
            signers.sign(&json!({"alg": "RS384"}), &claims(), "RS256"),
            Refused::Algorithm("RS384".into()),
        ),
        (
            "an RSA key for ECDSA",
            signers.sign(&json!({"alg": "ES256", "kid": "rsa-1"}), &claims(), "ES256"),
            Refused::UnknownKey,
        ),
        (
            "PKCS #1 called PSS",
            signers.sign(&json!({"alg": "PS256", "kid": "rsa-1"}), &claims(), "RS256"),
            Refused::Signature,
        ),
        (
            "no signature",
            signers.sign(&json!({"alg": "RS256", "kid": "rsa-1"}), &claims(), ""),
            Refused::Signature,
        ),
        (
            "a key of its own",
            signers.sign(
                &json!({"alg": "RS256", "jwk": signers.set("1")["keys"][0], "kid": "mine"}),
                &claims(),
                "RS256",
            ),
            Refused::UnknownKey,
        ),
        (
            "what must be understood",
            signers.sign(&json!({"alg": "RS256", "kid": "rsa-1", "crit": ["exp"]}), &claims(), "RS256"),
            Refused::Form("its header has `crit`"),
        ),
        (
            "an access token",
            signers.sign(&json!({"alg": "RS256", "kid": "rsa-1", "typ": "at+jwt"}), &claims(), "RS256"),
            Refused::Form("its `typ` is not JWT"),
        ),
    ];
    for (what, token, wanted) in rows {
        assert_eq!(token::verify(&token, &keys, &EXPECTED, NOW), Err(wanted), "{what}");
    }
    // A key that is for one algorithm is for no other of its kind.
    let mut set = signers.set("1");
    set["keys"][0]["alg"] = json!("PS256");
    let keys = Keys::read(set.to_string().as_bytes()).unwrap();
    assert_eq!(token::verify(&signers.token(&claims()), &keys, &EXPECTED, NOW), Err(Refused::UnknownKey));
}

#[test]
fn another_key_is_unknown_until_the_provider_publishes_it() {
    let (before, after) = (Signers::new(), Signers::new());
    let header = json!({"alg": "ES256", "kid": "ec-2"});
    let token = after.sign(&header, &claims(), "ES256");
    assert_eq!(token::verify(&token, &before.keys("1"), &EXPECTED, NOW), Err(Refused::UnknownKey));
    assert!(token::verify(&token, &after.keys("2"), &EXPECTED, NOW).is_ok());
    // The same name for another key is no way around.
    assert_eq!(token::verify(&token, &before.keys("2"), &EXPECTED, NOW), Err(Refused::Signature));
    // Who names no key is understood as long as there is one.
    let mut set = before.set("1");
    let other = after.set("2")["keys"][0].clone();
    set["keys"].as_array_mut().unwrap().push(other);
    let keys = Keys::read(set.to_string().as_bytes()).unwrap();
    let unnamed = before.sign(&json!({"alg": "RS256"}), &claims(), "RS256");
    assert_eq!(token::verify(&unnamed, &keys, &EXPECTED, NOW), Err(Refused::WhichKey));
}

#[test]
fn a_token_is_told_apart_by_what_is_signed() {
    let signers = Signers::new();
    let keys = signers.keys("1");
    let header = json!({"alg": "ES256", "kid": "ec-1"});
    // ECDSA signs the same text otherwise each time.
    let [one, two] = [(); 2].map(|()| signers.sign(&header, &claims(), "ES256"));
    assert_ne!(one, two);
    let id = |token: &str| token::verify(token, &keys, &EXPECTED, NOW).unwrap().id;
    assert_eq!(id(&one), id(&two));
    let other = signers.sign(&header, &but("iat", json!(NOW - 9)), "ES256");
    assert_ne!(id(&one), id(&other));
}

#[test]
fn a_token_is_used_once_and_forgotten_when_it_holds_no_more() {
    let mut used = Used::default();
    let id = |number: usize| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        id
    };
    assert_eq!(used.take(id(0), NOW + 360, NOW), Taken::First);
    assert_eq!(used.take(id(0), NOW + 360, NOW + 300), Taken::Again);
    used.forget(NOW + 360);
    assert_eq!(used.take(id(0), NOW + 360, NOW + 360), Taken::Again);
    used.forget(NOW + 361);
    assert_eq!(used.take(id(0), NOW + 720, NOW + 361), Taken::First);
    for number in 1..USED_MAX {
        assert_eq!(used.take(id(number), NOW + 720, NOW + 361), Taken::First);
    }
    assert_eq!(used.take(id(USED_MAX), NOW + 720, NOW + 361), Taken::Full);
    assert_eq!(used.take(id(USED_MAX), NOW + 1_200, NOW + 721), Taken::First);
}

#[test]
fn keys_that_sign_no_id_token_are_passed_over() {
    let signers = Signers::new();
    let good = signers.set("1")["keys"].clone();
    let (rsa, ec) = (&good[0], &good[1]);
    let with = |key: &Value, name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        key
    };
    let useless = [
        json!(7),
        json!({"kty": "oct", "kid": "rsa-1", "k": "c2VjcmV0"}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}),
        with(rsa, "use", json!("enc")),
        with(rsa, "key_ops", json!(["encrypt"])),
        with(rsa, "alg", json!("RSA-OAEP")),
        with(rsa, "n", json!("not base64!")),
        with(rsa, "n", json!("")),
        with(ec, "crv", json!("P-384")),
        with(ec, "x", json!("AA")),
        json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
    ];
    for key in &useless {
        let body = json!({"keys": [key]}).to_string();
        assert!(Keys::read(body.as_bytes()).unwrap_err().contains("no key for RS256"), "{key}");
    }
    let mut mixed = useless.to_vec();
    mixed.extend(good.as_array().unwrap().clone());
    let keys = Keys::read(json!({"keys": mixed}).to_string().as_bytes()).unwrap();
    assert!(matches!(keys.find(Some("rsa-1"), Algorithm::Rs256), Found::One(_)));
    assert_eq!(keys.find(Some("rsa-1"), Algorithm::EdDsa), Found::None);
    assert!(Keys::read(b"<html>").unwrap_err().contains("no JWK Set"));
    // A short key proves nothing: 1,024 bits can be factored.
    let short = with(rsa, "n", json!(URL_SAFE_NO_PAD.encode([0xc5; 128])));
    let keys = Keys::read(json!({"keys": [short]}).to_string().as_bytes()).unwrap();
    assert_eq!(token::verify(&signers.token(&claims()), &keys, &EXPECTED, NOW), Err(Refused::Signature));
}

fn configuration() -> Value {
    json!({
        "issuer": ISSUER, "authorization_endpoint": "https://login.example.com/auth",
        "token_endpoint": "https://api.example.com/token?v=2", "jwks_uri": "https://login.example.com/keys/",
    })
}

#[test]
fn a_provider_must_speak_for_its_issuer_and_over_tls() {
    assert_eq!(document::address("https://a.example"), "https://a.example/.well-known/openid-configuration");
    assert_eq!(
        document::address("https://a.example/b/"),
        "https://a.example/b/.well-known/openid-configuration"
    );
    for (name, value, wanted) in [
        ("more", json!(1), ""),
        (
            "issuer",
            json!("https://evil.example"),
            "names the issuer `https://evil.example`, not `https://login.example.com`",
        ),
        ("issuer", json!("https://login.example.com/"), "names the issuer"),
        (
            "token_endpoint",
            json!("http://login.example.com/token"),
            "`token_endpoint` is `http://login.example.com/token`",
        ),
        ("jwks_uri", json!("https://user@login.example.com/keys"), "`jwks_uri` is"),
        ("authorization_endpoint", json!("javascript:alert(1)"), "`authorization_endpoint` is"),
        ("jwks_uri", json!(7), "no configuration of an OpenID provider"),
    ] {
        let mut configuration = configuration();
        configuration[name] = value.clone();
        let read = document::read(configuration.to_string().as_bytes(), ISSUER);
        let found = read.map_or_else(|fault| fault.to_string(), |_| String::new());
        assert!(found.contains(wanted) && found.is_empty() == wanted.is_empty(), "{name} {value}: {found}");
    }
    assert!(document::read(b"<html>", ISSUER).is_err());
    for (address, wanted) in [
        ("https://a.example/b?c=d", Some(("https://a.example", "/b?c=d"))),
        ("https://[2001:db8::1]:8443", Some(("https://[2001:db8::1]:8443", ""))),
        ("https://a.example?x", Some(("https://a.example", "?x"))),
        ("https://a.example/#x", None),
        ("https://a.example/ x", None),
        ("https:///x", None),
    ] {
        assert_eq!(document::parts(address), wanted, "{address}");
    }
}

#[test]
fn a_code_is_exchanged_in_the_way_that_the_provider_has() {
    let code = Code { code: "c/1", verifier: "v~1", redirect_uri: "https://desk.example.com/?a=b" };
    let fields = "grant_type=authorization_code&code=c%2F1&redirect_uri=https%3A%2F%2Fdesk.example.com%2F%3Fa%3Db&code_verifier=v~1";
    let secret = Client { id: "us:1", secret: Some("p&w") };
    for (methods, client, more, authorization) in [
        (json!(null), &secret, "", Some("Basic dXMlM0ExOnAlMjZ3")),
        (json!(["client_secret_post", "client_secret_basic"]), &secret, "", Some("Basic dXMlM0ExOnAlMjZ3")),
        (json!(["client_secret_post"]), &secret, "&client_id=us%3A1&client_secret=p%26w", None),
        (json!(["none"]), &Client { id: "us:1", secret: None }, "&client_id=us%3A1", None),
    ] {
        let mut configuration = configuration();
        configuration["token_endpoint_auth_methods_supported"] = methods.clone();
        let document = document::read(configuration.to_string().as_bytes(), ISSUER).unwrap();
        let form = exchange::form(&document, client, &code).unwrap();
        assert_eq!(form.body, format!("{fields}{more}"), "{methods}");
        assert_eq!(form.authorization.as_deref(), authorization, "{methods}");
        assert_eq!(format!("{form:?} {code:?}"), "[redacted] [redacted]");
        assert!(!format!("{client:?}").contains("p&w"));
    }
    let mut configuration = configuration();
    configuration["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt"]);
    let document = document::read(configuration.to_string().as_bytes(), ISSUER).unwrap();
    assert_eq!(document.authentication, None::<Authentication>);
    assert!(exchange::form(&document, &secret, &code).is_err());
}

#[test]
fn an_answer_says_whose_fault_it_is() {
    let read = |status: u16, body: &str| exchange::read(status, body.as_bytes());
    assert_eq!(read(200, r#"{"id_token": "a.b.c", "access_token": "x"}"#), Ok("a.b.c".into()));
    for (status, body, wanted) in [
        (400, r#"{"error": "invalid_grant"}"#, Refusal::Code("invalid_grant".into())),
        (400, r#"{"error": "invalid_client"}"#, Refusal::Client("invalid_client".into())),
        (401, r#"{"error": "invalid_client"}"#, Refusal::Client("invalid_client".into())),
        (401, "", Refusal::Client("401".into())),
        (400, "", Refusal::Answer("400".into())),
        (302, "", Refusal::Answer("302, a redirection, which is not followed".into())),
        (500, r#"{"error": "invalid_grant"}"#, Refusal::Answer("500".into())),
    ] {
        assert_eq!(read(status, body), Err(wanted), "{status} {body}");
    }
    assert!(matches!(read(200, r#"{"access_token": "x"}"#), Err(Refusal::Answer(_))));
}

proptest! {
    #[test]
    fn nothing_that_is_sent_brings_a_reader_down(text in "\\PC{0,200}", octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        let keys = Keys::read(br#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#).unwrap();
        let _ = token::verify(&text, &keys, &EXPECTED, NOW);
        let part = URL_SAFE_NO_PAD.encode(&octets);
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg": "EdDSA"}"#);
        let forged = format!("{header}.{part}.{part}");
        prop_assert!(token::verify(&forged, &keys, &EXPECTED, NOW).is_err());
        let _ = Keys::read(&octets);
        let _ = document::read(&octets, ISSUER);
        let _ = exchange::read(200, &octets);
        let _ = document::parts(&text);
    }
}
