//! Agents' phones: who may register, and who must be asked first.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use model::{
    net::{Flow as NetFlow, ListenerIx},
    snapshot::Serves,
};
use sip::{
    endpoint::{self, Header, RequestId},
    wire::{Message, Method},
};

use super::{
    Engine, Output, StationNews, Tidings,
    gate::Proof,
    placing::{Asked, plain},
};
use crate::{
    Now,
    bans::Bans,
    explanation::Explanation,
    rates::{self, Rate, Source},
    registrar::News,
    world::World,
};

impl Engine {
    /// Whether a source may be heard on a listener at all, before anything of it is read: on one for trunks only who is
    /// listed, on one for agents everybody who is not banned.
    #[must_use]
    pub fn admits(&self, listener: ListenerIx, address: IpAddr, now: Now) -> bool {
        self.rate_of(listener, address, now).is_some()
    }

    /// How much a source may say that may be heard at all.
    pub(super) fn rate_of(&self, listener: ListenerIx, address: IpAddr, now: Now) -> Option<(Source, Rate)> {
        let place = self.world.snapshot.cluster.listeners.get(usize::from(listener.0))?;
        let to_agents = place.serves == Serves::Agents;
        let source = Source { network: self.world.place_of(listener), to_agents, address };
        let rate = match place.serves {
            Serves::Trunks => self.world.rate_of(&place.network, address, now.wall)?,
            Serves::Agents => {
                let bans = self.bans.get(&place.network);
                let hears = bans.is_none_or(|bans| bans.hears(now.instant, address.to_canonical()));
                hears.then_some(rates::OF_AGENTS)?
            }
        };
        Some((source, rate))
    }

    /// Whether a datagram is looked at, whatever bans and rates say, because it calls for help, or its source has lately.
    /// None: it is like any other.
    pub(super) fn hears_help(&mut self, now: Now, flow: &NetFlow, bytes: &[u8]) -> Option<bool> {
        if !self.is_for_agents(flow) {
            return None;
        }
        let address = flow.remote.ip().to_canonical();
        if self.callbacks.called_from(now.instant, address) {
            return Some(true);
        }
        let source = Source { network: self.world.place_of(flow.listener), to_agents: true, address };
        let calls = self.world.is_for_help(bytes);
        calls.then(|| self.rates_of_help.admits(now.instant, source, rates::OF_AGENTS))
    }

    /// Whether a message is answered. On a listener for agents a stranger gets nothing but a challenge of a REGISTER or an
    /// INVITE, and what belongs to those.
    pub(super) fn answers(&self, flow: &NetFlow, input: &endpoint::Input) -> bool {
        if !self.is_for_agents(flow) || self.registrar.knows(flow) {
            return true;
        }
        match input {
            endpoint::Input::Message { message, .. } if message.is_request() => {
                matches!(message.method(), Method::Register | Method::Invite) && message.to_tag().is_none()
                    || self.endpoint.is_expected(message)
            }
            endpoint::Input::Message { message, .. } => self.endpoint.is_expected(message),
            endpoint::Input::Malformed { .. }
            | endpoint::Input::Unreachable { .. }
            | endpoint::Input::Timeout => false,
        }
    }

    /// On a listener for agents, what opens something and does not answer a challenge that was sent to its very source is
    /// answered with one and forgotten: a flood of forged sources takes neither a transaction nor a leg from anybody.
    pub(super) fn is_greeted(&mut self, now: Now, flow: NetFlow, message: &Message) -> bool {
        let opens =
            matches!(message.method(), Method::Register | Method::Invite) && message.to_tag().is_none();
        let is_new = message.is_request() && opens && self.is_for_agents(&flow);
        if !is_new || self.endpoint.is_expected(message) {
            return false;
        }
        let world = Arc::clone(&self.world);
        match self.gate.greet(now, &world, (flow.remote.ip(), message), &mut self.lots) {
            Ok(()) => false,
            Err(headers) => {
                self.endpoint.answer_at_once(flow, message, 401, &headers);
                true
            }
        }
    }

    pub(super) fn is_for_agents(&self, flow: &NetFlow) -> bool {
        let listener = self.world.snapshot.cluster.listeners.get(usize::from(flow.listener.0));
        listener.is_some_and(|listener| listener.serves == Serves::Agents)
    }

    /// A REGISTER on a listener for agents.
    pub(super) fn requested(&mut self, now: Now, id: RequestId, flow: NetFlow, request: &Message) {
        let world = Arc::clone(&self.world);
        let (code, headers) = match self.prove(now, &world, flow, request) {
            Err(headers) => (401, headers),
            Ok(station) => {
                let answer = self.registrar.register(now, &station, flow, request);
                if !answer.because.is_empty() {
                    let what = format!("{station} from {flow}: {}", answer.because);
                    self.push(Output::StationNews(StationNews::Told { what, is_bad: true }));
                }
                (answer.code, answer.headers)
            }
        };
        // If it waits no more, its phone has given up.
        let _ = self.endpoint.respond_to(now.instant, id, code, &headers);
        self.tell_of_stations();
    }

    /// An INVITE on a listener for agents.
    pub(super) fn station_invites(
        &mut self,
        now: Now,
        (leg, flow): (model::LegId, NetFlow),
        request: &Message,
        offer: Option<Bytes>,
        explanation: Explanation,
    ) {
        let world = Arc::clone(&self.world);
        match self.prove(now, &world, flow, request) {
            Err(headers) => {
                let because =
                    "an INVITE on a listener for agents must answer a challenge; it was sent.".into();
                self.challenge(now, leg, explanation, (headers, because));
            }
            Ok(station) => {
                let asked = Asked { leg, flow, request, offer, station };
                match self.endpoint.replaced_by(request) {
                    Ok(Some(replaces)) => self.station_replaces(now, asked, replaces, explanation),
                    Ok(None) => self.station_calls(now, asked, explanation),
                    Err((code, what)) => {
                        self.refuse_station(now, leg, explanation, plain(code, format!("{what}.")));
                    }
                }
            }
        }
    }

    /// Who sent it, as its answer to a challenge proves; else the challenges.
    fn prove(
        &mut self,
        now: Now,
        world: &World,
        flow: NetFlow,
        request: &Message,
    ) -> Result<crate::registrar::StationId, Vec<Header>> {
        let source = flow.remote.ip();
        match self.gate.station(now, world, (source, request), &mut self.lots) {
            Proof::Right(station) => Ok(station),
            Proof::Asked { headers, is_guess, missing } => {
                if let Some(what) = missing {
                    self.push(Output::StationNews(StationNews::Told { what, is_bad: true }));
                }
                // A connection, or a nonce that was sent to that address: it is no forged source.
                let is_sure = is_guess || flow.transport.is_reliable();
                if is_guess && is_sure {
                    self.count_guess(now, world, flow);
                }
                Err(headers)
            }
        }
    }

    fn count_guess(&mut self, now: Now, world: &World, flow: NetFlow) {
        let source = flow.remote.ip().to_canonical();
        let listener = world.snapshot.cluster.listeners.get(usize::from(flow.listener.0));
        let Some(network) = listener.map(|listener| &listener.network) else { return };
        // Never a trunk's: its calls are worth more than a guesser behind its address.
        if world.knows(network, source, now.wall) {
            return;
        }
        if let Some(ban) = self.bans.entry(network.clone()).or_default().failed(now.instant, source) {
            let length = ban.until.saturating_duration_since(now.instant);
            let seconds = i64::try_from(length.as_secs()).unwrap_or(i64::MAX);
            let until = now.wall + jiff::SignedDuration::from_secs(seconds);
            self.push(Output::StationNews(StationNews::Banned { address: ban.address, until }));
            let (network, address, until) = (network.clone(), ban.address, ban.until);
            self.tell_others(Tidings::Banned { network, address, until });
        }
    }

    /// Ends a ban. False: there was none.
    pub(super) fn lift(&mut self, now: Now, address: IpAddr) {
        let lift = |bans: &mut Bans| bans.lift(now.instant, address.to_canonical());
        // On every network: whoever lifts it says no more than the address.
        if self.bans.values_mut().map(lift).fold(false, |any, one| any | one) {
            self.push(Output::StationNews(StationNews::Lifted { address }));
        }
    }

    /// What the registrar has to say.
    pub(super) fn tell_of_stations(&mut self) {
        while let Some(news) = self.registrar.poll() {
            match news {
                News::Came(station) => {
                    self.floors.stir(&station.agent);
                    self.push(Output::StationNews(StationNews::Came(station)));
                }
                News::Went(station) => {
                    self.floors.stir(&station.agent);
                    self.push(Output::StationNews(StationNews::Went(station)));
                }
                News::KeepAlive(flow, bytes) => self.push(Output::Transmit { flow, bytes }),
            }
        }
    }

    /// After another snapshot: stations that it has no more are gone.
    pub(super) fn look_over_stations(&mut self) {
        let world = Arc::clone(&self.world);
        self.registrar.retain(|station| world.has_station(station));
        self.tell_of_stations();
    }
}
