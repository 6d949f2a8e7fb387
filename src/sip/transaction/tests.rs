//! Tables whose rows are words, and every small script.

use super::{State::*, *};

trait Machine {
    fn step(&mut self, now: Instant, input: Input);
    fn out(&mut self) -> Option<Output>;
    fn state_now(&self) -> State;
    fn deadline(&self) -> Option<(Instant, Timer)>;
}

macro_rules! machine {
    ($($kind:ident)*) => {$(
        impl Machine for $kind {
            fn step(&mut self, now: Instant, input: Input) { self.handle(now, input); }
            fn out(&mut self) -> Option<Output> { self.poll() }
            fn state_now(&self) -> State { self.state() }
            fn deadline(&self) -> Option<(Instant, Timer)> { self.poll_timeout() }
        }
    )*};
}

machine! { InviteClient OtherClient InviteServer OtherServer }

#[test]
fn invite_client_edges() {
    for (script, state, trace) in [
        ("", Calling, "INVITE"),
        ("A", Calling, "INVITE INVITE"),
        ("A A", Calling, "INVITE INVITE INVITE"),
        ("B", Terminated, "INVITE TimedOut"),
        ("<180", Proceeding, "INVITE Pass"),
        ("<180 <183", Proceeding, "INVITE Pass Pass"),
        ("<200", Accepted, "INVITE Pass"),
        ("<200 <200", Accepted, "INVITE Pass Pass"),
        ("<200 <486", Accepted, "INVITE Pass"),
        ("<200 failed", Accepted, "INVITE Pass"),
        ("<200 timer", Terminated, "INVITE Pass"),
        ("<486", Completed, "INVITE ACK Pass"),
        ("<486 <486", Completed, "INVITE ACK Pass ACK"),
        ("<486 <200", Completed, "INVITE ACK Pass"),
        ("<486 failed", Terminated, "INVITE ACK Pass Failed"),
        ("<486 timer", Terminated, "INVITE ACK Pass"),
        ("<180 <486", Completed, "INVITE Pass ACK Pass"),
        ("<180 <200", Accepted, "INVITE Pass Pass"),
        ("<180 abandon", Terminated, "INVITE Pass TimedOut"),
        ("failed", Terminated, "INVITE Failed"),
        ("failed <200", Terminated, "INVITE Failed"),
    ] {
        let mut tx = InviteClient::new(epoch(), false, Timers::default(), Bytes::from_static(b"INVITE"));
        assert_eq!(run(&mut tx, script), (state, trace.to_owned()), "{script}");
    }
}

#[test]
fn other_client_edges() {
    for (script, state, trace) in [
        ("", Trying, "BYE"),
        ("E", Trying, "BYE BYE"),
        ("F", Terminated, "BYE TimedOut"),
        ("<100", Proceeding, "BYE Pass"),
        ("<100 E", Proceeding, "BYE Pass BYE"),
        ("<100 F", Terminated, "BYE Pass TimedOut"),
        ("<200", Completed, "BYE Pass"),
        ("<200 <200", Completed, "BYE Pass"),
        ("<481", Completed, "BYE Pass"),
        ("<100 <200 timer", Terminated, "BYE Pass Pass"),
        ("failed", Terminated, "BYE Failed"),
        ("<200 failed", Completed, "BYE Pass"),
    ] {
        let mut tx = OtherClient::new(epoch(), false, Timers::default(), Bytes::from_static(b"BYE"));
        assert_eq!(run(&mut tx, script), (state, trace.to_owned()), "{script}");
    }
}

#[test]
fn invite_server_edges() {
    for (script, state, trace) in [
        ("180", Proceeding, "180"),
        ("180 again", Proceeding, "180 180"),
        ("again", Proceeding, ""),
        ("200", Accepted, "200"),
        ("200 again", Accepted, "200"),
        ("200 200", Accepted, "200 200"),
        ("200 486", Accepted, "200"),
        ("200 failed", Accepted, "200"),
        ("200 timer", Terminated, "200"),
        ("486", Completed, "486"),
        ("486 G", Completed, "486 486"),
        ("486 H", Terminated, "486 NoAck"),
        ("486 again", Completed, "486 486"),
        ("486 200", Completed, "486"),
        ("486 ack", Confirmed, "486"),
        ("486 ack ack", Confirmed, "486"),
        ("486 ack again", Confirmed, "486"),
        ("486 ack timer", Terminated, "486"),
        ("486 failed", Terminated, "486 Failed"),
        ("failed 200", Terminated, "Failed"),
    ] {
        let mut tx = InviteServer::new(false, Timers::default());
        assert_eq!(run(&mut tx, script), (state, trace.to_owned()), "{script}");
    }
}

#[test]
fn other_server_edges() {
    for (script, state, trace) in [
        ("again", Trying, ""),
        ("100", Proceeding, "100"),
        ("100 again", Proceeding, "100 100"),
        ("200", Completed, "200"),
        ("200 again again", Completed, "200 200 200"),
        ("100 200 500", Completed, "100 200"),
        ("200 timer", Terminated, "200"),
        ("failed", Terminated, "Failed"),
        ("200 failed", Terminated, "200 Failed"),
    ] {
        let mut tx = OtherServer::new(false, Timers::default());
        assert_eq!(run(&mut tx, script), (state, trace.to_owned()), "{script}");
    }
}

/// The times of RFC 3261 §17.1.1.2 and §17.1.2.2, in milliseconds from the start.
#[test]
fn copies_are_sent_when_the_rfc_says() {
    let bytes = Bytes::from_static(b"x");
    let mut invite = InviteClient::new(epoch(), false, Timers::default(), bytes.clone());
    assert_eq!(schedule(&mut invite), [500, 1500, 3500, 7500, 15500, 31500, 32000]);
    let mut other = OtherClient::new(epoch(), false, Timers::default(), bytes.clone());
    assert_eq!(
        schedule(&mut other),
        [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500, 32000]
    );
    let mut server = InviteServer::new(false, Timers::default());
    server.handle(epoch(), Input::Respond(486, bytes));
    assert_eq!(
        schedule(&mut server),
        [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500, 32000]
    );
}

#[test]
fn over_tcp_nothing_is_sent_twice_and_nothing_lingers() {
    let bytes = Bytes::from_static(b"x");
    let mut invite = InviteClient::new(epoch(), true, Timers::default(), bytes.clone());
    assert_eq!(invite.poll_timeout(), Some((epoch() + Timers::default().give_up(), Timer::B)));
    assert_eq!(run(&mut invite, "<486").0, Terminated);
    let mut other = OtherClient::new(epoch(), true, Timers::default(), bytes);
    assert_eq!(run(&mut other, "<200").0, Terminated);
    let mut server = InviteServer::new(true, Timers::default());
    assert_eq!(run(&mut server, "486").0, Completed);
    assert_eq!(server.poll_timeout(), Some((epoch() + Timers::default().give_up(), Timer::H)));
    assert_eq!(run(&mut server, "ack").0, Terminated);
    let mut server = OtherServer::new(true, Timers::default());
    assert_eq!(run(&mut server, "200").0, Terminated);
}

/// Small enough to try everything: every word to the power of five, for each machine, both transports.
#[test]
fn every_script_leaves_a_machine_that_ends_by_itself() {
    const CLIENT: [&str; 7] = ["<100", "<200", "<486", "<600", "failed", "timer", "<180"];
    const SERVER: [&str; 7] = ["180", "200", "486", "600", "failed", "timer", "again"];
    for number in 0..7_usize.pow(5) {
        for reliable in [false, true] {
            let bytes = Bytes::from_static(b"x");
            let times = Timers::default();
            ends(&mut InviteClient::new(epoch(), reliable, times, bytes.clone()), &CLIENT, number);
            ends(&mut OtherClient::new(epoch(), reliable, times, bytes), &CLIENT, number);
            ends(&mut InviteServer::new(reliable, times), &SERVER, number);
            ends(&mut OtherServer::new(reliable, times), &SERVER, number);
        }
    }
}

fn ends(tx: &mut dyn Machine, words: &[&str], number: usize) {
    let script: Vec<_> = (0..5).map(|place| words[number / words.len().pow(place) % words.len()]).collect();
    run(tx, &script.join(" "));
    schedule(tx);
    // Without a deadline it is over, or it waits for the layer above or the peer's user.
    assert!(matches!(tx.state_now(), Trying | Proceeding | Terminated), "{script:?}");
}

fn schedule(tx: &mut dyn Machine) -> Vec<u128> {
    let mut times = Vec::new();
    while let Some((at, _)) = tx.deadline() {
        assert!(times.len() < 40, "it never ends");
        times.push((at - epoch()).as_millis());
        tx.step(at, Input::Timeout);
        while tx.out().is_some() {}
    }
    times
}

fn run(tx: &mut dyn Machine, script: &str) -> (State, String) {
    let mut now = epoch();
    let mut seen = Vec::new();
    let mut drain = |tx: &mut dyn Machine| {
        while let Some(output) = tx.out() {
            seen.push(match output {
                Output::Transmit(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                Output::Pass | Output::TimedOut | Output::NoAck | Output::Failed => format!("{output:?}"),
            });
        }
    };
    drain(tx);
    for word in script.split_whitespace() {
        let input = match word {
            "again" => Input::Retransmit,
            "ack" => Input::Ack,
            "failed" => Input::TransportFailed,
            "abandon" => Input::Abandon,
            "timer" | "A" | "E" | "G" => {
                now = tx.deadline().map_or(now, |(at, _)| at);
                Input::Timeout
            }
            // Copies that would have been sent before are not what the row is about.
            "B" | "F" | "H" => {
                seen_until_last(tx);
                now = tx.deadline().map_or(now, |(at, _)| at);
                Input::Timeout
            }
            code if code.starts_with('<') => {
                Input::Response(code[1..].parse().unwrap(), Bytes::from_static(b"ACK"))
            }
            code => Input::Respond(code.parse().unwrap(), Bytes::copy_from_slice(code.as_bytes())),
        };
        tx.step(now, input);
        drain(tx);
    }
    (tx.state_now(), seen.join(" "))
}

fn seen_until_last(tx: &mut dyn Machine) {
    while let Some((at, Timer::A | Timer::E | Timer::G)) = tx.deadline() {
        tx.step(at, Input::Timeout);
        while tx.out().is_some() {}
    }
}

/// `Instant` cannot be built from a number: read it once and let every test share it.
pub fn epoch() -> Instant {
    static EPOCH: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "the one clock of the tests")]
    *EPOCH.get_or_init(Instant::now)
}
