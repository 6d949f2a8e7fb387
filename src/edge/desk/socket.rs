//! The socket of a desk.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::{
        State,
        ws::{
            CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection,
        },
    },
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use call::{
    engine::{AfterWork, AgentAct, CallAct, NOTES_MAX, Supervisee},
    record::SupervisionMode,
};
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use model::{AgentId, CallId, Key};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    sync::{broadcast::error::RecvError, watch},
    time::{Instant, interval_at},
};

use super::{Desks, problem};
use crate::{
    floors::{OfferNow, Shown},
    interactions,
};

/// The subprotocol, and the version that it stands for.
const PROTOCOL: &str = "switchboard.desk.v1";
const VERSION: u32 = 1;

/// Before a token among the subprotocols.
const BEARER: &str = "bearer.";

/// Longest message of a desk.
const MESSAGE_MAX: usize = 16 * 1_024;

/// Messages of a desk in a second.
const MESSAGES_PER_SECOND: u32 = 20;

/// Contacts that a card tells of, and how long it waits for them.
const PREVIOUS_MAX: usize = 5;
const PREVIOUS_WITHIN: Duration = Duration::from_secs(3);

/// A desk that says nothing is asked so often whether it is there, and whether its session still stands.
const PING_EVERY: Duration = Duration::from_secs(15);

/// Longest reason to be away, in bytes.
const REASON_MAX: usize = 64;

/// Most keys of one message.
const DIGITS_MAX: usize = 64;

/// Longest number, extension or name of an agent, in bytes.
const TO_MAX: usize = 64;

/// Why a socket is closed, beyond RFC 6455 §7.4: codes for applications.
const SESSION_OVER: u16 = 4_401;
const REPLACED: u16 = 4_409;
const TOO_FAST: u16 = 4_429;

/// The socket that stands for each agent, by number.
pub(super) type Stands = Mutex<BTreeMap<AgentId, watch::Sender<u64>>>;

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
enum Said {
    Ready {},
    Away { reason: String },
    Accept { interaction: String },
    Decline { interaction: String },
    Finish { interaction: String, disposition: Option<String>, notes: Option<String> },
    Extend { interaction: String, seconds: u32 },
    Hold { interaction: String },
    Retrieve { interaction: String },
    Mute { interaction: String },
    Unmute { interaction: String },
    Digits { interaction: String, digits: String },
    HangUp { interaction: String },
    Transfer { interaction: String, to: String },
    Consult { interaction: String, to: String },
    Complete { interaction: String },
    Conference { interaction: String },
    EndConsult { interaction: String },
    Dial { to: Option<String>, interaction: Option<String> },
    Skip { interaction: String },
    Supervise { agent: Option<String>, interaction: Option<String>, mode: Mode },
    Conversations {},
    SignOut {},
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Mode {
    Monitor,
    Whisper,
    Barge,
}

pub(super) async fn open(
    State(desks): State<Arc<Desks>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(bad) => return problem(StatusCode::BAD_REQUEST, &bad.to_string()),
    };
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let offered: Vec<&str> = offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    if !offered.contains(&PROTOCOL) {
        return problem(
            StatusCode::BAD_REQUEST,
            "must offer the subprotocols switchboard.desk.v1 and bearer.TOKEN",
        );
    }
    let token =
        offered.iter().find_map(|offered| offered.strip_prefix(BEARER)).unwrap_or_default().to_owned();
    let Some(agent) = desks.sessions.used(&token) else {
        return problem(StatusCode::UNAUTHORIZED, "there is no such session: sign in at /api/v1/sessions");
    };
    upgrade.protocols([PROTOCOL]).max_message_size(MESSAGE_MAX).on_upgrade(move |socket| async move {
        let cards = FuturesUnordered::new();
        Desk { desks, agent, token, socket, cards }.live().await;
    })
}

struct Desk {
    desks: Arc<Desks>,
    agent: AgentId,
    token: String,
    socket: WebSocket,
    /// What is looked up for offers: they do not wait for it.
    cards: FuturesUnordered<BoxFuture<'static, Value>>,
}

/// Why a desk's socket ends: by which code.
struct Over(u16, &'static str);

impl Desk {
    async fn live(mut self) {
        let (number, mut latest) = self.stand();
        let over = self.attend(number, &mut latest).await;
        if let Some(Over(code, reason)) = over {
            let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
            // It may be gone.
            let _ = self.socket.send(Message::Close(Some(frame))).await;
        }
    }

    /// Takes the agent's place from any socket before.
    fn stand(&self) -> (u64, watch::Receiver<u64>) {
        let mut stands = self.desks.stands.lock().unwrap_or_else(PoisonError::into_inner);
        stands.retain(|_, latest| latest.receiver_count() > 0);
        let latest = stands.entry(self.agent.clone()).or_insert_with(|| watch::channel(0).0);
        latest.send_modify(|number| *number += 1);
        let receiver = latest.subscribe();
        let number = *receiver.borrow();
        (number, receiver)
    }

    async fn attend(&mut self, number: u64, latest: &mut watch::Receiver<u64>) -> Option<Over> {
        let Some((observed, agent)) = self.desks.find(&self.agent) else {
            return Some(Over(SESSION_OVER, "the agent is gone"));
        };
        let mut shown = observed.floors.watch();
        // Whoever comes takes contacts once he says so; who is here already stays as he is.
        if observed.floors.of_agent(&self.agent).is_none() {
            self.desks.act(&self.agent, AgentAct::Away("SignedIn".into()));
            self.desks.act(&self.agent, AgentAct::SignIn);
        }
        let state = observed.floors.of_agent(&self.agent);
        let (state, offer) = state.map_or((None, None), |(state, offer)| (Some(state), offer));
        let welcome = json!({
            "type": "welcome", "version": VERSION, "agent": self.agent, "displayName": agent.display_name,
            "state": state, "offer": offer, "calls": observed.floors.calls_of(&self.agent),
            "wrapUps": observed.floors.wraps_of(&self.agent),
            "supervises": agent.supervises,
        });
        self.send(&welcome).await?;
        offer.iter().for_each(|offer| self.look_up(offer));
        let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        let mut allowance = (MESSAGES_PER_SECOND, Instant::now());
        loop {
            tokio::select! {
                said = self.socket.recv() => match said? {
                    Ok(Message::Text(text)) => {
                        if !may_speak(&mut allowance) {
                            return Some(Over(TOO_FAST, "too many messages"));
                        }
                        if self.desks.sessions.used(&self.token).is_none() {
                            return Some(Over(SESSION_OVER, "the session is over"));
                        }
                        self.hear(&text).await?;
                    }
                    Ok(Message::Close(_)) | Err(_) => return None,
                    Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_)) => {}
                },
                event = shown.recv() => match event {
                    Ok(event) => self.show(&event).await?,
                    Err(RecvError::Lagged(_)) => {
                        if let Some((state, offer)) = observed.floors.of_agent(&self.agent) {
                            self.show(&Shown::State(state)).await?;
                            if let Some(offer) = offer {
                                self.show(&Shown::Offer(Box::new(offer))).await?;
                            }
                        }
                        for call in observed.floors.calls_of(&self.agent) {
                            self.show(&Shown::Call(call)).await?;
                        }
                        for work in observed.floors.wraps_of(&self.agent) {
                            self.show(&Shown::WrapUp(work)).await?;
                        }
                    }
                    Err(RecvError::Closed) => return None,
                },
                Some(card) = self.cards.next(), if !self.cards.is_empty() => self.send(&card).await?,
                Ok(()) = latest.changed() => {
                    if *latest.borrow_and_update() != number {
                        self.send(&json!({"type": "replaced"})).await?;
                        return Some(Over(REPLACED, "another socket stands for the agent"));
                    }
                }
                _ = pings.tick() => {
                    // A page that is open is in use.
                    if self.desks.sessions.used(&self.token).is_none() {
                        return Some(Over(SESSION_OVER, "the session is over"));
                    }
                    self.socket.send(Message::Ping(Default::default())).await.ok()?;
                }
            }
        }
    }

    /// Has what is known of an offer's contact sent, once it is.
    fn look_up(&self, offer: &OfferNow) {
        if offer.number.is_empty() {
            return;
        }
        let edges = self.desks.edges();
        let (tenant, number) = (self.agent.0.namespace().to_owned(), offer.number.clone());
        let interaction = offer.interaction.clone();
        self.cards.push(Box::pin(async move {
            let known = interactions::previous(&edges, &tenant, &number, PREVIOUS_MAX);
            let known = tokio::time::timeout(PREVIOUS_WITHIN, known).await.ok().and_then(Result::ok);
            json!({"type": "contact", "interaction": interaction, "number": number, "previous": known})
        }));
    }

    /// Some where it was sent.
    async fn send(&mut self, message: &Value) -> Option<()> {
        self.socket.send(Message::Text(message.to_string().into())).await.ok()
    }

    async fn show(&mut self, event: &Shown) -> Option<()> {
        if let Shown::Offer(offer) = event
            && offer.agent == self.agent
        {
            self.look_up(offer);
        }
        let message = match event {
            Shown::State(state) if state.id == self.agent => typed("state", json!(state)),
            Shown::Offer(offer) if offer.agent == self.agent => {
                typed(if offer.preview { "preview" } else { "offer" }, json!(offer))
            }
            Shown::OfferOver { agent, interaction } if *agent == self.agent => {
                json!({"type": "offerOver", "interaction": interaction})
            }
            Shown::Call(call) if call.agent == self.agent => typed("call", json!(call)),
            Shown::CallOver { agent, interaction } if *agent == self.agent => {
                json!({"type": "callOver", "interaction": interaction})
            }
            Shown::WrapUp(work) if work.agent == self.agent => typed("wrapUp", json!(work)),
            Shown::WrapUpOver { agent, interaction } if *agent == self.agent => {
                json!({"type": "wrapUpOver", "interaction": interaction})
            }
            Shown::Refused { agent, interaction, message } if *agent == self.agent => {
                json!({"type": "error", "interaction": interaction, "message": message})
            }
            Shown::State(_)
            | Shown::Offer(_)
            | Shown::OfferOver { .. }
            | Shown::Call(_)
            | Shown::CallOver { .. }
            | Shown::WrapUp(_)
            | Shown::WrapUpOver { .. }
            | Shown::Refused { .. } => return Some(()),
        };
        self.send(&message).await
    }

    async fn hear(&mut self, text: &str) -> Option<()> {
        let act = match serde_json::from_str(text) {
            Ok(Said::Conversations {}) => return self.tell_conversations().await,
            Ok(said) => act(said, &self.agent),
            Err(error) => Err(format!("the message cannot be read: {error}")),
        };
        let told = act.and_then(|act| {
            let taken = self.desks.act(&self.agent, act);
            if taken { Ok(()) } else { Err("the edge is too busy: try again".to_owned()) }
        });
        match told {
            Ok(()) => Some(()),
            Err(message) => self.send(&json!({"type": "error", "message": message})).await,
        }
    }
}

impl Desk {
    /// What a supervisor may listen to, as it stands.
    async fn tell_conversations(&mut self) -> Option<()> {
        let found = self.desks.find(&self.agent);
        let conversations = found.map(|(observed, agent)| {
            let calls = observed.floors.conversations(|queue| agent.supervises.contains(queue));
            let told = calls.into_iter().filter(|call| call.agent != self.agent).map(|call| {
                let mut told = json!(call);
                told["agent"] = json!(call.agent);
                told
            });
            told.collect::<Vec<Value>>()
        });
        let conversations = conversations.unwrap_or_default();
        self.send(&json!({"type": "conversations", "conversations": conversations})).await
    }
}

fn typed(name: &str, mut message: Value) -> Value {
    message["type"] = name.into();
    message
}

fn call(interaction: &str) -> Result<CallId, String> {
    let id = u64::from_str_radix(interaction, 16).map(CallId);
    id.map_err(|_| {
        format!("`interaction` must be as an offer has it, not `{}`", interaction.escape_default())
    })
}

/// Whom a supervisor names: a conversation, or an agent of the own tenant.
fn supervisee(
    by: &AgentId,
    agent: Option<String>,
    interaction: Option<String>,
) -> Result<Supervisee, String> {
    match (agent, interaction) {
        (None, Some(interaction)) => Ok(Supervisee::Call(call(&interaction)?)),
        (Some(agent), None) => {
            let bare = whom(agent).map_err(|_| {
                format!(
                    "`agent` must be the name of an Agent, such as acme/ada or ada, of 1 to {TO_MAX} bytes"
                )
            })?;
            let (namespace, name) = bare.split_once('/').unwrap_or((by.0.namespace(), &bare));
            Ok(Supervisee::Agent(AgentId(Key::new(namespace, name))))
        }
        (None, None) | (Some(_), Some(_)) => {
            Err("one of `agent`, whose conversation it is, and `interaction` must be given".into())
        }
    }
}

fn act(said: Said, by: &AgentId) -> Result<AgentAct, String> {
    Ok(match said {
        Said::Ready {} => AgentAct::Ready,
        Said::Away { reason }
            if reason.is_empty() || reason.len() > REASON_MAX || reason.contains(char::is_control) =>
        {
            return Err(format!("`reason` must be 1 to {REASON_MAX} bytes without control characters"));
        }
        Said::Away { reason } => AgentAct::Away(reason.into()),
        Said::Accept { interaction } => AgentAct::Accept(call(&interaction)?),
        Said::Decline { interaction } => AgentAct::Decline(call(&interaction)?),
        Said::Finish { interaction, disposition, notes } => {
            let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
            if notes.as_ref().is_some_and(|it| it.chars().count() > NOTES_MAX || it.contains(is_control)) {
                return Err(format!(
                    "`notes` must be at most {NOTES_MAX} characters, without control characters but line feed and tab"
                ));
            }
            AgentAct::Finish(call(&interaction)?, AfterWork { disposition, notes })
        }
        Said::Extend { interaction, seconds } => {
            AgentAct::Extend(call(&interaction)?, Duration::from_secs(seconds.into()))
        }
        Said::Hold { interaction } => AgentAct::Call(call(&interaction)?, CallAct::Hold),
        Said::Retrieve { interaction } => AgentAct::Call(call(&interaction)?, CallAct::Retrieve),
        Said::Mute { interaction } => AgentAct::Call(call(&interaction)?, CallAct::Mute(true)),
        Said::Unmute { interaction } => AgentAct::Call(call(&interaction)?, CallAct::Mute(false)),
        Said::Digits { interaction, digits } => {
            let are_keys = digits.chars().all(|key| "0123456789*#ABCD".contains(key));
            if !are_keys || digits.is_empty() || digits.len() > DIGITS_MAX {
                return Err(format!("`digits` must be 1 to {DIGITS_MAX} of 0 to 9, *, # and A to D"));
            }
            AgentAct::Call(call(&interaction)?, CallAct::Digits(digits))
        }
        Said::HangUp { interaction } => AgentAct::Call(call(&interaction)?, CallAct::HangUp),
        Said::Transfer { interaction, to } => {
            AgentAct::Call(call(&interaction)?, CallAct::Transfer(whom(to)?))
        }
        Said::Consult { interaction, to } => AgentAct::Call(call(&interaction)?, CallAct::Consult(whom(to)?)),
        Said::Complete { interaction } => AgentAct::Call(call(&interaction)?, CallAct::Complete),
        Said::Conference { interaction } => AgentAct::Call(call(&interaction)?, CallAct::Conference),
        Said::EndConsult { interaction } => AgentAct::Call(call(&interaction)?, CallAct::EndConsult),
        Said::Dial { to: Some(to), interaction: None } => AgentAct::Dial(whom(to)?),
        Said::Dial { to: None, interaction: Some(interaction) } => {
            AgentAct::Preview(call(&interaction)?, true)
        }
        Said::Dial { .. } => {
            return Err("`dial` must have either `to`, or the `interaction` of a preview".into());
        }
        Said::Skip { interaction } => AgentAct::Preview(call(&interaction)?, false),
        Said::Supervise { agent, interaction, mode } => {
            let mode = match mode {
                Mode::Monitor => SupervisionMode::Monitor,
                Mode::Whisper => SupervisionMode::Whisper,
                Mode::Barge => SupervisionMode::Barge,
            };
            AgentAct::Supervise(supervisee(by, agent, interaction)?, mode)
        }
        // It is answered where it is read.
        Said::Conversations {} => return Err("nothing is to be done for it".into()),
        Said::SignOut {} => AgentAct::SignOut,
    })
}

fn whom(to: String) -> Result<String, String> {
    let is_good =
        !to.is_empty() && to.len() <= TO_MAX && to.chars().all(|c| c.is_ascii_graphic() && c != '@');
    let must = || format!("`to` must be a number, an extension or an agent's name of 1 to {TO_MAX} bytes");
    is_good.then_some(to).ok_or_else(must)
}

fn may_speak((left, since): &mut (u32, Instant)) -> bool {
    if since.elapsed() >= Duration::from_secs(1) {
        (*left, *since) = (MESSAGES_PER_SECOND, Instant::now());
    }
    let may = *left > 0;
    *left = left.saturating_sub(1);
    may
}
