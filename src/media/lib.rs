//! The media server's shell: ports, workers, prompts, recordings.
//!
//! A [`Server`] carries out the orders of `model::media` and answers with its events. It has one thread per core,
//! each with its own epoll set, sockets and sessions; all legs of a session live on one worker, so no packet ever
//! waits for a lock. What a packet means is decided by `rtp`; here are sockets, clocks and files.
//!
//! Contract: [`link::MediaOrders::send`] never blocks; events are told from worker threads, those of one session in
//! the order of their happening. A peer can cause neither a panic nor growth: every queue, table and loop is bounded.

mod coded;
mod config;
mod crypt;
mod door;
mod dtls;
mod ears;
mod engine;
mod latch;
mod leg;
mod legs;
mod library;
mod listening;
mod measure;
mod mixing;
mod outgoing;
mod play;
mod playback;
mod ports;
mod rates;
mod recording;
mod reports;
mod server;
mod shared;
mod sources;
mod span;
mod speech;
mod sys;
mod tally;
mod voice;
mod worker;
mod xdp;

pub use config::{Config, Counters, Network, Packets, Services, Spans, StartError};
pub use library::{AudioSource, Library, LoadError, LoadErrorKind, Prompt, decode};
pub use listening::{About, Hearing, Pocketsphinx, Recogniser, Said};
pub use recording::{Catalogue, Dictation, Swept, Transcriber, Wanted};
pub use server::{Handle, Server};
pub use speech::{Speaker, with_true_lengths};
pub use tally::WorkerCounters;
