//! Whatever a peer and the layer above do, in any order: nothing panics, outgrows its bounds, or is left over, and each
//! leg ends once.

use std::collections::{BTreeMap, BTreeSet};

use super::{peer::*, *};
use crate::{
    pair::config,
    wire::{Method, Name, copy_for_response},
};

const LEGS_MAX: usize = 6;
const TRANSACTIONS_MAX: usize = 24;
const STEPS: usize = 60;
const SCRIPTS: u64 = 1_500;

const CODES: [u16; 16] = [100, 180, 183, 200, 200, 202, 302, 401, 407, 408, 422, 481, 486, 491, 500, 603];
const METHODS: [&str; 9] = ["INVITE", "ACK", "BYE", "CANCEL", "INFO", "UPDATE", "PRACK", "REFER", "NOTIFY"];
const FIELDS: [&str; 12] = [
    "Require: 100rel\r\nRSeq: 1",
    "Require: 100rel\r\nRSeq: 2",
    "Supported: 100rel, timer",
    "Session-Expires: 90;refresher=uac",
    "Session-Expires: 90;refresher=uas",
    "Session-Expires: 1800\r\nMin-SE: 100",
    "Allow: INVITE, UPDATE",
    "WWW-Authenticate: Digest realm=r, nonce=n",
    "Refer-To: <sip:a@b>",
    "Event: refer\r\nSubscription-State: terminated",
    "Event: refer\r\nSubscription-State: active",
    "Refer-Sub: false",
];

/// A script's world.
struct World {
    endpoint: Endpoint,
    random: SplitMix64,
    now: Instant,
    cseq: u32,
    requests: Vec<Message>,
    responses: Vec<Message>,
    /// Legs, and how often their end was told.
    ended: BTreeMap<LegId, u32>,
    /// Which events were told, by their first word.
    heard: BTreeSet<String>,
    challenges: Vec<ChallengeId>,
    requested: Vec<RequestId>,
}

impl World {
    fn new(seed: u64) -> Self {
        let extensions = Extensions { transfers: true, ..Extensions::default() };
        let config = Config {
            extensions,
            legs_max: LEGS_MAX,
            transactions_max: TRANSACTIONS_MAX,
            ..config(1, Transport::Udp)
        };
        Self {
            endpoint: Endpoint::new(config, seed),
            random: SplitMix64(seed),
            now: epoch(),
            cseq: 1,
            requests: Vec::new(),
            responses: Vec::new(),
            ended: BTreeMap::new(),
            heard: BTreeSet::new(),
            challenges: Vec::new(),
            requested: Vec::new(),
        }
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let place = self.random.below(from.len().max(1) as u64);
        from.get(usize::try_from(place).unwrap()).cloned()
    }

    /// One of the last few.
    fn recent(&mut self, from: &[Message]) -> Option<Message> {
        let few = &from[from.len().saturating_sub(4)..];
        self.pick(few)
    }

    fn step(&mut self) {
        match self.random.below(10) {
            0 => self.new_request(),
            1..=3 => self.answer(),
            4 | 5 => self.request_within(),
            6 => self.wait(),
            _ => self.order(),
        }
        self.drain();
    }

    fn fields(&mut self) -> String {
        let count = self.random.below(4);
        (0..count).map(|_| self.pick(&FIELDS).unwrap().to_owned() + "\r\n").collect()
    }

    fn body(&mut self) -> &'static str {
        if self.random.below(2) == 0 { "" } else { OFFER }
    }

    fn feed(&mut self, text: &str) {
        self.endpoint.handle(self.now, Input::datagram(flow(), Bytes::copy_from_slice(text.as_bytes())));
    }

    fn new_request(&mut self) {
        self.cseq += 1;
        let method = if self.random.below(6) == 0 { "REGISTER" } else { "INVITE" };
        let text = request(method, self.cseq, "", &self.fields()) + self.body();
        self.feed(&text);
    }

    fn answer(&mut self) {
        let requests = std::mem::take(&mut self.requests);
        if let Some(request) = self.recent(&requests).filter(|request| request.method() != Method::Ack) {
            let code = self.pick(&CODES).unwrap();
            let tag = self.pick(&["one", "one", "two"]).unwrap();
            let mut writer = Writer::default();
            writer.response(code, None);
            copy_for_response(&mut writer, &request, &flow(), Some(tag).filter(|_| code > 100));
            writer.header("Contact", "<sip:c@203.0.113.5:7000>");
            let fields = self.fields();
            for (name, value) in fields.lines().filter_map(|line| line.split_once(": ")) {
                writer.header(name, value);
            }
            let bytes = writer.finish("application/sdp", self.body().as_bytes());
            self.endpoint.handle(self.now, Input::datagram(flow(), bytes));
        }
        self.requests = requests;
    }

    fn request_within(&mut self) {
        let (responses, requests) = (std::mem::take(&mut self.responses), std::mem::take(&mut self.requests));
        // As callee the endpoint's tag is in its responses, as caller in its requests.
        let dialog = match self.random.below(2) {
            0 => self.recent(&responses).map(|seen| (seen, false)),
            _ => self.recent(&requests).map(|seen| (seen, true)),
        };
        if let Some((seen, is_caller)) = dialog {
            self.cseq += 1;
            let method = self.pick(&METHODS).unwrap();
            let value = |name| String::from_utf8_lossy(seen.header(name).unwrap()).into_owned();
            let (mut from, mut to) = (value(Name::From), value(Name::To));
            if is_caller {
                std::mem::swap(&mut from, &mut to);
                if !from.contains(";tag") {
                    from += ";tag=one";
                }
            }
            let repeats = matches!(method, "ACK" | "CANCEL") && !is_caller;
            let number = if repeats { seen.cseq() } else { self.cseq };
            let branch = match seen.branch() {
                Some(branch) if repeats && method == "CANCEL" => branch.to_owned(),
                _ => format!("z9hG4bKwithin{}", self.cseq),
            };
            let rseq = seen.header_text(Name::RSeq).unwrap_or("1").to_owned();
            let text = format!(
                "{method} sip:x@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:6000;rport;branch={branch}\r\nFrom: {from}\r\n\
                 To: {to}\r\nCall-ID: {}\r\nCSeq: {number} {method}\r\nRAck: {rseq} {} INVITE\r\n\
                 Contact: <sip:c@203.0.113.5:7000>\r\n{}\r\n{}",
                seen.call_id(),
                seen.cseq(),
                self.fields(),
                self.body()
            );
            self.feed(&text);
        }
        (self.responses, self.requests) = (responses, requests);
    }

    fn wait(&mut self) {
        let most_ms = self.pick(&[100, 1_000, 40_000, 1_000_000]).unwrap();
        let until = self.now + Duration::from_millis(self.random.below(most_ms));
        while let Some((at, _)) = self.endpoint.poll_timeout().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            self.endpoint.handle(self.now, Input::Timeout);
            self.drain();
        }
        self.now = until;
    }

    /// Something that the layer above may say at any time; what does not fit is misuse.
    fn order(&mut self) {
        let (now, sdp) = (self.now, bytes(ANSWER));
        let legs: Vec<_> = self.ended.keys().copied().collect();
        let leg = self.pick(&legs).unwrap_or(LegId(0));
        let challenge = self.challenges.last().copied().unwrap_or(ChallengeId(0));
        let requested = self.requested.last().copied().unwrap_or(RequestId(0));
        let end = &mut self.endpoint;
        let _misuse = match self.random.below(20) {
            0 => {
                let invite = Invite { challenges: true, ..invite_to(flow()) };
                let leg = end.invite(now, invite);
                self.ended.extend(leg.map(|leg| (leg, 0)));
                Ok(())
            }
            1 | 2 => end.accept(now, leg, sdp, &[]),
            3 => end.reject(now, leg, 486, None, &[]),
            4 => end.provisional(now, leg, 183, Some(sdp), &[]),
            5 => end.provisional(now, leg, 180, None, &[]),
            6 => end.bye(now, leg, &[]),
            7 => end.cancel(now, leg, &[]),
            8 => end.reinvite(now, leg, sdp),
            9 => end.update(now, leg, Some(sdp)),
            10 => end.answer_reinvite(now, leg, sdp),
            11 => end.reject_reinvite(now, leg, 488),
            12 => end.refer(now, leg, "<sip:a@b>", &[]),
            13 => end.accept_refer(now, leg),
            14 => end.reject_refer(now, leg, 603, &[]),
            15 => end.notify_refer(now, leg, 200, requested.0 % 2 == 0),
            16 => end.retry_with(now, challenge, &[]),
            17 => end.give_up(now, challenge),
            18 => end.respond_to(now, requested, 200, &[]),
            _ => end.info(now, leg, "a/b", sdp),
        };
    }

    fn drain(&mut self) {
        let mut count = 0;
        while let Some(output) = self.endpoint.poll() {
            count += 1;
            assert!(count < 400, "outputs without end");
            match output {
                Output::Transmit { bytes, .. } => {
                    let message = Message::parse(bytes).unwrap();
                    let kind = if message.is_request() { &mut self.requests } else { &mut self.responses };
                    kind.push(message);
                }
                Output::Event(event) => self.told(&event),
                Output::Note(_) => {}
            }
        }
        assert!(self.endpoint.legs() <= LEGS_MAX);
        // A BYE, and what a 2xx of another fork needs, is never held back.
        assert!(self.endpoint.transactions() <= 2 * TRANSACTIONS_MAX, "{}", self.endpoint.transactions());
    }

    fn told(&mut self, event: &Event) {
        self.heard.extend(words(event).split(' ').next().map(str::to_owned));
        match event {
            Event::Challenged { id, .. } => return self.challenges.push(*id),
            Event::Requested { id, .. } => return self.requested.push(*id),
            Event::Invited { leg, .. } => assert_eq!(self.ended.insert(*leg, 0), None),
            _ => {}
        }
        let Some(leg) = event.leg() else { return };
        let ended = self.ended.entry(leg).or_default();
        assert_eq!(*ended, 0, "{event:?} after its end");
        *ended += u32::from(matches!(event, Event::Ended { .. }));
    }

    /// Everybody hangs up, and time goes on.
    fn end(&mut self) {
        for leg in self.ended.keys().copied().collect::<Vec<_>>() {
            let (end, now) = (&mut self.endpoint, self.now);
            let hung_up = end.bye(now, leg, &[]).or_else(|_| end.cancel(now, leg, &[]));
            let _over = hung_up.or_else(|_| end.reject(now, leg, 480, None, &[]));
        }
        self.drain();
        for _ in 0..2_000 {
            let Some((at, _)) = self.endpoint.poll_timeout() else { break };
            self.now = self.now.max(at);
            self.endpoint.handle(self.now, Input::Timeout);
            self.drain();
        }
    }
}

#[test]
fn nothing_is_left_whatever_was_said() {
    let mut heard = BTreeSet::new();
    for seed in 0..SCRIPTS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.end();
        let end = &world.endpoint;
        let left = (end.legs(), end.transactions(), end.challenged.len(), end.own.len(), end.theirs.len());
        assert_eq!(left, (0, 0, 0, 0, 0), "{seed} {end:#?}");
        assert!(world.ended.values().all(|count| *count == 1), "{seed} {:?}", world.ended);
        heard.append(&mut world.heard);
    }
    // All but the end of a request of ours, which nobody makes.
    assert_eq!(heard.len(), 20, "{heard:?}");
}
