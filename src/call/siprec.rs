//! Calls told and copied to a session recording server: what is said to it (SIPREC, RFC 7866, RFC 7865).
//!
//! Two streams of each call go there: what the contact says and what it hears. So whoever it talks to may change, or be the
//! flow alone, and no stream comes or goes; the metadata say who is connected.

pub mod description;
pub mod metadata;
