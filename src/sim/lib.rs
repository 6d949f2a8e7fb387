//! What would become of a call, without placing it.
//!
//! There is one decision about a call, in [`call`]: [`explain`] asks it as the edge does, over the same snapshot, and
//! [`walk`] runs the real [`call::cursor::Cursor`] through the flow, forking it wherever the contact or a callee decides.
//!
//! [`changes`] holds the walks of two configurations side by side: which calls change between them.
//!
//! [`world`] runs CallTests: the engine itself in a made-up world.
//!
//! [`forecast`] simulates a floor: what waits, service level and occupancy would come of contacts and agents.
//!
//! Pure: the snapshot, the time and the question come in; a value that can be printed or serialised goes out.

pub mod changes;
pub mod coverage;
pub mod crowd;
pub mod explain;
pub mod forecast;
mod text;
pub mod walk;
pub mod world;
