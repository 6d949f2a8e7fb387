//! The same cases over the in-process twin and over mutual TLS on loopback, and peers that do not keep to the rules.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail, and looks for one thing of many"
)]

/// Each over both twins.
macro_rules! conformance {
    ($($name:ident)*) => {
        mod twin {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::World::new(super::Over::Twin)).await;
            })*
        }
        mod network {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::World::new(super::Over::Network)).await;
            })*
        }
    };
}

mod bad_peers;
mod config;
mod everything;
mod media;
mod property;
mod wire;
mod world;
