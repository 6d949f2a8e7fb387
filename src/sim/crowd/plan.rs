//! What is going to happen in a crowd from outside, all of it drawn from a seed before anything happens.
//!
//! A plan is data: parts of it can be left out, and the rest happens as before. So a failure is made small: whatever it does
//! without is taken away. How somebody reacts is part of what it is a reaction to, and stands with the contact.

use std::fmt;

use call::lots::Lots;

/// Agents, queues and numbers of a centre; names are made of them.
pub const AGENTS_MAX: usize = 9;
pub const QUEUES: usize = 3;
pub const NUMBERS: usize = 6;

/// Times are in milliseconds from the beginning.
pub type Ms = u32;

/// What is going to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    pub centre: Centre,
    /// By time.
    pub parts: Vec<Part>,
}

/// What a centre is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Centre {
    pub agents: Vec<Agent>,
    pub queues: Vec<Queue>,
    /// Most calls at once of the number that has a cap.
    pub cap: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Levels in what the queues ask for, each in its place.
    pub skills: [u8; QUEUES],
    pub capacity: u8,
    /// Ranks of the queues that are served. Empty: all alike.
    pub ranks: Vec<(usize, u8)>,
    /// Whether a telephone of the public network is all that there is.
    pub is_public: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    pub minimum: u8,
    pub relax: Vec<(u32, u8)>,
    /// A place among [`model::centre::Selection`]'s.
    pub selection: u8,
    pub ageing: Option<u32>,
    pub contacts_max: u32,
    pub wait_max: u32,
    pub ring: u32,
    pub wrap_up: u32,
}

/// Something that happens whatever else does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub at: Ms,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A contact calls.
    Calls(Box<Contact>),
    /// An agent does something.
    Acts(usize, Act),
    /// Something breaks, or is changed.
    Fault(Fault),
}

/// A contact, and everything that anybody is going to do in its conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Names it: its number is made of it.
    pub id: u32,
    /// Which number it dials.
    pub number: usize,
    pub deeds: Vec<Deed>,
    /// What becomes of the telephones that are rung for it, in their order; of others the last.
    pub rings: Vec<Ring>,
    /// Whether its telephone refuses re-INVITEs.
    pub refuses_reinvites: bool,
    /// What the service answers about it.
    pub answer: Answer,
}

/// Something that somebody does in a conversation, once, so long after its cue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deed {
    pub who: Who,
    pub cue: Cue,
    pub after: Ms,
    pub does: Does,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Contact,
    /// The agent who talks then, or did last.
    Agent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cue {
    /// The INVITE has left.
    Called,
    /// The contact is answered.
    Answered,
    /// An agent talks.
    Talking,
    /// An agent works on it afterwards.
    WrapUp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// At the telephone: CANCEL or BYE.
    HangUp,
    /// The same, unless an agent talks.
    Tire,
    Key(char),
    /// At the telephone, by re-INVITE.
    PhoneHold(bool),
    /// By REFER.
    PhoneRefer(Whom),
    /// At the desk.
    Hold,
    Retrieve,
    Mute(bool),
    Digits,
    DeskHangUp,
    Transfer(Whom),
    Consult(Whom),
    Complete,
    Conference,
    EndConsult,
    Finish,
    Extend(u32),
    /// Something goes wrong on purpose: what is not there is accepted, a wrong call is named.
    Nonsense,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    Agent(usize),
    /// Somebody in the public network.
    Outside(u8),
    /// A number of the centre.
    Own(usize),
    Nobody,
}

/// What becomes of a telephone that is rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    pub after: Ms,
    pub how: How,
    /// Who answers hangs up after so long, where nobody else does.
    pub talks: Option<Ms>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Answers,
    Refuses(u16),
    /// Nobody is there.
    RingsOut,
    /// It is declined at the desk.
    Declines,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Whether it is somebody of importance.
    Json(Ms, bool),
    Status(Ms, u16),
    Garbage(Ms),
    /// None, in time.
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Ready,
    Away,
    SignOut,
    SignIn,
    Dial(Whom),
    /// From the telephone.
    PhoneDial(Whom),
    Unregister,
    Register,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The media server has no ports for so long.
    MediaRefuses(Ms),
    /// It says nothing for so long.
    MediaSilent(Ms),
    /// It is lost, and all that it had begins elsewhere.
    MediaMoves,
    /// Nothing comes from or to an agent's telephone for so long.
    PhoneVanishes(usize, Ms),
    /// Messages are lost, doubled (both in percent), and late by so much at most.
    Network {
        length: Ms,
        lost: u8,
        doubled: u8,
        late: Ms,
    },
    /// Nothing is done for so long, and then all at once.
    Stall(Ms),
    QueueGone(usize, Ms),
    AgentGone(usize, Ms),
    SkillsChange(usize),
    FlowChanges(usize),
    Drain,
}

/// How much of what a plan has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub contacts: u32,
}

impl Plan {
    /// Equal seeds and sizes, equal plans.
    #[must_use]
    pub fn of(seed: u64, size: Size) -> Self {
        let mut lots = Lots::new(seed ^ 0x005e_ed0f_c0de);
        let centre = centre(&mut lots);
        let mut parts = Vec::new();
        let talk = 1_000 * lots.between(10, 40);
        // Between half idle and hopeless.
        let load = lots.between(50, 150);
        let gap = (talk + 12_000) * 100 / load / centre.agents.len() as u64;
        let mut at = 5_000;
        for id in 0..size.contacts {
            at += lots.below(2 * gap) as Ms;
            let contact = contact(&mut lots, (id, talk), centre.agents.len());
            parts.push(Part { at, what: What::Calls(Box::new(contact)) });
        }
        let end = at;
        acts(&mut lots, &centre, end, &mut parts);
        faults(&mut lots, &centre, end, &mut parts);
        parts.sort_by_key(|part| part.at);
        Self { seed, centre, parts }
    }

    /// Contacts that call.
    pub fn contacts(&self) -> impl Iterator<Item = &Contact> {
        self.parts.iter().filter_map(|part| match &part.what {
            What::Calls(contact) => Some(&**contact),
            What::Acts(..) | What::Fault(_) => None,
        })
    }

    /// Whether messages may be lost or late: then ends take as long as SIP's timers do.
    #[must_use]
    pub fn is_lossy(&self) -> bool {
        let faults = self.parts.iter().filter_map(|part| match &part.what {
            What::Fault(fault) => Some(fault),
            What::Calls(_) | What::Acts(..) => None,
        });
        let mut lossy = faults.filter(|fault| {
            matches!(fault, Fault::Network { .. } | Fault::PhoneVanishes(..) | Fault::MediaSilent(_))
        });
        lossy.next().is_some()
    }
}

fn centre(lots: &mut Lots) -> Centre {
    let agents = (0..lots.between(3, AGENTS_MAX as u64)).map(|_| {
        let skills = [(); QUEUES].map(|()| lots.below(11) as u8);
        let ranks = if lots.below(3) == 0 {
            (0..QUEUES)
                .filter_map(
                    |queue| if lots.below(4) > 0 { Some((queue, lots.between(1, 3) as u8)) } else { None },
                )
                .collect()
        } else {
            Vec::new()
        };
        let capacity = if lots.below(12) == 0 { 2 } else { 1 };
        Agent { skills, capacity, ranks, is_public: lots.below(10) == 0 }
    });
    let agents = agents.collect();
    let queues = (0..QUEUES).map(|_| {
        let minimum = lots.below(8) as u8;
        let relax = match lots.below(3) {
            0 => Vec::new(),
            1 => vec![(10, minimum.saturating_sub(3)), (30, 0)],
            _ => vec![(20, 0)],
        };
        Queue {
            minimum,
            relax,
            selection: lots.below(5) as u8,
            ageing: (lots.below(3) == 0).then(|| lots.between(5, 30) as u32),
            contacts_max: lots.between(2, 20) as u32,
            wait_max: lots.between(30, 240) as u32,
            ring: lots.between(8, 20) as u32,
            wrap_up: lots.below(3) as u32 * 6,
        }
    });
    Centre { agents, queues: queues.collect(), cap: lots.between(1, 4) as u32 }
}

fn whom(lots: &mut Lots, agents: usize) -> Whom {
    match lots.below(10) {
        0..=4 => Whom::Agent(lots.below(agents as u64) as usize),
        5..=6 => Whom::Outside(lots.below(8) as u8),
        7..=8 => Whom::Own(lots.below(NUMBERS as u64) as usize),
        _ => Whom::Nobody,
    }
}

fn contact(lots: &mut Lots, (id, talk): (u32, u64), agents: usize) -> Contact {
    let number = lots.below(NUMBERS as u64) as usize;
    let mut deeds = Vec::new();
    let mut does = |who, cue, after: u64, does| deeds.push(Deed { who, cue, after: after as Ms, does });
    let length = lots.between(talk / 8, talk * 2);
    match lots.below(100) {
        0..=2 => does(Who::Contact, Cue::Called, lots.below(400), Does::HangUp),
        3..=27 => does(Who::Contact, Cue::Answered, lots.between(1_000, 90_000), Does::Tire),
        _ => {}
    }
    if number == 1 && lots.below(10) < 8 {
        let key = char::from(b"1234"[lots.below(4) as usize]);
        does(Who::Contact, Cue::Answered, lots.between(300, 4_000), Does::Key(key));
    } else if lots.below(20) == 0 {
        let key = char::from(b"159*#"[lots.below(5) as usize]);
        does(Who::Contact, Cue::Answered, lots.between(300, 60_000), Does::Key(key));
    }
    match lots.below(100) {
        0..=64 => does(Who::Contact, Cue::Talking, length, Does::HangUp),
        65..=84 => does(Who::Agent, Cue::Talking, length, Does::HangUp),
        85..=92 => does(Who::Agent, Cue::Talking, length, Does::DeskHangUp),
        93..=96 => {
            does(Who::Contact, Cue::Talking, length, Does::HangUp);
            does(Who::Agent, Cue::Talking, length, Does::HangUp);
        }
        _ => {}
    }
    if lots.below(4) == 0 {
        conversation(lots, length, agents, &mut does);
    }
    if lots.below(3) == 0 {
        let act = if lots.below(5) == 0 { Does::Extend(lots.between(1, 40) as u32) } else { Does::Finish };
        does(Who::Agent, Cue::WrapUp, lots.between(200, 9_000), act);
    }
    let rings = (0..4).map(|_| ring(lots, talk)).chain([Ring::taken()]);
    let rings = rings.collect();
    let answer = match lots.below(10) {
        0..=5 => Answer::Json(lots.below(900) as Ms, lots.below(2) == 0),
        6 => Answer::Status(lots.below(900) as Ms, 500),
        7 => Answer::Garbage(lots.below(900) as Ms),
        8 => Answer::Json(lots.between(1_500, 9_000) as Ms, true),
        _ => Answer::Never,
    };
    Contact { id, number, deeds, rings, refuses_reinvites: lots.below(40) == 0, answer }
}

/// What else is done while two talk.
fn conversation(lots: &mut Lots, length: u64, agents: usize, does: &mut impl FnMut(Who, Cue, u64, Does)) {
    let (first, second) = (length / 4, length / 2);
    let mut agent = |after, act| does(Who::Agent, Cue::Talking, after, act);
    match lots.below(12) {
        0 => {
            agent(first, Does::Hold);
            agent(second, Does::Retrieve);
        }
        1 => {
            agent(first, Does::PhoneHold(true));
            agent(second, Does::PhoneHold(false));
        }
        2 | 3 => agent(first, Does::Transfer(whom(lots, agents))),
        4 => agent(first, Does::PhoneRefer(whom(lots, agents))),
        5..=8 => {
            agent(first, Does::Consult(whom(lots, agents)));
            let then = [Does::Complete, Does::Conference, Does::EndConsult, Does::HangUp, Does::DeskHangUp];
            let after = first + lots.between(100, 12_000);
            agent(after, then[lots.below(5) as usize]);
            agent(after + lots.between(100, 8_000), then[lots.below(5) as usize]);
        }
        9 => {
            agent(first, Does::Mute(true));
            agent(second, Does::Mute(false));
            agent(second, Does::Digits);
        }
        10 => agent(first, Does::Nonsense),
        _ => {
            does(Who::Contact, Cue::Talking, first, Does::PhoneHold(true));
            does(Who::Contact, Cue::Talking, second, Does::PhoneHold(false));
        }
    }
}

impl Ring {
    /// Somebody takes it who is in no hurry.
    const fn taken() -> Self {
        Self { after: 2_000, how: How::Answers, talks: Some(20_000) }
    }
}

fn ring(lots: &mut Lots, talk: u64) -> Ring {
    let after = lots.between(200, 6_000) as Ms;
    let (after, how) = match lots.below(100) {
        0..=74 => (after, How::Answers),
        75..=79 => (lots.between(7_500, 20_500) as Ms, How::Answers),
        80..=85 => (0, How::RingsOut),
        86..=90 => (after / 4, How::Refuses(486)),
        91 => (after, How::Refuses(480)),
        92 | 93 => (0, How::Refuses(500)),
        94 => (after, How::Refuses(603)),
        95..=97 => (after, How::Declines),
        _ => (0, How::Answers),
    };
    let talks = (lots.below(3) > 0).then(|| lots.between(talk / 4, talk * 3) as Ms);
    Ring { after, how, talks }
}

/// What agents do by themselves.
fn acts(lots: &mut Lots, centre: &Centre, end: Ms, parts: &mut Vec<Part>) {
    for agent in 0..centre.agents.len() {
        let mut at = 0;
        let mut does = |at: u64, act| parts.push(Part { at: at as Ms, what: What::Acts(agent, act) });
        does(lots.below(4_000), Act::SignIn);
        loop {
            at += lots.between(20_000, 500_000);
            if at > u64::from(end) {
                break;
            }
            let pause = lots.between(100, 60_000);
            match lots.below(10) {
                0..=2 => {
                    does(at, Act::Away);
                    does(at + pause, Act::Ready);
                }
                3 | 4 => {
                    does(at, Act::SignOut);
                    does(at + pause, Act::SignIn);
                }
                5 | 6 => does(at, Act::Dial(whom(lots, centre.agents.len()))),
                7 => does(at, Act::PhoneDial(whom(lots, centre.agents.len()))),
                8 => {
                    does(at, Act::Unregister);
                    does(at + pause, Act::Register);
                }
                _ => does(at, Act::Ready),
            }
        }
    }
}

fn faults(lots: &mut Lots, centre: &Centre, end: Ms, parts: &mut Vec<Part>) {
    // Some crowds have none at all.
    let count = match lots.below(4) {
        0 => 0,
        1 => 1,
        _ => lots.between(2, 8),
    };
    let agents = centre.agents.len() as u64;
    for _ in 0..count {
        let at = lots.below(u64::from(end)) as Ms;
        let length = lots.between(200, 40_000) as Ms;
        let fault = match lots.below(12) {
            0 => Fault::MediaRefuses(length / 4),
            1 => Fault::MediaSilent(length / 8),
            2 => Fault::MediaMoves,
            3 | 4 => Fault::PhoneVanishes(lots.below(agents) as usize, length * 2),
            5 | 6 => Fault::Network {
                length: length * 2,
                lost: lots.below(35) as u8,
                doubled: lots.below(20) as u8,
                late: lots.below(1_500) as Ms,
            },
            7 => Fault::Stall(length / 2),
            8 => Fault::QueueGone(lots.below(QUEUES as u64) as usize, length),
            9 => Fault::AgentGone(lots.below(agents) as usize, length),
            10 => Fault::SkillsChange(lots.below(agents) as usize),
            _ => Fault::FlowChanges(lots.below(NUMBERS as u64) as usize),
        };
        parts.push(Part { at, what: What::Fault(fault) });
    }
    if lots.below(12) == 0 {
        parts.push(Part { at: end.saturating_sub(20_000), what: What::Fault(Fault::Drain) });
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3} s  ", f64::from(self.at) / 1_000.0)?;
        match &self.what {
            What::Calls(contact) => write!(f, "{contact}"),
            What::Acts(agent, act) => write!(f, "agent {} {act:?}", super::centre::agent_name(*agent)),
            What::Fault(fault) => write!(f, "{fault:?}"),
        }
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "contact {} calls {}", self.id, super::centre::number_name(self.number))?;
        for Deed { who, cue, after, does } in &self.deeds {
            write!(f, "; {who:?} {:.3} s after {cue:?}: {does:?}", f64::from(*after) / 1_000.0)?;
        }
        for Ring { after, how, talks } in &self.rings {
            write!(f, "; rung: {how:?} after {:.3} s", f64::from(*after) / 1_000.0)?;
            if let Some(talks) = talks {
                write!(f, ", {:.3} s at most", f64::from(*talks) / 1_000.0)?;
            }
        }
        if self.refuses_reinvites {
            f.write_str("; refuses re-INVITEs")?;
        }
        if self.number == 2 {
            write!(f, "; the service: {:?}", self.answer)?;
        }
        Ok(())
    }
}
