//! The engines of one edge, as the shell would have them: one alone, or several.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Instant,
};

use call::{
    Now,
    engine::{Config, Engine, HOME, Input, Output, Shard, Tallies, Together},
    health::Who,
    locate::Asked,
    registration::Standing,
    world::{Names, Refused, World},
};
use jiff::Timestamp;
use model::{TrunkId, snapshot::Snapshot};
use sip::endpoint;

/// Sessions of an engine, of which each has a range.
const SESSIONS: u64 = 1 << 40;

/// How many there are: this file is part of two test binaries.
fn count() -> usize {
    if env!("CARGO_CRATE_NAME") == "sharded" { 3 } else { 1 }
}

#[derive(Debug, Default)]
struct Counted(Mutex<Tallies>);

impl Together for Counted {
    fn with(&self, run: &mut dyn FnMut(&mut Tallies)) {
        run(&mut self.0.lock().unwrap());
    }
}

pub struct Engines {
    all: Vec<Engine>,
    now: Option<Now>,
    /// Who asked for a verdict or a signature.
    tickets: BTreeMap<u64, usize>,
}

impl Engines {
    pub fn new(config: Config, snapshot: Arc<Snapshot>, names: Names) -> Result<Self, Refused> {
        let together: Option<Arc<dyn Together>> = (count() > 1).then(|| Arc::new(Counted::default()) as _);
        let of = |index: usize| Config {
            shard: Shard { index, count: count() },
            together: together.clone(),
            first_call: config.first_call + SESSIONS * index as u64,
            seed: config.seed + index as u64,
            ..config.clone()
        };
        let home = Engine::new(of(HOME), snapshot, names)?;
        let world = Arc::clone(home.world());
        let others = (1..count()).map(|index| Engine::of(of(index), Arc::clone(&world)));
        let all = std::iter::once(home).chain(others).collect();
        Ok(Self { all, now: None, tickets: BTreeMap::new() })
    }

    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = Some(now);
        match input {
            Input::Packet { flow, bytes } => {
                // As a kernel deals them out: by address and port.
                let octets = match flow.remote.ip() {
                    IpAddr::V4(address) => u32::from(address),
                    IpAddr::V6(_) => 0,
                };
                let reader = (octets as usize + usize::from(flow.remote.port())) % self.all.len();
                let reader = &mut self.all[reader];
                let Some(input) = reader.read(now, flow, &bytes) else { return };
                let owner = reader.owner(now, &flow, &input);
                self.all[owner].handle(now, Input::Parsed { flow, bytes, input: Box::new(input) });
            }
            Input::Message { flow, message } => {
                let input = endpoint::Input::Message { flow, message: *message };
                let owner = self.all[HOME].owner(now, &flow, &input);
                let endpoint::Input::Message { message, .. } = input else { return };
                self.all[owner].handle(now, Input::Message { flow, message: Box::new(message) });
            }
            Input::Identified { flow, identity } => {
                for engine in &mut self.all {
                    engine.handle(now, Input::Identified { flow, identity: identity.clone() });
                }
            }
            Input::Unreachable { flow } => {
                self.every(|engine| engine.handle(now, Input::Unreachable { flow }))
            }
            Input::Media(event) => {
                let owner = usize::try_from(event.session.0 / SESSIONS).unwrap();
                self.all[owner].handle(now, Input::Media(event));
            }
            Input::Answered { call, .. } => {
                let owner = usize::try_from(call.0 / SESSIONS).unwrap();
                self.all[owner].handle(now, input);
            }
            Input::Agent(order) => {
                let owner = self.all[HOME].floor_of(order.agent.0.namespace());
                self.all[owner].handle(now, Input::Agent(order));
            }
            Input::Preview(preview) => {
                let owner = self.all[HOME].floor_of(preview.queue.0.namespace());
                self.all[owner].handle(now, Input::Preview(preview));
            }
            Input::Names(_) | Input::Secrets(_) => {
                self.all[HOME].handle(now, input);
                self.share(now);
            }
            Input::Verified { ticket, .. } | Input::Signed { ticket, .. } => {
                let owner = self.tickets[&ticket];
                self.all[owner].handle(now, input);
            }
            Input::Lift { address } => self.every(|engine| engine.handle(now, Input::Lift { address })),
            Input::Drain => self.every(|engine| engine.handle(now, Input::Drain)),
            Input::Stop { because } => self.every(|engine| engine.handle(now, Input::Stop { because })),
            Input::Timeout => self.every(|engine| engine.handle(now, Input::Timeout)),
            Input::Malformed { .. } | Input::Parsed { .. } | Input::World(_) | Input::Tidings(_) => {
                self.all[HOME].handle(now, input);
            }
        }
    }

    fn every(&mut self, each: impl FnMut(&mut Engine)) {
        self.all.iter_mut().for_each(each);
    }

    fn share(&mut self, now: Now) {
        let world = Arc::clone(self.all[HOME].world());
        for engine in &mut self.all[1..] {
            engine.handle(now, Input::World(Arc::clone(&world)));
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is for the test")]
    pub fn poll(&mut self) -> Option<Output> {
        for index in 0..self.all.len() {
            while let Some(output) = self.all[index].poll() {
                match output {
                    Output::Tidings(tidings) => {
                        let now = self.now.unwrap();
                        for other in (0..self.all.len()).filter(|other| *other != index) {
                            if !tidings.is_for_home() || other == HOME {
                                self.all[other].handle(now, Input::Tidings(tidings.clone()));
                            }
                        }
                    }
                    Output::Verify(asked) => {
                        self.tickets.insert(asked.ticket, index);
                        return Some(Output::Verify(asked));
                    }
                    Output::Sign(asked) => {
                        self.tickets.insert(asked.ticket, index);
                        return Some(Output::Sign(asked));
                    }
                    output => return Some(output),
                }
            }
        }
        None
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.all.iter().filter_map(Engine::poll_timeout).min()
    }

    pub fn apply(&mut self, snapshot: Arc<Snapshot>) -> Result<(), Refused> {
        self.all[HOME].apply(snapshot)?;
        let world = Arc::clone(self.all[HOME].world());
        if let Some(now) = self.now {
            for engine in &mut self.all[1..] {
                engine.handle(now, Input::World(Arc::clone(&world)));
            }
        }
        Ok(())
    }

    pub fn world(&self) -> &Arc<World> {
        self.all[HOME].world()
    }

    /// Queues as they stand, whichever engine has them.
    pub fn queues(&self, now: Now) -> Vec<acd::Live> {
        self.all.iter().flat_map(|engine| engine.queues(now)).map(|(_, live)| live).collect()
    }

    pub fn calls(&self) -> usize {
        self.all.iter().map(Engine::calls).sum()
    }

    pub fn is_idle(&self) -> bool {
        self.all.iter().all(Engine::is_idle)
    }

    pub fn peers(&self) -> impl Iterator<Item = (&Who, Option<Timestamp>)> {
        self.all[HOME].peers()
    }

    pub fn registrations(&self) -> impl Iterator<Item = (&TrunkId, &Standing)> {
        self.all[HOME].registrations()
    }

    pub fn routes(&self) -> std::collections::BTreeSet<Asked> {
        self.all[HOME].routes()
    }
}
