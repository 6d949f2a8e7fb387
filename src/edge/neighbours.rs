//! The other engines of an edge: each has a thread of its own, its own datagram sockets on every listener's address
//! (SO_REUSEPORT), and a queue for what others have read of its traffic.
//!
//! Connections are the home engine's alone. What it applies is shared with the others as it is, never copied.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use call::{
    engine::{HOME, Input, Tallies, Tidings, Together},
    world::World,
};
use model::net::Flow;
use tokio::sync::{mpsc, watch};

/// Messages that wait for one engine.
const TRAFFIC_MAX: usize = 65_536;

/// What one engine has for another.
#[derive(Debug)]
pub enum Relayed {
    /// It is the other's to handle.
    Input(Input),
    /// To be sent by a connection.
    Send(Flow, Bytes),
}

/// What the home engine has made ready, and how peers stand with it: the latest of each.
#[derive(Clone)]
pub struct FromHome {
    pub world: Arc<World>,
    pub standing: Option<Tidings>,
}

impl fmt::Debug for FromHome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromHome").finish_non_exhaustive()
    }
}

/// The ways from one engine to the others.
#[derive(Debug)]
pub struct Neighbours {
    /// This engine's place among them.
    index: usize,
    /// By place; this engine's own is never used.
    traffic: Vec<mpsc::Sender<Relayed>>,
    home: Arc<watch::Sender<FromHome>>,
}

/// The other ends of the ways to one engine.
#[derive(Debug)]
pub struct Ways {
    pub traffic: mpsc::Receiver<Relayed>,
    pub home: watch::Receiver<FromHome>,
}

impl Neighbours {
    /// The ways between `count` engines, in the order of their places.
    pub fn of(count: usize, world: Arc<World>) -> Vec<(Self, Ways)> {
        let (home, changes) = watch::channel(FromHome { world, standing: None });
        let home = Arc::new(home);
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(TRAFFIC_MAX)).unzip();
        let ways = receivers.into_iter().enumerate().map(|(index, traffic)| {
            let neighbours = Self { index, traffic: senders.clone(), home: Arc::clone(&home) };
            (neighbours, Ways { traffic, home: changes.clone() })
        });
        ways.collect()
    }

    pub const fn is_home(&self) -> bool {
        self.index == HOME
    }

    /// This engine's place among them.
    pub const fn place(&self) -> usize {
        self.index
    }

    pub const fn is_at(&self, place: usize) -> bool {
        self.index == place
    }

    pub const fn are_none(&self) -> bool {
        self.traffic.len() == 1
    }

    /// Gives something to the engine at a place. False: it is too far behind.
    pub fn give(&self, place: usize, relayed: Relayed) -> bool {
        self.traffic.get(place).is_some_and(|way| way.try_send(relayed).is_ok())
    }

    /// Gives an input to all others. Gives to how many it could not be given.
    pub fn tell_all(&self, input: impl Fn() -> Input) -> u64 {
        let others = (0..self.traffic.len()).filter(|place| *place != self.index);
        others.filter(|place| !self.give(*place, Relayed::Input(input()))).count() as u64
    }

    /// Lets the others have what is applied here, if it is another than they have.
    pub fn share(&self, world: &Arc<World>) {
        if !self.are_none() && !Arc::ptr_eq(&self.home.borrow().world, world) {
            self.home.send_modify(|shared| shared.world = Arc::clone(world));
        }
    }

    /// Passes on what an engine has to say. Gives to how many it could not be given.
    pub fn pass_on(&self, tidings: Tidings) -> u64 {
        if matches!(tidings, Tidings::Standing(_)) {
            self.home.send_modify(|shared| shared.standing = Some(tidings));
            return 0;
        }
        if tidings.is_for_home() {
            return u64::from(!self.give(HOME, Relayed::Input(Input::Tidings(tidings))));
        }
        self.tell_all(|| Input::Tidings(tidings.clone()))
    }
}

/// What all engines of an edge count together, for a moment at a time.
#[derive(Debug, Default)]
pub struct Counted(Mutex<Tallies>);

impl Together for Counted {
    fn with(&self, run: &mut dyn FnMut(&mut Tallies)) {
        // Each count is whole by itself.
        run(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
