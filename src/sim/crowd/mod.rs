//! Many contacts at once around the real engine, on one clock, and everything that can go wrong between them.
//!
//! A [`Plan`] is what happens from outside: who calls, what people do, what breaks. It is drawn from a seed as data before
//! anything happens. [`run`] lets it happen and looks on: every [`Invariant`] is held after every input of the engine, of what
//! that has touched. **Equal plans run alike.** A plan that fails is made small by [`shrink`]: parts of it are left out for as
//! long as it fails in the same way.
//!
//! What is real is the engine, and the SIP of all telephones with its timers. What is made up is the network, which loses,
//! doubles and delays messages where the plan says so; the media server; people; services.

mod centre;
mod lines;
mod network;
mod people;
mod plan;
mod run;
mod shrink;
mod tally;
mod watch;
mod wire;

pub use self::{
    plan::{Act, Contact, Fault, Part, Plan, Size, What},
    run::{Failed, Ran, run, told},
    shrink::{Shrunk, shrink, shrink_with},
    tally::Tally,
    watch::{Invariant, Violation},
};
