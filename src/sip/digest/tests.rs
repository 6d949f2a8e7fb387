use bytes::Bytes;

use super::*;

const SOURCE: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

fn response(headers: &str) -> Message {
    let text = format!(
        "SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\n\
         Call-ID: 1\r\nCSeq: 1 REGISTER\r\n{headers}\r\n"
    );
    Message::parse(Bytes::from(text.into_bytes())).unwrap()
}

fn mufasa(password: &str) -> Credentials {
    Credentials {
        username: "Mufasa".to_owned(),
        secret: Secret::Password(password.to_owned()),
        least: Algorithm::Md5,
    }
}

/// RFC 7616 §3.9.1, and RFC 2617 §3.5 for the old one.
#[test]
fn the_examples_of_the_rfcs_come_out() {
    let challenge = |algorithm| Challenge {
        realm: "http-auth@example.org".to_owned(),
        nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v".to_owned(),
        opaque: Some("FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS".to_owned()),
        algorithm,
        qop: true,
        stale: false,
    };
    let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
    for (algorithm, expected) in [
        (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
        (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ] {
        let answer = challenge(algorithm)
            .answer(&mufasa("Circle of Life"), "GET", "/dir/index.html", 1, cnonce)
            .unwrap();
        assert_eq!(answer.response, expected);
        assert!(answer.is_right(&Secret::Password("Circle of Life".to_owned()), "GET"));
        assert!(!answer.is_right(&Secret::Password("Circle of life".to_owned()), "GET"));
        assert!(!answer.is_right(&Secret::Password("Circle of Life".to_owned()), "PUT"));
        assert!(!answer.is_right(&Secret::of_nobody(), "GET"));
    }
    let old = Challenge {
        realm: "testrealm@host.com".to_owned(),
        nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093".to_owned(),
        ..challenge(Algorithm::Md5)
    };
    let answer = old.answer(&mufasa("Circle Of Life"), "GET", "/dir/index.html", 1, "0a4f113b").unwrap();
    assert_eq!(answer.response, "6629fae49393a05397450978507c4ef1");
}

/// RFC 7616 §3.9.2 has no password in ASCII, so this one's figure is from an independent tool.
#[test]
fn sha_512_256_is_the_truncated_one() {
    assert_eq!(
        Algorithm::Sha512256.hash(&["abc"]),
        "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
    );
}

#[test]
fn a_hash_proves_as_much_as_its_password() {
    let password = Secret::Password("zanzibar".to_owned());
    let hashed = |algorithm: Algorithm| password.ha1(algorithm, "bob", "biloxi.com");
    let hashes =
        Secret::Ha1 { md5: hashed(Algorithm::Md5), sha256: hashed(Algorithm::Sha256), sha512_256: None };
    for algorithm in Algorithm::ALL {
        for qop in [true, false] {
            let challenge = Challenge {
                realm: "biloxi.com".to_owned(),
                nonce: "n".to_owned(),
                opaque: None,
                algorithm,
                qop,
                stale: false,
            };
            let bob =
                Credentials { username: "bob".to_owned(), secret: hashes.clone(), least: Algorithm::Md5 };
            let answer = challenge.answer(&bob, "INVITE", "sip:b@c", 1, "c");
            assert_eq!(answer.is_some(), hashes.has(algorithm));
            assert!(answer.is_none_or(|answer| answer.is_right(&password, "INVITE")));
        }
    }
}

#[test]
fn nothing_prints_a_secret() {
    let credentials = mufasa("hunter2");
    let hashes = Secret::Ha1 { md5: Some("feed".to_owned()), sha256: None, sha512_256: None };
    let text = format!("{credentials:?} {hashes:?} {:?}", Nonces::new(b"hunter2"));
    assert!(!text.contains("hunter2") && !text.contains("feed") && text.contains("[redacted]"), "{text}");
}

#[test]
fn what_is_written_reads_alike() {
    for (opaque, qop, stale) in [(None, false, false), (Some("x,y=\\\"z".to_owned()), true, true)] {
        for algorithm in Algorithm::ALL {
            let challenge = Challenge {
                realm: "a \\\"b\\\"".to_owned(),
                nonce: "n/=+".to_owned(),
                opaque: opaque.clone(),
                algorithm,
                qop,
                stale,
            };
            let parsed = parse::challenges(challenge.to_value().as_bytes());
            assert_eq!(parsed, std::slice::from_ref(&challenge));
            let answer = challenge.answer(&mufasa("p"), "INVITE", "sip:a@b;x=y", 7, "c").unwrap();
            assert_eq!(parse::answers(answer.to_value().as_bytes()), [answer]);
        }
    }
}

#[test]
fn a_list_of_challenges_is_read_up_to_its_fault() {
    for (text, realms) in [
        (r#"Digest realm="a",nonce="1", Digest realm="b", nonce="2""#, vec!["a", "b"]),
        (r#"Digest  realm = "a" , nonce = "1" ,, qop = "auth-int, auth""#, vec!["a"]),
        (r#"Basic realm="x", DIGEST nonce=1, Realm="a""#, vec!["a"]),
        (r#"Digest realm="a", nonce="1", qop="auth-int""#, vec![]),
        (
            r#"Digest realm="a", nonce="1", algorithm=MD5-sess, Digest realm="b", nonce=2, algorithm=sha-256"#,
            vec!["b"],
        ),
        (r#"Digest realm="a", realm="b", nonce="1""#, vec![]),
        (r#"Digest realm="a", nonce="1", Digest realm="b", nonce="2"#, vec!["a"]),
        (r#"realm="a", nonce="1""#, vec![]),
        ("Negotiate YII=", vec![]),
        ("Digest", vec![]),
        ("", vec![]),
    ] {
        let found = parse::challenges(text.as_bytes());
        assert_eq!(found.iter().map(|one| one.realm.as_str()).collect::<Vec<_>>(), realms, "{text}");
    }
    let folded = response("WWW-Authenticate: Digest\r\n realm=\"a\",\r\n\tnonce=\"1\"\r\n");
    assert_eq!(Challenge::all(&folded, false)[0].nonce, "1");
    assert!(Challenge::all(&folded, true).is_empty());
}

#[test]
fn credentials_that_cannot_be_checked_are_none() {
    let good = r#"Digest username="u", realm="r", nonce="n", uri="sip:a@b", response="00""#;
    assert_eq!(parse::answers(good.as_bytes()).len(), 1);
    for bad in [
        good.replace("username", "name"),
        format!("{good}, qop=auth"),
        format!("{good}, qop=auth, nc=1, cnonce=\"c\""),
        format!("{good}, qop=auth, nc=0000000g, cnonce=\"c\""),
        format!("{good}, qop=auth-int, nc=00000001, cnonce=\"c\""),
        format!("{good}, algorithm=AKAv1-MD5"),
        good.replace("Digest", "Bearer"),
    ] {
        assert!(parse::answers(bad.as_bytes()).is_empty(), "{bad}");
    }
}

#[test]
fn each_realm_is_answered_with_its_strongest_algorithm() {
    let challenged = response(
        "WWW-Authenticate: Digest realm=\"a\", nonce=\"1\", algorithm=MD5\r\n\
         WWW-Authenticate: Digest realm=\"a\", nonce=\"2\", algorithm=SHA-256\r\n\
         WWW-Authenticate: Digest realm=\"b\", nonce=\"3\"\r\n\
         Proxy-Authenticate: Digest realm=\"p\", nonce=\"4\", algorithm=SHA-512-256, qop=\"auth\"\r\n",
    );
    let nonces = |least| {
        let credentials = Credentials { least, ..mufasa("p") };
        let headers = answers(&challenged, &credentials, "REGISTER", "sip:b", 1, "c");
        let read = |header: Header| {
            format!("{} {}", header.name, parse::answers(header.value.as_bytes()).remove(0).nonce)
        };
        headers.into_iter().map(read).collect::<Vec<_>>()
    };
    assert_eq!(nonces(Algorithm::Md5), ["Authorization 2", "Authorization 3", "Proxy-Authorization 4"]);
    assert_eq!(nonces(Algorithm::Sha256), ["Authorization 2", "Proxy-Authorization 4"]);
    assert_eq!(nonces(Algorithm::Sha512256), ["Proxy-Authorization 4"]);
}

#[test]
fn a_nonce_is_good_for_its_source_realm_and_time_alone() {
    let nonces = Nonces::new(&[7; 32]);
    let start = 1_700_000_000_000;
    let nonce = nonces.issue(start, SOURCE, "realm", 1);
    assert_ne!(nonce, nonces.issue(start, SOURCE, "realm", 2));
    let mapped = "::ffff:192.0.2.7".parse().unwrap();
    for (at, source, realm, expected) in [
        (start, SOURCE, "realm", Freshness::Fresh),
        (start + 29_999, SOURCE, "realm", Freshness::Fresh),
        (start, mapped, "realm", Freshness::Fresh),
        (start - 1_000, SOURCE, "realm", Freshness::Fresh),
        (start + 30_000, SOURCE, "realm", Freshness::Stale),
        (start - 3_000, SOURCE, "realm", Freshness::Stale),
        (start, "192.0.2.8".parse().unwrap(), "realm", Freshness::Foreign),
        (start, SOURCE, "other", Freshness::Foreign),
    ] {
        assert_eq!(nonces.check(&nonce, at, source, realm), expected, "{at} {source} {realm}");
    }
    assert_eq!(Nonces::new(&[8; 32]).check(&nonce, start, SOURCE, "realm"), Freshness::Foreign);
    for forged in [
        String::new(),
        "é".repeat(32),
        nonce.to_uppercase(),
        format!("1{}", &nonce[1..]),
        nonce[1..].to_owned(),
    ] {
        assert_eq!(nonces.check(&forged, start, SOURCE, "realm"), Freshness::Foreign, "{forged}");
    }
}

#[test]
fn a_count_is_taken_once_in_any_order() {
    let nonces = Nonces::new(&[7; 32]);
    let [one, other, third] = [1, 2, 3].map(|salt| nonces.issue(1_000, SOURCE, "r", salt));
    let mut window = Window::new(2);
    for (nc, expected) in [
        (1, Taken::First),
        (1, Taken::Again),
        (3, Taken::First),
        (2, Taken::First),
        (2, Taken::Again),
        (100, Taken::First),
        (36, Taken::Again),
        (37, Taken::First),
        (37, Taken::Again),
        (u32::MAX, Taken::First),
        (100, Taken::Again),
    ] {
        assert_eq!(window.take(&one, nc, 1_000), expected, "{nc}");
    }
    assert_eq!(window.take(&other, 0, 1_000), Taken::First);
    assert_eq!(window.take(&other, 0, 1_000), Taken::Again);
    assert_eq!(window.take(&third, 1, 1_000), Taken::Full);
    assert_eq!(window.take(&third, 1, 31_000), Taken::First);
    assert_eq!(window.len(), 1);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(0..=255_u8, 0..200), text in "(Digest |nc=|\"|\\\\|,|=|a){0,30}") {
        for value in [&bytes[..], text.as_bytes()] {
            parse::challenges(value);
            parse::answers(value);
        }
        assert_eq!(Nonces::new(&bytes).check(&text, 0, SOURCE, &text), Freshness::Foreign);
    }
}
