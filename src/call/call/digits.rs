//! Keys of telephones: where they come from, and how they reach the other side.
//!
//! A leg has one source of them ([`MediaLeg::hears_digits`]). Between two legs the media server passes on events as events or
//! tones, and sound with the tones in it; what came by INFO, or goes by it, and tones for who takes events, are passed on here.

use bytes::Bytes;
use model::{LegId, media::Order};

use super::{Call, Context, Effect};
use crate::dial::Branch;

/// Length of a key that came without one, and the pause behind it, in milliseconds (RFC 4733 §2.5.2.1 wants 40 at least).
const KEY_MS: u16 = 160;
const PAUSE_MS: u16 = 80;

/// How a key came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// By INFO.
    Info,
    /// As event, which the media server passes on by itself as what the other side understands.
    Event,
    /// In the sound, which is all that the media server passes on of it.
    Tones,
}

impl Call {
    /// The media server heard a key of a leg's peer.
    pub(super) fn heard_digit(&mut self, media: LegId, digit: char, context: &mut Context<'_>) {
        let is_a = media == self.a.media.id;
        let leg =
            if is_a { Some(&mut self.a.media) } else { self.branch(media).map(|branch| &mut branch.media) };
        if let Some(leg) = leg.filter(|leg| leg.hears_digits()) {
            let came = if leg.has_events() { Came::Event } else { Came::Tones };
            if is_a || !self.confirmed_by(media, digit, context) && !self.is_supervisors(media) {
                self.key(is_a, digit, came, context);
            }
        }
    }

    /// An INFO has come from a leg's peer.
    pub(super) fn informed(
        &mut self,
        media: LegId,
        content_type: &str,
        body: &[u8],
        context: &mut Context<'_>,
    ) {
        let Some(digit) = info_digit(content_type, body) else { return };
        let is_a = media == self.a.media.id;
        let leg =
            if is_a { Some(&mut self.a.media) } else { self.branch(media).map(|branch| &mut branch.media) };
        let taken = leg.is_some_and(|leg| leg.takes_info());
        if taken && (is_a || !self.confirmed_by(media, digit, context) && !self.is_supervisors(media)) {
            self.key(is_a, digit, Came::Info, context);
        }
    }

    /// Keys of an agent's desk, for the other side.
    pub(super) fn send_digits(&mut self, to_caller: bool, digits: &str, context: &mut Context<'_>) {
        let to = match (to_caller, self.joined()) {
            (true, _) => Some((&self.a.media, Some(self.incoming.leg))),
            (false, None) => self.there().map(|branch| (&branch.media, branch.sip)),
            (false, branch) => branch.map(|branch| (&branch.media, branch.sip)),
        };
        let Some((media, sip)) = to else { return };
        match sip.filter(|_| media.sends_info()) {
            Some(leg) => context.effects.extend(digits.chars().map(|digit| Effect::Info {
                leg,
                content_type: "application/dtmf-relay",
                body: relayed(digit),
            })),
            None => context.effects.push(Effect::Media(Order::SendDtmf {
                leg: media.id,
                digits: digits.to_owned(),
                duration_ms: KEY_MS,
                gap_ms: PAUSE_MS,
            })),
        }
    }

    /// Whoever has answered last.
    fn there(&self) -> Option<&Branch> {
        let dialling = self.dialling.as_ref()?;
        dialling.branches.iter().find(|branch| Some(branch.media.id) == dialling.joined)
    }

    fn key(&mut self, of_caller: bool, digit: char, came: Came, context: &mut Context<'_>) {
        if self.consult().is_some() {
            return;
        }
        let Some(branch) = self.there() else {
            if of_caller {
                self.pressed(digit, context);
            }
            return;
        };
        let (media, sip) = match of_caller {
            true => (&branch.media, branch.sip),
            false => (&self.a.media, Some(self.incoming.leg)),
        };
        let effect = match sip.filter(|_| media.sends_info()) {
            Some(leg) => Effect::Info { leg, content_type: "application/dtmf-relay", body: relayed(digit) },
            None if came == Came::Info || came == Came::Tones && media.has_events() => {
                Effect::Media(Order::SendDtmf {
                    leg: media.id,
                    digits: digit.to_string(),
                    duration_ms: KEY_MS,
                    gap_ms: PAUSE_MS,
                })
            }
            None => return,
        };
        context.effects.push(effect);
    }
}

fn relayed(digit: char) -> Bytes {
    format!("Signal={digit}\r\nDuration={KEY_MS}\r\n").into()
}

/// A digit of `application/dtmf-relay` or `application/dtmf`, as phones without RFC 4733 send it.
fn info_digit(content_type: &str, body: &[u8]) -> Option<char> {
    let text = std::str::from_utf8(body).ok()?;
    let signal = match content_type {
        "application/dtmf" => text.trim(),
        "application/dtmf-relay" => {
            let line = text.lines().find_map(|line| {
                let (name, value) = line.split_once('=')?;
                name.trim().eq_ignore_ascii_case("signal").then_some(value)
            });
            line?.trim()
        }
        _ => return None,
    };
    let mut characters = signal.chars();
    let digit = characters.next().filter(|digit| "0123456789*#ABCD".contains(*digit))?;
    characters.next().is_none().then_some(digit)
}
