//! The end of a process that has calls.

use crate::{
    harness::{Setup, System, wait_until},
    phone::{CARRIER, Phone},
};

const LONG: &str = "+18005550103";

#[test]
fn a_second_signal_ends_a_drain_at_once_and_tells_who_is_on_a_call_why() {
    for second in ["TERM", "INT"] {
        let hour =
            |system: &System| system.edit("platform.yaml", "drainSeconds: 1\n", "drainSeconds: 3600\n");
        let system = System::start(&Setup::default(), hour);
        let mut phones: Vec<_> = (0..3).map(|_| Phone::new(&system, CARRIER, LONG)).collect();
        for phone in &mut phones {
            phone.call("0 101");
        }
        system.process().tell("TERM");
        system.process().wait_for_output("draining: 3 calls, 3600 s at most");
        // The line is printed before the edge is told.
        wait_until("no call is taken", || {
            let mut late = Phone::new(&system, CARRIER, LONG);
            let offer = late.offer("0 101");
            late.invite(&offer).code() == 503
        });
        system.process().tell(second);
        for phone in &phones {
            let bye = phone.wait_for_bye();
            let reason = bye.header("Reason").unwrap_or_default();
            assert!(reason.starts_with("SIP;cause=503;text=\"the edge is stopping"), "{}", bye.text);
        }
        let status = system.process().wait();
        assert!(status.success(), "{status}\n{}", system.log());
        assert!(!system.log().contains("panicked"), "{}", system.log());
    }
}
