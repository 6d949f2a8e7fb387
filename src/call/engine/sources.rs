//! How much a source may say, and whether it is heard at all.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use model::net::{Flow as NetFlow, ListenerIx};
use sip::endpoint;

use super::{Engine, Output};
use crate::{Now, rates};

/// Shortest name of ours that proves anything.
const NAME_MIN: usize = 6;

impl Engine {
    /// Reads a datagram. None: it is nobody's, whose source is a stranger or says too much.
    pub fn read(&mut self, now: Now, flow: NetFlow, bytes: &Bytes) -> Option<endpoint::Input> {
        self.is_known(now, flow, bytes).then(|| endpoint::Input::datagram(flow, bytes.clone()))
    }

    /// Before anything is parsed or kept: an unlisted source hears nothing.
    pub(super) fn is_known(&mut self, now: Now, flow: NetFlow, bytes: &[u8]) -> bool {
        if let Some(is_heard) = self.hears_help(now, &flow, bytes) {
            if !is_heard {
                self.push(Output::Excess { flow });
            }
            return is_heard;
        }
        let Some((source, rate)) = self.rate_of(flow.listener, flow.remote.ip(), now) else {
            self.push(Output::Stranger { flow });
            return false;
        };
        // A flood in a carrier's name does not know what we have told the carrier: calls that are up go on.
        let is_heard = self.rates.admits(now.instant, source, rate)
            || (!source.to_agents && is_named(bytes, self.token.as_bytes()));
        if !is_heard {
            self.push(Output::Excess { flow });
        }
        is_heard
    }

    /// How long the next message of a connection must wait before it is read; zero, if it is read and counted now.
    pub fn pace(&mut self, flow: &NetFlow, now: Now) -> Duration {
        let known = self.rate_of(flow.listener, flow.remote.ip(), now);
        known.map_or(Duration::ZERO, |(source, rate)| self.rates.wait(now.instant, source, rate))
    }

    /// Whether a source that may be heard may connect once more now.
    pub fn may_connect(&mut self, listener: ListenerIx, address: IpAddr, now: Now) -> bool {
        let Some((source, _)) = self.rate_of(listener, address, now) else { return false };
        let rate = if source.to_agents { rates::CONNECTIONS_OF_AGENTS } else { rates::CONNECTIONS_OF_TRUNKS };
        self.connecting.admits(now.instant, source, rate)
    }

    /// Whether whoever is behind a flow has been asked who he is, or needs not be.
    #[must_use]
    pub fn is_proven(&self, flow: &NetFlow) -> bool {
        !self.is_for_agents(flow) || self.registrar.knows(flow)
    }
}

/// Whether a message holds a name of ours: one that is shorter than [`NAME_MIN`] could be there by chance.
fn is_named(bytes: &[u8], name: &[u8]) -> bool {
    name.len() >= NAME_MIN && bytes.windows(name.len()).any(|window| window == name)
}
