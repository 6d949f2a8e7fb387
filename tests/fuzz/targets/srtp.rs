//! Protected packets of a peer that has the key and of one that has not: nothing but what was protected comes out, and once (RFC 3711).
#![no_main]

use fuzz::datagrams;
use libfuzzer_sys::fuzz_target;
use model::media::{CryptoSuite, MasterKey};
use rtp::srtp::{OVERHEAD_MAX, Receiver, Sender};

/// Longest packet that is tried.
const LENGTH_MAX: usize = 1_500;

fuzz_target!(|input: &[u8]| {
    let Some((&[which, strange], rest)) = input.split_first_chunk::<2>() else { return };
    let suite = CryptoSuite::ALL[usize::from(which) % CryptoSuite::ALL.len()];
    let key = MasterKey::new(suite, vec![7; suite.key_length() + suite.salt_length()]);
    let (mut sender, mut receiver) = (Sender::new(&key, 0).expect("a key"), Receiver::new(&key).expect("a key"));
    for datagram in datagrams(rest).filter(|datagram| datagram.len() <= LENGTH_MAX) {
        // As it is: no tag of it can be right.
        let mut forged = datagram.to_vec();
        assert!(receiver.unprotect(&mut forged).is_err(), "forged");
        let mut forged = datagram.to_vec();
        assert!(receiver.unprotect_rtcp(&mut forged).is_err(), "forged");
        // Protected, changed on the way or not, and again.
        let mut packet = datagram.to_vec();
        packet.resize(datagram.len() + OVERHEAD_MAX, 0);
        let Ok(length) = sender.protect(&mut packet, datagram.len()) else { continue };
        assert!(length <= packet.len());
        packet.truncate(length);
        let (mut changed, mut again) = (packet.clone(), packet.clone());
        changed[usize::from(strange) % length] ^= 1;
        assert!(receiver.unprotect(&mut changed).is_err(), "changed");
        if let Ok(length) = receiver.unprotect(&mut packet) {
            assert_eq!(&packet[..length], datagram);
            assert!(receiver.unprotect(&mut again).is_err(), "replayed");
        }
    }
});
