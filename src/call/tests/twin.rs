//! The engine between a carrier and a PBX, all in virtual time: both are real SIP endpoints, the media server answers
//! at once and plays every prompt for two seconds.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use call::{
    Now,
    call::{Card, Consult, Listens, Talk},
    engine::{Config, Input, Output, Shard, StationNews, ToAsk, ToSign, ToVerify},
    explanation::Explanation,
    record::{Begun, Disposed, Record, Saved},
};
use jiff::{Timestamp, ToSpan};
use model::{
    AudioId, CallId, LegId, PlayId, SessionId,
    media::{
        CertificateHash, Codec, Event as MediaEvent, Fingerprint, Hearing, ListenId, MediaEvent as Told,
        MediaOrder, MediaParameters, Order, PlayEnd, Recorded, Recording, RecordingEnd, Refusal, Voices,
        tone_of,
    },
    net::{Flow, ListenerIx, Transport},
    program::Step,
    snapshot::Snapshot,
    trunk::{SrtpKeying, SrtpUse},
};
use sip::{
    digest::{self, Credentials},
    endpoint::{self, Ended, Endpoint, Event, Header, Invite, ListenerConfig, RequestId},
    sdp::{self, KeySeed, LocalDtls, LocalMedia},
    transaction::Timers,
};

use crate::{
    engines::Engines,
    world::{flow, snapshot},
};

pub const EDGE: &str = "192.0.2.100:5060";

/// Where agents' phones are heard, if the snapshot has such a listener.
pub const PHONES: &str = "192.0.2.100:5080";

/// A SIP phone of the test: what it heard, in words.
pub struct Phone {
    pub address: SocketAddr,
    pub endpoint: Endpoint,
    pub leg: Option<LegId>,
    pub heard: Vec<String>,
    pub flow: Option<Flow>,
    pub ended: Option<Ended>,
    pub offer: Option<Bytes>,
    /// Requests outside of dialogs that wait for an answer.
    pub requests: VecDeque<RequestId>,
    /// Whether its INVITEs answer challenges: user and password.
    pub credentials: Option<Credentials>,
    /// What its INVITEs carry besides.
    pub headers: Vec<Header>,
    /// The latest message that came, as text.
    pub last: Option<String>,
    /// What it speaks, best first.
    pub codecs: Vec<Codec>,
    /// Whether it has keys of SRTP, and insists on them.
    pub srtp: SrtpUse,
    /// How it agrees on them.
    pub keying: SrtpKeying,
    /// What it says to being asked to answer, where it is not what our endpoint does, which knows of no such thing.
    pub to_talk: Option<u16>,
}

impl Phone {
    pub fn new(address: &str, seed: u64) -> Self {
        Self::with(address, seed, endpoint::Extensions::default())
    }

    pub fn with(address: &str, seed: u64, extensions: endpoint::Extensions) -> Self {
        let config = endpoint::Config {
            listeners: vec![ListenerConfig {
                transport: Transport::Udp,
                sent_by: address.into(),
                serves_register: true,
            }],
            token: "phone".into(),
            user_agent: String::new(),
            legs_max: 1_000,
            transactions_max: 1_000,
            timers: Timers::default(),
            mtu: endpoint::MTU,
            extensions,
        };
        Self {
            address: address.parse().unwrap(),
            endpoint: Endpoint::new(config, seed),
            leg: None,
            heard: Vec::new(),
            flow: None,
            ended: None,
            offer: None,
            requests: VecDeque::new(),
            credentials: None,
            headers: Vec::new(),
            last: None,
            codecs: vec![Codec::Pcmu, Codec::Pcma],
            srtp: SrtpUse::Disabled,
            keying: SrtpKeying::Sdes,
            to_talk: None,
        }
    }

    pub fn media(&self) -> LocalMedia {
        let keyed = self.srtp != SrtpUse::Disabled;
        LocalMedia {
            srtp: self.srtp,
            offers_keys: keyed,
            keys: if keyed && self.keying != SrtpKeying::Dtls {
                KeySeed::new([9; 32]).keys(0)
            } else {
                Vec::new()
            },
            dtls: (keyed && self.keying != SrtpKeying::Sdes).then(|| LocalDtls {
                fingerprint: fingerprint(9),
                waits: false,
                met: None,
            }),
            ..LocalMedia::new(self.address.ip(), 40_000, self.codecs.clone(), 1)
        }
    }

    pub fn leg(&self) -> LegId {
        self.leg.expect("a leg")
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the tests hear what a phone would show")]
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Invited { leg, flow, sdp, .. } => {
                self.leg = Some(leg);
                self.flow = Some(flow);
                self.offer = sdp;
                self.heard.push("INVITE".into());
            }
            Event::Progress { code, sdp, .. } => {
                self.heard.push(format!("{code}{}", if sdp.is_some() { "+sdp" } else { "" }));
            }
            Event::Answered { sdp, .. } => {
                self.heard.push("200".into());
                self.offer = sdp;
            }
            Event::Confirmed { .. } => self.heard.push("ACK".into()),
            Event::Reinvited { .. } => self.heard.push("re-INVITE".into()),
            Event::ReinviteAnswered { .. } => self.heard.push("re-200".into()),
            Event::ReinviteFailed { code, .. } => self.heard.push(format!("re-{code}")),
            Event::ReferProgress { code, is_final, .. } => {
                self.heard.push(format!("refer:{code}{}", if is_final { "!" } else { "" }));
            }
            Event::Info { .. } => self.heard.push("INFO".into()),
            Event::Ended { how, .. } => {
                self.heard.push(match &how {
                    Ended::Failed { code, .. } => code.to_string(),
                    Ended::Bye { by_us: false, .. } => "BYE".into(),
                    Ended::Bye { by_us: true, .. } => "bye".into(),
                    Ended::Cancelled { .. } => "CANCEL".into(),
                    how @ (Ended::Rejected { .. } | Ended::NoAck | Ended::DialogLost { .. }) => {
                        format!("{how:?}")
                    }
                });
                self.ended = Some(how);
            }
            Event::Requested { id, request, .. } => {
                self.requests.push_back(id);
                self.heard.push(request.method_text().to_owned());
            }
            _ => {}
        }
    }

    /// Answers the oldest request outside of dialogs.
    pub fn respond(&mut self, now: Instant, code: u16, headers: &[Header]) {
        let id = self.requests.pop_front().expect("a request");
        self.endpoint.respond_to(now, id, code, headers).unwrap();
    }
}

/// A certificate's.
pub fn fingerprint(octet: u8) -> Fingerprint {
    Fingerprint { hash: CertificateHash::Sha256, value: vec![octet; 32] }
}

/// The media server of the test.
#[derive(Default)]
pub struct Media {
    pub port: u16,
    pub refuses: bool,
    pub playing: BTreeSet<(Instant, SessionId, LegId, PlayId)>,
    pub orders: Vec<String>,
    pub legs: BTreeSet<LegId>,
    pub last: Option<(SessionId, LegId)>,
    pub configured: Vec<(LegId, MediaParameters)>,
    /// Of each leg, whether it may share a port.
    pub shared: Vec<bool>,
    /// What is being recorded, by name, and since when.
    pub recordings: BTreeMap<String, (SessionId, Recording, Instant)>,
    /// Why nothing can be recorded.
    pub full: Option<&'static str>,
    /// How much of a recording is silence, in milliseconds.
    pub silence_ms: u64,
    /// What is listened to last.
    pub listening: Option<(SessionId, LegId, ListenId)>,
    /// Names of what was stored, in order.
    pub stored: Vec<String>,
    /// Who hears whom by the last mixing.
    pub hearings: Vec<Hearing>,
}

impl Media {
    fn begin_recording(&mut self, now: Instant, session: SessionId, recording: Recording) -> Vec<Told> {
        let who = match recording.voices {
            Voices::One(leg) => format!("{}", leg.0 & 0xffff),
            Voices::Stereo(left, right) => format!("{}|{}", left.0 & 0xffff, right.0 & 0xffff),
            Voices::Mixed => "all".into(),
        };
        let bounds =
            [recording.max_ms, recording.silence_ms].map(|ms| ms.map_or("-".into(), |ms| ms.to_string()));
        let keys = &recording.stop_keys;
        self.orders.push(format!("record({who},{}{keys})", bounds.join(",")));
        let name = recording.name.clone();
        assert!(self.recordings.insert(name.clone(), (session, recording, now)).is_none(), "{name} twice");
        if self.full.is_some() { self.end_recording(now, &name, RecordingEnd::Stopped) } else { Vec::new() }
    }

    pub fn end_recording(&mut self, now: Instant, name: &str, end: RecordingEnd) -> Vec<Told> {
        let Some((session, _, since)) = self.recordings.remove(name) else { return Vec::new() };
        let ms = u64::try_from((now - since).as_millis()).unwrap();
        let (name, failed) = (format!("{name}.wav"), self.full.map(str::to_owned));
        self.stored.push(name.clone());
        let sound_ms = ms.saturating_sub(self.silence_ms);
        let recorded = Recorded { name, end, ms, sound_ms, bytes: 44 + ms * 16, failed };
        vec![Told { session, event: MediaEvent::Recorded(Box::new(recorded)) }]
    }

    /// All recordings of a leg that is released end.
    fn silenced(&mut self, now: Instant, leg: LegId) -> Vec<Told> {
        let of = |recording: &Recording| match recording.voices {
            Voices::One(one) => one == leg,
            Voices::Stereo(left, right) => left == leg || right == leg,
            Voices::Mixed => false,
        };
        let names = self.recordings.iter().filter(|(_, (_, recording, _))| of(recording));
        let names: Vec<_> = names.map(|(name, _)| name.clone()).collect();
        names.iter().flat_map(|name| self.end_recording(now, name, RecordingEnd::Stopped)).collect()
    }

    pub fn take(&mut self, now: Instant, MediaOrder { session, order }: MediaOrder) -> Vec<Told> {
        let told = |event| vec![Told { session, event }];
        match order {
            Order::Allocate { leg, .. } if self.refuses => {
                told(MediaEvent::Refused { leg, reason: Refusal::PortsExhausted })
            }
            Order::Allocate { leg, shared, .. } => {
                self.shared.push(shared);
                self.legs.insert(leg);
                self.last.get_or_insert((session, leg));
                self.port += 2;
                let address = IpAddr::from([192, 0, 2, 100]);
                let (rtp_port, fingerprint) = (20_000 + self.port, Some(Box::new(fingerprint(7))));
                told(MediaEvent::Allocated { leg, address, rtp_port, fingerprint })
            }
            Order::Configure { leg, parameters } => {
                self.orders.push(format!("configure({:?},{:?})", parameters.codec, parameters.direction));
                self.configured.push((leg, parameters));
                Vec::new()
            }
            Order::SendDtmf { digits, .. } => {
                self.orders.push(format!("send({digits})"));
                Vec::new()
            }
            Order::Play { leg, play, audio, times } => {
                let name = |id: &AudioId| match tone_of(id) {
                    Some((tone, country)) => format!("{tone:?} of {}", String::from_utf8_lossy(&country)),
                    None => char::from(id.0[0]).to_string(),
                };
                let names: String = audio.iter().map(name).collect();
                self.orders.push(format!("play({names})"));
                let ended = self.stop(leg);
                let seconds = if times.is_some() { 2 } else { 1_000_000 };
                self.playing.insert((now + Duration::from_secs(seconds), session, leg, play));
                ended
            }
            Order::StopPlay { leg } => self.stop(leg),
            Order::Bridge { a, b } => {
                self.orders.push("bridge".into());
                [self.stop(a), self.stop(b)].concat()
            }
            Order::Release { leg } => {
                assert!(self.legs.remove(&leg), "released twice");
                let mut events = self.stop(leg);
                events.extend(self.silenced(now, leg));
                events.extend(told(MediaEvent::Released { leg, quality: Default::default() }));
                events
            }
            order @ (Order::BeginRecording(_)
            | Order::EndRecording { .. }
            | Order::PauseRecording { .. }
            | Order::ForgetRecording { .. }
            | Order::PlayRecording { .. }
            | Order::Say { .. }
            | Order::Listen { .. }
            | Order::Mix(_)
            | Order::Mute { .. }
            | Order::StopListening { .. }) => self.take_sound(now, session, order),
            Order::Fork { leg, of } => {
                let of = of.map_or("-".into(), |of| format!("{}.{:?}", of.leg.0 & 0xffff, of.side));
                self.orders.push(format!("copy({of}>{})", leg.0 & 0xffff));
                Vec::new()
            }
            Order::Unbridge { .. } => {
                self.orders.push("unbridge".into());
                Vec::new()
            }
            Order::Extend { .. } | Order::Record { .. } => Vec::new(),
        }
    }

    /// What is recorded, played back and listened to.
    fn take_sound(&mut self, now: Instant, session: SessionId, order: Order) -> Vec<Told> {
        match order {
            Order::BeginRecording(recording) => self.begin_recording(now, session, *recording),
            Order::EndRecording { name } => {
                self.orders.push("end".into());
                self.end_recording(now, &name, RecordingEnd::Stopped)
            }
            Order::PauseRecording { paused, .. } => {
                self.orders.push(if paused { "pause".into() } else { "go-on".into() });
                Vec::new()
            }
            Order::ForgetRecording { name } => {
                self.orders.push("forget".into());
                self.stored.retain(|stored| *stored != name);
                Vec::new()
            }
            Order::Say { leg, play, text, .. } => {
                self.orders.push(format!("say({text})"));
                let ended = self.stop(leg);
                self.playing.insert((now + Duration::from_secs(2), session, leg, play));
                ended
            }
            Order::PlayRecording { leg, play, name } => {
                assert!(self.stored.contains(&name), "{name} is not stored");
                self.orders.push("replay".into());
                let ended = self.stop(leg);
                self.playing.insert((now + Duration::from_secs(2), session, leg, play));
                ended
            }
            Order::Listen { leg, listening } => {
                self.orders.push(format!("listen({}:{})", listening.language, listening.phrases.join("|")));
                self.listening = Some((session, leg, listening.id));
                Vec::new()
            }
            Order::Mute { muted, .. } => {
                self.orders.push(if muted { "mute".into() } else { "unmute".into() });
                Vec::new()
            }
            Order::Mix(hearings) => {
                self.orders.push(format!("mix({})", hearings.len()));
                self.hearings = hearings;
                Vec::new()
            }
            Order::StopListening { .. } => {
                self.orders.push("deaf".into());
                self.listening = None;
                Vec::new()
            }
            Order::Allocate { .. }
            | Order::Extend { .. }
            | Order::Configure { .. }
            | Order::Play { .. }
            | Order::StopPlay { .. }
            | Order::Bridge { .. }
            | Order::Release { .. }
            | Order::Unbridge { .. }
            | Order::SendDtmf { .. }
            | Order::Record { .. }
            | Order::Fork { .. } => Vec::new(),
        }
    }

    pub fn stop(&mut self, leg: LegId) -> Vec<Told> {
        let ended: Vec<_> = self.playing.iter().filter(|playing| playing.2 == leg).copied().collect();
        ended.into_iter().map(|playing| self.end(playing, PlayEnd::Stopped)).collect()
    }

    pub fn end(&mut self, playing: (Instant, SessionId, LegId, PlayId), how: PlayEnd) -> Told {
        self.playing.remove(&playing);
        let (_, session, leg, play) = playing;
        Told { session, event: MediaEvent::PlayEnded { leg, play, how } }
    }
}

pub struct Virtual {
    pub now: Now,
    pub engine: Engines,
    pub carrier: Phone,
    pub pbx: Phone,
    /// Further phones.
    pub more: Vec<Phone>,
    pub media: Media,
    pub explanations: Vec<Explanation>,
    pub begun: Vec<Begun>,
    pub records: Vec<Record>,
    pub strangers: usize,
    pub told: Vec<String>,
    pub saved: Vec<Saved>,
    pub news: Vec<String>,
    pub asked: Vec<ToAsk>,
    pub to_verify: Vec<ToVerify>,
    pub to_sign: Vec<ToSign>,
    /// By which each message of the edge left.
    pub flows: Vec<Flow>,
    pub stations: Vec<StationNews>,
    /// What agents do, in words.
    pub states: Vec<String>,
    /// Queue and agent.
    pub offers: Vec<String>,
    /// What agents see of whom they may call.
    pub cards: Vec<Arc<Card>>,
    /// The contact that was offered last.
    pub offered: Option<CallId>,
    /// Agents whose offers came to nothing.
    pub offers_over: Vec<String>,
    /// How conversations stand for agents, and what was refused them, in words; and which the last one was.
    pub talks: Vec<String>,
    pub talking: Option<CallId>,
    /// Work after contacts, and what was said of them, in words.
    pub wraps: Vec<String>,
    pub disposed: Vec<Disposed>,
    pub wire: VecDeque<(SocketAddr, SocketAddr, Bytes)>,
    /// What came to the engine, and from whom.
    pub sent: Vec<(SocketAddr, String)>,
    /// To whom nothing is delivered until [`Virtual::let_go`].
    pub holds: Option<SocketAddr>,
    pub held: Vec<(SocketAddr, SocketAddr, Bytes)>,
}

impl Virtual {
    pub fn new(steps: Vec<Step>) -> Self {
        let mut snapshot = snapshot();
        snapshot.flows = [flow("main", steps, Vec::new())].into();
        Self::with(snapshot)
    }

    pub fn with(snapshot: Snapshot) -> Self {
        let config = Config {
            token: "e1".into(),
            shard: Shard::ALONE,
            together: None,
            first_call: 1,
            seed: 7,
            legs_max: 1_000,
            transactions_max: 1_000,
            nonces: sip::digest::Nonces::new(&[7; 32]),
        };
        #[expect(clippy::disallowed_methods, reason = "the one clock of the tests")]
        let instant = Instant::now();
        let mut world = Self {
            now: Now { instant, wall: "2026-11-23T15:00:00Z".parse::<Timestamp>().unwrap() },
            engine: Engines::new(config, snapshot.into(), Default::default()).unwrap(),
            carrier: Phone::new("192.0.2.1:5060", 1),
            pbx: Phone::new("192.0.2.2:5060", 2),
            more: Vec::new(),
            media: Media::default(),
            explanations: Vec::new(),
            begun: Vec::new(),
            records: Vec::new(),
            strangers: 0,
            told: Vec::new(),
            saved: Vec::new(),
            news: Vec::new(),
            asked: Vec::new(),
            to_verify: Vec::new(),
            to_sign: Vec::new(),
            flows: Vec::new(),
            stations: Vec::new(),
            states: Vec::new(),
            offers: Vec::new(),
            cards: Vec::new(),
            offered: None,
            offers_over: Vec::new(),
            talks: Vec::new(),
            talking: None,
            wraps: Vec::new(),
            disposed: Vec::new(),
            wire: VecDeque::new(),
            sent: Vec::new(),
            holds: None,
            held: Vec::new(),
        };
        world.engine.handle(world.now, Input::Timeout);
        world.settle();
        world
    }

    /// The carrier calls `number`.
    pub fn call(&mut self, number: &str) {
        let offer = sdp::offer(&self.carrier.media());
        self.call_with(number, Some(offer), 70);
    }

    /// The carrier calls the Contact `user` for `number`.
    pub fn call_to(&mut self, user: &str, number: &str, sdp: Bytes) {
        let (to, uri) = (format!("<sip:{number}@{EDGE}>"), format!("sip:{user}@{EDGE}"));
        self.invite((uri, to), Some(sdp), 70);
    }

    pub fn call_with(&mut self, number: &str, sdp: Option<Bytes>, max_forwards: u8) {
        let uri = format!("sip:{number}@{EDGE}");
        self.invite((uri.clone(), format!("<{uri}>")), sdp, max_forwards);
    }

    fn invite(&mut self, (request_uri, to): (String, String), sdp: Option<Bytes>, max_forwards: u8) {
        let invite = Invite {
            flow: towards_edge(),
            to,
            request_uri,
            from: "<sip:+12125550199@192.0.2.1>".into(),
            sdp,
            max_forwards,
            headers: self.carrier.headers.clone(),
            challenges: self.carrier.credentials.is_some(),
            tcp: None,
            attached: None,
            feature: None,
        };
        self.carrier.leg = Some(self.carrier.endpoint.invite(self.now.instant, invite).unwrap());
        self.settle();
    }

    /// Presses a key on the carrier's leg.
    pub fn press(&mut self, digit: char) {
        let (session, leg) = self.media.last.expect("media");
        self.engine.handle(self.now, Input::Media(Told { session, event: MediaEvent::Dtmf { leg, digit } }));
        self.settle();
    }

    /// The PBX answers its INVITE.
    pub fn answer(&mut self) {
        let (answer, _) = sdp::answer(self.pbx.offer.as_ref().unwrap(), &self.pbx.media()).unwrap();
        let leg = self.pbx.leg();
        self.pbx.endpoint.accept(self.now.instant, leg, answer, &[]).unwrap();
        self.settle();
    }

    pub fn pbx_says(&mut self, code: u16) {
        let leg = self.pbx.leg();
        if code < 200 {
            self.pbx.endpoint.provisional(self.now.instant, leg, code, None, &[]).unwrap();
        } else {
            self.pbx.endpoint.reject(self.now.instant, leg, code, None, &[]).unwrap();
        }
        self.settle();
    }

    /// A further phone says something to its INVITE.
    pub fn other_says(&mut self, which: usize, code: u16) {
        let phone = &mut self.more[which];
        let leg = phone.leg();
        match code {
            ..200 => phone.endpoint.provisional(self.now.instant, leg, code, None, &[]).unwrap(),
            200 => {
                let (answer, _) = sdp::answer(phone.offer.as_ref().unwrap(), &phone.media()).unwrap();
                phone.endpoint.accept(self.now.instant, leg, answer, &[]).unwrap();
            }
            _ => phone.endpoint.reject(self.now.instant, leg, code, None, &[]).unwrap(),
        }
        self.settle();
    }

    /// Delivers what was held back.
    pub fn let_go(&mut self) {
        self.holds = None;
        self.wire.extend(std::mem::take(&mut self.held));
        self.settle();
    }

    /// Lets everything happen that happens at this very time.
    pub fn settle(&mut self) {
        loop {
            let mut quiet = true;
            while let Some(output) = self.engine.poll() {
                quiet = false;
                self.carry_out(output);
            }
            for phone in [&mut self.carrier, &mut self.pbx].into_iter().chain(&mut self.more) {
                while let Some(output) = phone.endpoint.poll() {
                    quiet = false;
                    match output {
                        endpoint::Output::Transmit { flow, bytes } => {
                            self.wire.push_back((phone.address, flow.remote, bytes));
                        }
                        endpoint::Output::Event(Event::Challenged {
                            id,
                            method,
                            request_uri,
                            response,
                            ..
                        }) => {
                            phone.heard.push(response.code().to_string());
                            let known = phone.credentials.as_ref().expect("credentials");
                            let method = method.as_str();
                            let answers = digest::answers(&response, known, method, &request_uri, 1, "c");
                            phone.endpoint.retry_with(self.now.instant, id, &answers).unwrap();
                        }
                        endpoint::Output::Event(event) => phone.take(event),
                        endpoint::Output::Note(note) => phone.heard.push(note.what.into_owned()),
                    }
                }
            }
            if let Some((from, to, bytes)) = self.wire.pop_front() {
                quiet = false;
                self.deliver(from, to, bytes);
            }
            if quiet {
                return;
            }
        }
    }

    pub fn deliver(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        let flow = Flow { transport: Transport::Udp, listener: ListenerIx(0), remote: from, connection: 0 };
        for phone in [&mut self.carrier, &mut self.pbx].into_iter().chain(&mut self.more) {
            if phone.address == to {
                if self.holds == Some(to) {
                    return self.held.push((from, to, bytes));
                }
                let text = String::from_utf8_lossy(&bytes).into_owned();
                // Our own endpoint is no recorder, and says so of what it does not know.
                let bytes = Bytes::from(text.replace("Require: siprec\r\n", ""));
                if let Some(code) = phone.to_talk.filter(|_| text.contains("\r\nEvent: talk\r\n")) {
                    phone.heard.push("talk".into());
                    let kept = ["Via: ", "From: ", "To: ", "Call-ID: ", "CSeq: "];
                    let kept = text.lines().filter(|line| kept.iter().any(|name| line.starts_with(name)));
                    let lines: Vec<&str> = kept.collect();
                    let answer =
                        format!("SIP/2.0 {code} So\r\n{}\r\nContent-Length: 0\r\n\r\n", lines.join("\r\n"));
                    return self.wire.push_back((to, from, answer.into()));
                }
                phone.last = Some(text);
                return phone.endpoint.handle(self.now.instant, endpoint::Input::datagram(flow, bytes));
            }
        }
        self.sent.push((from, String::from_utf8_lossy(&bytes).into_owned()));
        if let Some(listener) = [EDGE, PHONES].iter().position(|ours| to == ours.parse().unwrap()) {
            let flow = Flow { listener: ListenerIx(u16::try_from(listener).unwrap()), ..flow };
            self.engine.handle(self.now, Input::Packet { flow, bytes });
        }
    }

    pub fn carry_out(&mut self, output: Output) {
        match output {
            Output::Transmit { flow, bytes } => {
                self.flows.push(flow);
                // Further listeners are for trunks.
                let ours = if flow.listener == ListenerIx(1) { PHONES } else { EDGE };
                self.wire.push_back((ours.parse().unwrap(), flow.remote, bytes));
            }
            Output::Media(order) => {
                for told in self.media.take(self.now.instant, order) {
                    self.engine.handle(self.now, Input::Media(told));
                }
            }
            Output::Note(note) => panic!("{note:?}"),
            Output::Stranger { .. } | Output::Excess { .. } => self.strangers += 1,
            Output::Heard { .. } | Output::Dialled { .. } => {}
            Output::Explanation(explanation) => self.explanations.push(*explanation),
            Output::Told(told) => self.told.push(told.what),
            Output::Saved(saved) => self.saved.push(*saved),
            Output::TrunkNews(news) => self.news.push(news.what),
            Output::Request(asked) => self.asked.push(*asked),
            Output::Verify(asked) => self.to_verify.push(*asked),
            Output::Sign(asked) => self.to_sign.push(*asked),
            Output::StationNews(news) => self.stations.push(news),
            Output::AgentState { agent, state } => {
                let state = if let acd::State::WrapUp(until) = state {
                    format!("WrapUp({})", (until - self.now.instant).as_secs())
                } else {
                    format!("{state:?}")
                };
                self.states.push(format!("{}: {state}", agent.0.name()));
            }
            Output::Talk(talking) => {
                let Talk { agent, on_hold, muted, consult, rings, listens } = talking.talk;
                let how = [(on_hold, " held"), (muted, " muted"), (rings, " rings")]
                    .map(|(is, word)| if is { word } else { "" });
                self.talking = Some(talking.call);
                let consult =
                    consult.map(|Consult { to, stage }| format!(" {stage:?} {to}")).unwrap_or_default();
                let listens = listens
                    .map(|Listens { agent, mode }| format!(" {} {}", mode.word(), agent.0.name()))
                    .unwrap_or_default();
                self.talks.push(format!("{}: talks{}{consult}{listens}", agent.0.name(), how.concat()));
            }
            Output::WrapUp(begun) => {
                let names: Vec<_> = begun.dispositions.iter().map(|one| one.name.as_str()).collect();
                let must = if begun.is_required { "!" } else { "" };
                let (who, queue) = (begun.agent.0.name(), begun.queue.0.name());
                self.wraps.push(format!("{who} {queue} [{}]{must}", names.join(" ")));
            }
            Output::WrapUpOver { agent, .. } => self.wraps.push(format!("{} over", agent.0.name())),
            Output::Disposed(disposed) => self.disposed.push(*disposed),
            Output::TalkOver { agent, .. } => self.talks.push(format!("{}: over", agent.0.name())),
            Output::Refused { agent, because, .. } => {
                self.talks.push(format!("{}: {because}", agent.0.name()));
            }
            Output::Offered(offered) => {
                self.cards.extend(offered.preview.clone());
                self.offered = Some(offered.call);
                self.offers.push(format!("{}>{}", offered.queue.0.name(), offered.agent.0.name()));
            }
            Output::OfferOver { agent, .. } => self.offers_over.push(agent.0.name().to_owned()),
            Output::Standing | Output::Attempt(_) | Output::Tidings(_) => {}
            Output::Begun(begun) => self.begun.push(*begun),
            Output::Record(record) => self.records.push(*record),
        }
    }

    /// Lets `seconds` pass, deadline by deadline.
    pub fn pass(&mut self, seconds: u64) {
        let until = self.now.instant + Duration::from_secs(seconds);
        loop {
            let due = [
                self.engine.poll_timeout(),
                self.carrier.endpoint.poll_timeout().map(|(at, _)| at),
                self.pbx.endpoint.poll_timeout().map(|(at, _)| at),
                self.media.playing.first().map(|playing| playing.0),
            ];
            let more = self.more.iter().map(|phone| phone.endpoint.poll_timeout().map(|(at, _)| at));
            let next = due.into_iter().chain(more).flatten().min().filter(|next| *next <= until);
            self.go_to(next.unwrap_or(until));
            if next.is_none() {
                return;
            }
            if let Some(playing) = self.media.playing.first().copied().filter(|p| p.0 <= self.now.instant) {
                let told = self.media.end(playing, PlayEnd::Finished);
                self.engine.handle(self.now, Input::Media(told));
            }
            self.engine.handle(self.now, Input::Timeout);
            self.carrier.endpoint.handle(self.now.instant, endpoint::Input::Timeout);
            self.pbx.endpoint.handle(self.now.instant, endpoint::Input::Timeout);
            for phone in &mut self.more {
                phone.endpoint.handle(self.now.instant, endpoint::Input::Timeout);
            }
            self.settle();
        }
    }

    pub fn go_to(&mut self, at: Instant) {
        let step = at.saturating_duration_since(self.now.instant);
        self.now.instant = self.now.instant.max(at);
        self.now.wall += i64::try_from(step.as_nanos()).unwrap().nanoseconds();
    }

    /// After the longest timer nothing may be left, anywhere.
    pub fn nothing_is_left(&mut self) -> &Record {
        self.pass(70);
        assert!(self.engine.is_idle(), "the engine keeps something");
        assert!(self.media.legs.is_empty(), "media legs leak: {:?}", self.media.legs);
        assert_eq!((self.carrier.endpoint.legs(), self.pbx.endpoint.legs()), (0, 0));
        assert_eq!(self.records.len(), 1, "one record per call");
        let record = &self.records[0];
        let [begun] = &self.begun[..] else { panic!("one beginning per call: {:?}", self.begun) };
        assert_eq!((begun.call, begun.started_at, &begun.to), (record.call, record.started_at, &record.to));
        assert_eq!(record.path_at.len(), record.path.len(), "each step has its time");
        assert!(record.path_at.is_sorted());
        assert!(record.path_at.iter().all(|at| (record.started_at..=record.ended_at).contains(at)));
        record
    }

    pub fn heard(&self) -> String {
        self.carrier.heard.join(" ")
    }
}

pub fn towards_edge() -> Flow {
    Flow { transport: Transport::Udp, listener: ListenerIx(0), remote: EDGE.parse().unwrap(), connection: 0 }
}
