//! What comes to a tenant's floor, who is there, and what is asked of a forecast of it.

use std::collections::BTreeMap;

use crate::{AgentId, QueueId};

/// Most queues, and most groups of agents, of a forecast.
pub const PARTS_MAX: usize = 200;

/// Most agents of a group.
pub const AGENTS_MAX: u32 = 5_000;

/// Most intervals of a day.
pub const INTERVALS_MAX: usize = 288;

/// Most times that a forecast is made anew with other lots.
pub const REPLICATIONS_MAX: u32 = 10_000;

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Demand {
    /// The tenant's namespace.
    pub tenant: String,
    /// The day's intervals. None: rates and agents are the same for ever, and what is asked is how it is in the long run.
    pub day: Option<Day>,
    /// What comes, a queue at most once; not empty.
    pub queues: Vec<Load>,
    /// Who is there. Empty: all Agents of the tenant.
    pub groups: Vec<Group>,
    /// How long a telephone rings before its agent answers.
    pub answer_seconds: f64,
    /// Of a hundred offers, so many ring out.
    pub missed_percent: f64,
    /// After so long an agent who let one ring out is back.
    pub return_seconds: f64,
    /// How many agents are needed. None: nobody asks.
    pub find: Option<Target>,
    /// How often it is simulated, each time with other lots; at least 2.
    pub replications: u32,
    /// Hours of each that count. Of a day it is the day.
    pub hours: f64,
    /// Hours before them that do not. None: as many as the queues need to forget that they were empty.
    pub warm_up_hours: Option<f64>,
    /// Of all lots.
    pub seed: u64,
}

/// A day of intervals that are alike in length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// When the first one begins, in minutes after midnight.
    pub opens_minutes: u32,
    /// How long each lasts.
    pub interval_minutes: u32,
    /// How many there are; at least 1.
    pub intervals: usize,
}

/// What comes to a queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Which.
    pub queue: QueueId,
    /// One number, or one for each interval.
    pub contacts_per_hour: Vec<f64>,
    /// Of an agent for a contact, with the work after it.
    pub handling: Times,
    /// After so long who waits hangs up. None: nobody does.
    pub patience: Option<Times>,
}

/// How times are spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    /// Their mean, above 0.
    pub mean_seconds: f64,
    /// Around it.
    pub spread: Spread,
}

/// A distribution of times above 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spread {
    /// All at random: short ones are many, long ones are long.
    Exponential,
    /// Around a middle, with a long tail, as times of work mostly are; the standard deviation in seconds, above 0.
    LogNormal(f64),
    /// All alike.
    Fixed,
}

/// Agents who are alike, or are counted together.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Unique.
    pub name: String,
    /// Who.
    pub members: Members,
}

/// Who belongs to a group.
#[derive(Debug, Clone, PartialEq)]
pub enum Members {
    /// Agents of the folder, there all the time; not empty.
    Named(Vec<AgentId>),
    /// So many who are made up.
    MadeUp {
        /// One number, or one for each interval.
        count: Vec<u32>,
        /// Levels of 1 to 10.
        skills: BTreeMap<String, u8>,
        /// Queues they serve, by rank. Empty: all whose skills suffice.
        queues: BTreeMap<QueueId, u8>,
    },
}

/// The question how many agents of a group are needed.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// A group that is made up.
    pub group: String,
    /// Queues that must reach it. Empty: every queue to which something comes.
    pub queues: Vec<QueueId>,
    /// So many of a hundred, within so many seconds. None: each Queue's own `serviceLevel`.
    pub level: Option<(f64, f64)>,
    /// Of a hundred paid hours, so many are not spent at the telephone.
    pub shrinkage_percent: f64,
}
