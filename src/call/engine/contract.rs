//! What an engine is told, and what it says.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;
use model::{
    AgentId, CallId, QueueId,
    centre::Disposition,
    media::{MediaEvent, MediaOrder},
    net::Flow as NetFlow,
    secrets::Secrets,
};
use sip::{
    digest::Nonces,
    endpoint::{self, Note},
    wire::{Malformed, Message},
};

use super::{Attempt, Preview, Shard, Tidings, ToSign, ToVerify, Together};
use crate::{
    call::{Card, Talk, Told},
    certificate::Identity,
    cursor::Asked,
    explanation::Explanation,
    record::{Begun, Disposed, Record, Saved, SupervisionMode},
    registrar::StationId,
    world::{Names, World},
};

/// What an engine is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// Begins tags, branches and Contact users of all engines of an edge.
    pub token: String,
    /// Which of the edge's engines it is.
    pub shard: Shard,
    /// Where the engines of the edge count together. None: it counts alone.
    pub together: Option<Arc<dyn Together>>,
    /// First call id: each engine of an edge gets a range of its own.
    pub first_call: u64,
    /// Seed of tags, branches and Call-IDs: unguessable in production, fixed in tests.
    pub seed: u64,
    /// Most legs at once.
    pub legs_max: usize,
    /// Most transactions at once.
    pub transactions_max: usize,
    /// Nonces of challenges: all edges share the key.
    pub nonces: Nonces,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// A datagram came.
    Packet {
        /// By which path.
        flow: NetFlow,
        /// Its bytes.
        bytes: Bytes,
    },
    /// A datagram that is for this engine, as [`Engine::owner`](super::Engine::owner) of another says, which has read it.
    Parsed {
        /// By which path.
        flow: NetFlow,
        /// Its bytes.
        bytes: Bytes,
        /// What they say.
        input: Box<endpoint::Input>,
    },
    /// What [`HOME`](super::HOME) has made ready, in place of what was there.
    World(Arc<World>),
    /// Another engine of the edge lets this one know.
    Tidings(Tidings),
    /// A stream held a message.
    Message {
        /// By which path.
        flow: NetFlow,
        /// The message.
        message: Box<Message>,
    },
    /// A stream held something that is no message.
    Malformed {
        /// By which path.
        flow: NetFlow,
        /// What is wrong with it.
        malformed: Box<Malformed>,
        /// What it begins with.
        bytes: Bytes,
    },
    /// A connection under TLS is up, or what is known of its peer has changed: before the connection's first message.
    Identified {
        /// The connection.
        flow: NetFlow,
        /// Who it is.
        identity: Identity,
    },
    /// What was sent by this flow could not be delivered, or its connection is gone.
    Unreachable {
        /// The flow that failed.
        flow: NetFlow,
    },
    /// A media server tells something.
    Media(MediaEvent),
    /// Host names of peers were resolved again.
    Names(Names),
    /// Values of Secrets, all of them, in place of those before.
    Secrets(Secrets),
    /// What was asked for by [`Output::Verify`].
    Verified {
        /// Its ticket.
        ticket: u64,
        /// Whether all of it holds.
        verdict: Result<(), ::stir::Fault>,
    },
    /// What was asked for by [`Output::Sign`].
    Signed {
        /// Its ticket.
        ticket: u64,
        /// ES256, or why there is none.
        signature: Result<[u8; 64], String>,
    },
    /// What became of an [`Output::Request`].
    Answered {
        /// For which call.
        call: CallId,
        /// Its request.
        request: u64,
        /// The answer, whatever its status, or why there is none that can be read.
        answer: Result<expr::Response, String>,
    },
    /// Hear a banned source again.
    Lift {
        /// The source.
        address: IpAddr,
    },
    /// An agent does something: for the engine that [`Engine::floor_of`](super::Engine::floor_of) names.
    Agent(Box<AgentOrder>),
    /// Somebody is to be shown to an agent, who may have it called: for the engine that has the floor of its queue.
    Preview(Box<Preview>),
    /// Take no new calls; those that are there go on.
    Drain,
    /// End all calls.
    Stop {
        /// Why, for the records.
        because: &'static str,
    },
    /// The deadline of `poll_timeout` has come. Early is harmless.
    Timeout,
}

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes.
    Transmit {
        /// By which path.
        flow: NetFlow,
        /// One whole message.
        bytes: Bytes,
    },
    /// A message of a source that is known was heard; what it leads to follows.
    Heard {
        /// By which path.
        flow: NetFlow,
        /// Its bytes.
        bytes: Bytes,
        /// Whether it can be read.
        is_sound: bool,
    },
    /// Give this order to the media server.
    Media(MediaOrder),
    /// Log one line: a peer did something it should not.
    Note(Note),
    /// A packet came from a source that no trunk admits. Nothing was sent.
    Stranger {
        /// Which way it came.
        flow: NetFlow,
    },
    /// A source that is known says more than it may. Nothing was sent, and nothing of it was read.
    Excess {
        /// Which way it came.
        flow: NetFlow,
    },
    /// Why an INVITE was treated as it was.
    Explanation(Box<Explanation>),
    /// A leg was dialled for a call.
    Dialled {
        /// Call-ID of the A leg.
        call_id: String,
        /// Call-ID of the leg.
        leg: String,
    },
    /// Something in the course of a call that a person who asks about it should know.
    Told(Box<Told>),
    /// A recording or a message is stored.
    Saved(Box<Saved>),
    /// Fetch the certificates of these, and say whether they hold: at once or within [`VERIFY_WAIT`](super::VERIFY_WAIT).
    Verify(Box<ToVerify>),
    /// Sign this: at once or within [`SIGN_WAIT`](super::SIGN_WAIT).
    Sign(Box<ToSign>),
    /// Ask a service, within the time that the request or the Integration gives.
    Request(Box<ToAsk>),
    /// Something happened to a trunk.
    TrunkNews(TrunkNews),
    /// A call that left has come to something.
    Attempt(Attempt),
    /// Something happened to agents' phones.
    StationNews(StationNews),
    /// An agent does something else now.
    AgentState {
        /// Who.
        agent: AgentId,
        /// What.
        state: acd::State,
    },
    /// A contact is offered to an agent, whose telephones ring.
    Offered(Box<Offered>),
    /// It is not any more, and was not answered.
    OfferOver {
        /// Which.
        call: CallId,
        /// To whom it was.
        agent: AgentId,
    },
    /// A conversation stands otherwise for an agent, or begins.
    Talk(Box<Talking>),
    /// It is over for the agent.
    TalkOver {
        /// Which.
        call: CallId,
        /// For whom.
        agent: AgentId,
    },
    /// Something that an agent wanted of a conversation was not done, or came to nothing.
    Refused {
        /// Of which. None: of one that was to begin.
        call: Option<CallId>,
        /// Who.
        agent: AgentId,
        /// Why, for people.
        because: String,
    },
    /// An agent works on a contact that is over.
    WrapUp(Box<WrapUp>),
    /// That is done, or its time is over.
    WrapUpOver {
        /// On which.
        call: CallId,
        /// Who.
        agent: AgentId,
    },
    /// What has come of a contact: beside its record, which may have been given out before.
    Disposed(Box<Disposed>),
    /// [`Engine::peers`](super::Engine::peers) and [`Engine::registrations`](super::Engine::registrations) are others than before.
    Standing,
    /// Let the other engines of the edge know.
    Tidings(Tidings),
    /// A call begins.
    Begun(Box<Begun>),
    /// A call is over.
    Record(Box<Record>),
}

/// What a service is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToAsk {
    /// For which call.
    pub call: CallId,
    /// Names the request within the call.
    pub request: u64,
    /// What.
    pub asked: Asked,
}

/// A contact that is offered, and what the agent shall know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Which.
    pub call: CallId,
    /// Call-ID of its leg.
    pub call_id: String,
    /// To whom.
    pub agent: AgentId,
    /// Where it waits.
    pub queue: QueueId,
    /// Its number; empty: withheld.
    pub number: String,
    /// What it dialled.
    pub dialled: String,
    /// Whether it is called back, once the agent is there.
    pub is_callback: bool,
    /// What the agent is to see before it says whether to call. None: it is not asked.
    pub preview: Option<Arc<Card>>,
    /// Steps of the flow that it has passed.
    pub path: Vec<String>,
    /// How long it has waited.
    pub waited: Duration,
    /// Until when it is offered.
    pub until: Instant,
}

/// The work after a contact, and what the agent may say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrapUp {
    /// On which.
    pub call: CallId,
    /// Call-ID of its A leg.
    pub call_id: String,
    /// Who.
    pub agent: AgentId,
    /// Where the contact waited.
    pub queue: QueueId,
    /// What may have come of it. None: the agent is not asked.
    pub dispositions: Vec<Disposition>,
    /// Whether one must be named to be done before its time is over.
    pub is_required: bool,
}

/// What an agent does, beside telephoning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentOrder {
    /// Who.
    pub agent: AgentId,
    /// What.
    pub act: AgentAct,
}

/// What agents do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentAct {
    /// Comes, ready for contacts.
    SignIn,
    /// Goes.
    SignOut,
    /// Takes contacts, and comes if need be.
    Ready,
    /// Takes none, for this reason.
    Away(Arc<str>),
    /// Takes the contact that is offered: the telephone that rings is asked to answer.
    Accept(CallId),
    /// Does not want the contact that is offered.
    Decline(CallId),
    /// Is done with the work after a contact, and says this of it.
    Finish(CallId, AfterWork),
    /// Works on a contact for so long from now.
    Extend(CallId, Duration),
    /// Has whom a card shows called, or not.
    Preview(CallId, bool),
    /// Calls a number, an extension or an agent, named as the telephone would: the agent's own telephones ring first.
    Dial(String),
    /// Does something with a conversation.
    Call(CallId, CallAct),
    /// Listens to a conversation, or is heard otherwise in the one that is listened to: the own telephones ring first.
    Supervise(Supervisee, SupervisionMode),
}

/// What a supervisor wants to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Supervisee {
    /// This conversation.
    Call(CallId),
    /// The conversation of this agent.
    Agent(AgentId),
}

/// What an agent says of a contact in the work after it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AfterWork {
    /// One of the queue's dispositions.
    pub disposition: Option<String>,
    /// At most [`NOTES_MAX`](super::NOTES_MAX) characters.
    pub notes: Option<String>,
}

/// What an agent does with a conversation, beside the telephone that it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallAct {
    /// Lets the other side hear music, and be heard by nobody.
    Hold,
    /// Ends that.
    Retrieve,
    /// Is heard by nobody, or is heard again.
    Mute(bool),
    /// Sends keys: characters `0`–`9`, `*`, `#`, `A`–`D`; at most 64.
    Digits(String),
    /// Ends it.
    HangUp,
    /// Hands the other side on to a number, an extension or an agent, as the telephone would dial them. If nobody there answers,
    /// the two are together again.
    Transfer(String),
    /// Asks somebody back, named the same way, while the other side hears music.
    Consult(String),
    /// Hands the other side on to whom it asks.
    Complete,
    /// Brings all three together.
    Conference,
    /// Lets go whom it asks, and is with the other side again.
    EndConsult,
}

/// How a conversation stands for an agent in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Talking {
    /// Which.
    pub call: CallId,
    /// Call-ID of the A leg.
    pub call_id: String,
    /// The other side's number; empty: withheld.
    pub number: String,
    /// The queue that it came by.
    pub queue: Option<QueueId>,
    /// For whom, and how.
    pub talk: Talk,
}

/// Something that happened to agents' phones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StationNews {
    /// A station can be reached.
    Came(StationId),
    /// A station can be reached no more.
    Went(StationId),
    /// A station calls for help.
    Emergency {
        /// Which.
        station: StationId,
        /// What it dialled.
        number: String,
        /// Call-ID of its INVITE.
        call_id: String,
        /// Whether any trunk of its tenant carries such calls.
        is_carried: bool,
    },
    /// A source guessed passwords, and is not heard for a while.
    Banned {
        /// The source.
        address: IpAddr,
        /// Until when.
        until: Timestamp,
    },
    /// A ban was lifted.
    Lifted {
        /// The source.
        address: IpAddr,
    },
    /// For the log.
    Told {
        /// A sentence.
        what: String,
        /// Whether somebody should look at it.
        is_bad: bool,
    },
}

/// Something that happened to a trunk, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrunkNews {
    /// A sentence, without its full stop.
    pub what: String,
    /// Whether somebody should look at it.
    pub is_bad: bool,
}
