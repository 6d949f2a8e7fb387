//! `switchboard call`: a SIP phone for whoever has none. Places a real call, presses keys, records what is heard, and
//! prints the ladder.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use link::{EventsTo, MediaOrders};
use media::Server;
use model::{
    LegId, SessionId,
    media::{Codec, Event as MediaEvent, MediaOrder, Order},
    net::{Flow, ListenerIx, Transport},
};
use sip::{
    endpoint::{
        Config, Ended, Endpoint, Event, Extensions, Failure, Input, Invite, ListenerConfig, MTU, Output,
    },
    sdp::{self, LocalMedia},
    transaction::Timers,
    uri::Uri,
    wire::Message,
};
use tokio::{net::UdpSocket, sync::mpsc};

use super::{ladder, random, say, trace, warn};

const LISTENER: ListenerIx = ListenerIx(0);
const SESSION: SessionId = SessionId(1);
const LEG: LegId = LegId(1);

#[derive(Debug, Args)]
pub struct Arguments {
    /// Number to call, such as +18005550100.
    number: String,
    /// Number that calls; `anonymous` withholds it.
    #[arg(long, value_name = "NUMBER", default_value = "+12125550199")]
    from: String,
    /// Whom to send the INVITE to, over UDP.
    #[arg(long, value_name = "URI", default_value = "sip:127.0.0.1:5060")]
    via: String,
    /// Keys to press once the call is answered: 0-9, *, #, A-D; a comma pauses for a second.
    #[arg(long, default_value = "", hide_default_value = true)]
    digits: String,
    /// How long after the answer the first key is pressed, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 4)]
    digits_after: u64,
    /// WAV file for what is heard.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Hangs up after so many seconds; without it the other side does.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    seconds: u64,
    /// Prints what the edge that serves HTTP there said in the call, to us and to whomever it dialled.
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:8080")]
    ladder: Option<SocketAddr>,
    /// UDP ports for our audio, first and last.
    #[arg(long, value_name = "FIRST-LAST", default_value = "41000-41099")]
    rtp_ports: String,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    trace("warn");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(talk(arguments))
}

/// The phone while it is on a call.
struct Phone<'a> {
    arguments: &'a Arguments,
    endpoint: Endpoint,
    socket: UdpSocket,
    server: Server,
    flow: Flow,
    local: Option<LocalMedia>,
    leg: Option<LegId>,
    call_id: Option<String>,
    answered: bool,
    began: Instant,
    press_at: Option<Instant>,
    hang_up_at: Instant,
    ended: Option<Ended>,
    refusal: Option<String>,
}

async fn talk(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let remote = remote(&arguments.via).await?;
    let socket = UdpSocket::bind(SocketAddr::new(unspecified(remote.ip()), 0)).await?;
    // Connecting a datagram socket asks the system by which of our addresses the peer is reached.
    socket.connect(remote).await.with_context(|| format!("{remote} cannot be reached"))?;
    let local = socket.local_addr()?;
    let (sender, mut events) = mpsc::unbounded_channel();
    let events_to = EventsTo(move |event: model::media::MediaEvent| {
        let _ = sender.send(event.event);
    });
    let server = Server::start(media_config(arguments, local.ip())?, Arc::new(events_to))?;
    let network = "phone".to_owned();
    order(&server, Order::Allocate { leg: LEG, network, shared: false, remote: None })?;
    let config = Config {
        listeners: vec![ListenerConfig {
            transport: Transport::Udp,
            sent_by: local.to_string(),
            serves_register: false,
        }],
        token: "call".into(),
        user_agent: format!("Switchboard-call/{}", env!("CARGO_PKG_VERSION")),
        legs_max: 4,
        transactions_max: 64,
        timers: Timers::default(),
        mtu: MTU,
        extensions: Extensions::default(),
    };
    let now = Instant::now();
    let mut phone = Phone {
        arguments,
        endpoint: Endpoint::new(config, random()?),
        socket,
        server,
        flow: Flow { transport: Transport::Udp, listener: LISTENER, remote, connection: 0 },
        local: None,
        leg: None,
        call_id: None,
        answered: false,
        began: now,
        press_at: None,
        hang_up_at: now + Duration::from_secs(arguments.seconds),
        ended: None,
        refusal: None,
    };
    let mut buffer = vec![0; 65_536];
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    while phone.ended.is_none() || phone.endpoint.transactions() > 0 && phone.is_polite() {
        let due = tokio::time::sleep_until(phone.due().into());
        tokio::select! {
            received = phone.socket.recv(&mut buffer) => phone.received(received, &buffer)?,
            Some(event) = events.recv() => phone.on_media(event)?,
            _ = &mut interrupted, if phone.ended.is_none() => phone.hang_up(),
            () = due => phone.tick()?,
        }
        phone.drain().await?;
    }
    phone.finish(&mut events).await
}

impl Phone<'_> {
    /// Whether it still waits for the answer to its BYE: not for every timer of the RFC.
    fn is_polite(&self) -> bool {
        matches!(self.ended, Some(Ended::Bye { by_us: true, .. }))
            && self.began.elapsed() < Duration::from_secs(1)
    }

    fn due(&self) -> Instant {
        let transaction = self.endpoint.poll_timeout().map(|(at, _)| at);
        let hang_up = self.ended.is_none().then_some(self.hang_up_at);
        let latest = Instant::now() + Duration::from_secs(1);
        [transaction, self.press_at, hang_up].into_iter().flatten().min().unwrap_or(latest).min(latest)
    }

    fn received(&mut self, received: std::io::Result<usize>, buffer: &[u8]) -> anyhow::Result<()> {
        match received {
            Ok(length) => {
                let bytes = Bytes::copy_from_slice(&buffer[..length]);
                self.show('←', &bytes);
                self.endpoint.handle(Instant::now(), Input::datagram(self.flow, bytes));
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                bail!("nobody listens at {}: is `switchboard local` running there?", self.flow.remote)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn tick(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        self.endpoint.handle(now, Input::Timeout);
        if self.press_at.take_if(|at| *at <= now).is_some() {
            let digits = self.arguments.digits.clone();
            self.note(&format!("press {digits}"));
            order(&self.server, Order::SendDtmf { leg: LEG, digits, duration_ms: 160, gap_ms: 100 })?;
        }
        if self.hang_up_at <= now {
            self.hang_up();
        }
        Ok(())
    }

    fn hang_up(&mut self) {
        let (Some(leg), None) = (self.leg, &self.ended) else {
            self.ended.get_or_insert(Ended::Bye { by_us: true, reason: None });
            return;
        };
        let now = Instant::now();
        // What no longer fits has crossed with the other side's own end of the call.
        let _ = if self.answered {
            self.endpoint.bye(now, leg, &[])
        } else {
            self.endpoint.cancel(now, leg, &[])
        };
        self.hang_up_at = now + Duration::from_secs(40);
    }

    fn on_media(&mut self, event: MediaEvent) -> anyhow::Result<()> {
        match event {
            MediaEvent::Allocated { address, rtp_port, .. } => self.invite(address, rtp_port),
            MediaEvent::Refused { reason, .. } => {
                bail!("no port for our audio ({reason:?}): choose other --rtp-ports")
            }
            MediaEvent::FirstPacket { .. } => {
                self.note("audio comes");
                Ok(())
            }
            MediaEvent::Dtmf { digit, .. } => {
                self.note(&format!("heard key {digit}"));
                Ok(())
            }
            MediaEvent::PlayEnded { .. }
            | MediaEvent::DtmfSent { .. }
            | MediaEvent::Recorded(_)
            | MediaEvent::Heard { .. }
            | MediaEvent::Silent { .. }
            | MediaEvent::Unprotected { .. }
            | MediaEvent::Measured { .. }
            | MediaEvent::Released { .. } => Ok(()),
        }
    }

    fn invite(&mut self, address: IpAddr, rtp_port: u16) -> anyhow::Result<()> {
        let codecs = vec![Codec::Pcmu, Codec::Pcma];
        let local = LocalMedia::new(address, rtp_port, codecs, u64::from(rtp_port));
        let target = format!("sip:{}@{}", sip::uri::escape_user(&self.arguments.number), self.flow.remote);
        let from = match self.arguments.from.as_str() {
            "anonymous" => "\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned(),
            number => format!("<sip:{}@{}>", sip::uri::escape_user(number), self.socket.local_addr()?),
        };
        let invite = Invite {
            flow: self.flow,
            to: format!("<{target}>"),
            request_uri: target,
            from,
            sdp: Some(sdp::offer(&local)),
            max_forwards: 70,
            headers: Vec::new(),
            challenges: false,
            tcp: None,
            attached: None,
            feature: None,
        };
        self.local = Some(local);
        self.began = Instant::now();
        let leg = self.endpoint.invite(self.began, invite)?;
        (self.leg, self.call_id) = (Some(leg), self.endpoint.call_id(leg));
        Ok(())
    }

    async fn drain(&mut self) -> anyhow::Result<()> {
        while let Some(output) = self.endpoint.poll() {
            match output {
                Output::Transmit { bytes, .. } => {
                    self.show('→', &bytes);
                    // A refused datagram shows when the next one is received.
                    let _ = self.socket.send(&bytes).await;
                }
                Output::Event(event) => self.on_sip(event)?,
                Output::Note(note) => self.note(&note.what),
            }
        }
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is for those who do more than call")]
    fn on_sip(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Progress { sdp: Some(sdp), .. } => self.agree(&sdp),
            Event::Answered { sdp, .. } => {
                self.answered = true;
                let after = Duration::from_secs(self.arguments.digits_after);
                self.press_at = (!self.arguments.digits.is_empty()).then(|| Instant::now() + after);
                sdp.map_or(Ok(()), |sdp| self.agree(&sdp))
            }
            Event::Reinvited { leg, sdp } => {
                let (Some(local), Some(offer)) = (&mut self.local, sdp) else {
                    let _ = self.endpoint.reject_reinvite(Instant::now(), leg, 488);
                    return Ok(());
                };
                local.version += 1;
                let (answer, parameters) = sdp::answer(&offer, local)?;
                let _ = self.endpoint.answer_reinvite(Instant::now(), leg, answer);
                order(&self.server, Order::Configure { leg: LEG, parameters })
            }
            Event::Invited { leg, .. } => {
                let _ = self.endpoint.reject(Instant::now(), leg, 486, None, &[]);
                Ok(())
            }
            Event::Ended { how, .. } => {
                self.ended = Some(how);
                self.began = Instant::now();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn agree(&self, answer: &[u8]) -> anyhow::Result<()> {
        let Some(local) = &self.local else { return Ok(()) };
        let parameters = sdp::accept_answer(local, answer).context("the answer does not fit our offer")?;
        order(&self.server, Order::Configure { leg: LEG, parameters })?;
        if self.arguments.record.is_some() {
            order(&self.server, Order::Record { leg: LEG, name: recording(self.arguments)?.1 })?;
        }
        Ok(())
    }

    /// One line of the ladder.
    fn show(&mut self, arrow: char, bytes: &Bytes) {
        let Ok(message) = Message::parse(bytes.clone()) else {
            return self.note(&format!("{arrow} {} bytes that are no SIP message", bytes.len()));
        };
        let media = media_line(message.body());
        let line = if message.is_request() {
            format!("{} {}", message.method_text(), message.uri_text())
        } else {
            format!("{} {}", message.code(), String::from_utf8_lossy(message.reason()))
        };
        if !message.is_request() && message.code() >= 300 {
            let reason = message.header_text(sip::wire::Name::Reason).map(str::to_owned);
            self.refusal = reason.or(self.refusal.take());
        }
        self.note(&format!("{arrow} {line}{media}"));
    }

    fn note(&self, text: &str) {
        say(&format!("{:>9.3}  {text}", self.began.elapsed().as_secs_f64()));
    }

    async fn finish(self, events: &mut mpsc::UnboundedReceiver<MediaEvent>) -> anyhow::Result<ExitCode> {
        order(&self.server, Order::Release { leg: LEG })?;
        let released = async {
            while let Some(event) = events.recv().await {
                if let MediaEvent::Released { quality, .. } = event {
                    return Some(quality);
                }
            }
            None
        };
        let quality = tokio::time::timeout(Duration::from_secs(5), released).await.ok().flatten();
        if let Some(quality) = &quality {
            say(&format!(
                "audio: {} packets received, {} sent, {} lost, jitter at most {:.1} ms",
                quality.packets_received, quality.packets_sent, quality.packets_lost, quality.jitter_ms_max
            ));
        }
        if let (Some(file), true) = (&self.arguments.record, self.local.is_some() && quality.is_some()) {
            say(&format!("recorded: {}", file.display()));
        }
        self.server.stop();
        if let Some((edge, call_id)) = self.arguments.ladder.zip(self.call_id.as_deref()) {
            match ladder::of(edge, call_id).await {
                Ok(ladder) => say(&ladder),
                Err(error) => warn(&format!("the ladder of {edge} cannot be had: {error:#}")),
            }
        }
        let (told, code) = verdict(self.ended.as_ref(), self.answered, self.refusal.as_deref());
        say(&told);
        Ok(code)
    }
}

fn verdict(ended: Option<&Ended>, answered: bool, refusal: Option<&str>) -> (String, ExitCode) {
    let because = refusal.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let told = match ended {
        Some(Ended::Bye { by_us, .. }) if answered => {
            format!("ended: {} hung up", if *by_us { "we" } else { "the other side" })
        }
        Some(Ended::Failed { code, reason, cause: Failure::Response, .. }) => {
            format!("refused: {code} {reason}{because}")
        }
        Some(Ended::Failed { cause: Failure::TimedOut, .. }) => "failed: nobody answered our INVITE".into(),
        Some(other) => format!("failed: {other:?}{because}"),
        None => "interrupted".into(),
    };
    (told, if answered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a description says of audio, in short.
fn media_line(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = |prefix| text.lines().find_map(|line: &str| line.strip_prefix(prefix).map(str::to_owned));
    match (line("c=IN "), line("m=audio ")) {
        (Some(address), Some(media)) => format!("   [{address} audio {media}]"),
        _ => String::new(),
    }
}

async fn remote(via: &str) -> anyhow::Result<SocketAddr> {
    let wrong = || anyhow!("--via must be a URI such as sip:192.0.2.1:5060, not `{via}`");
    let uri = Uri::parse(via.as_bytes()).map_err(|_| wrong())?;
    if uri.host.is_empty() {
        return Err(wrong());
    }
    if uri.param("transport").is_some_and(|transport| !transport.eq_ignore_ascii_case("udp")) {
        bail!("--via must be reached over UDP, not `{via}`");
    }
    let port = uri.port.unwrap_or(5060);
    if let Some(address) = uri.ip() {
        return Ok(SocketAddr::new(address, port));
    }
    let found = tokio::net::lookup_host((uri.host, port)).await;
    let mut found = found.with_context(|| format!("the name {} cannot be resolved", uri.host))?;
    found.next().with_context(|| format!("the name {} has no address", uri.host))
}

const fn unspecified(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}

fn media_config(arguments: &Arguments, local: IpAddr) -> anyhow::Result<media::Config> {
    let wrong =
        || anyhow!("--rtp-ports must be FIRST-LAST, such as 41000-41099, not `{}`", arguments.rtp_ports);
    let (first, last) = arguments.rtp_ports.split_once('-').ok_or_else(wrong)?;
    let (first, last): (u16, u16) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
    Ok(media::Config {
        networks: vec![media::Network {
            name: "phone".into(),
            bind: local,
            advertised: local,
            interface: None,
        }],
        ports: first..=last,
        workers: Some(1),
        recordings: arguments
            .record
            .as_ref()
            .map(|_| recording(arguments))
            .transpose()?
            .map(|(folder, _)| folder),
        sessions_max: 1,
        services: media::Services::default(),
        silent_after: Duration::from_secs(60),
    })
}

/// Folder and name of `--record`.
fn recording(arguments: &Arguments) -> anyhow::Result<(PathBuf, String)> {
    let path = arguments.record.clone().unwrap_or_default();
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("--record must be a file, not {}", path.display()))?.to_owned();
    if !name.to_ascii_lowercase().ends_with(".wav") {
        bail!("--record must end in .wav, not {}", path.display());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok((folder.map_or_else(|| PathBuf::from("."), PathBuf::from), name))
}

fn order(server: &Server, order: Order) -> anyhow::Result<()> {
    Ok(server.send(MediaOrder { session: SESSION, order })?)
}
