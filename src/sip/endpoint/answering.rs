//! A telephone that rings is asked to answer by itself: a NOTIFY of the event `talk` in its early dialog, which telephones
//! with remote call control understand. It is no subscription's (so the peer may refuse it, which ends nothing), and what comes of it is the
//! answer to the INVITE.

use std::time::Instant;

use model::LegId;

use super::{
    Endpoint, Event, Header, Misuse,
    leg::{Cancel, Phase},
    table::Purpose,
};

impl Endpoint {
    /// Asks whoever our INVITE rings to answer it. If they refuse, or say nothing, [`Event::AnswerRefused`] follows; else
    /// nothing is told but the answer.
    ///
    /// # Errors
    /// When nobody rings, or the transaction table is full.
    pub fn ask_to_answer(&mut self, now: Instant, leg: LegId) -> Result<(), Misuse> {
        let full = self.table_is_full();
        let known = self.live(leg)?;
        let rings = matches!(known.phase, Phase::Calling { cancel: Cancel::No, .. });
        let Some(early) = known.early.last().filter(|_| rings) else { return Err(Misuse::WrongState) };
        if full {
            return Err(Misuse::TableFull);
        }
        let mut dialog = early.dialog.clone();
        let headers = [Header::new("Event", "talk"), Header::new("Subscription-State", "active")];
        self.send_in(now, leg, &mut dialog, Purpose::Talk, "NOTIFY", &headers, ("", &[]));
        if let Some(early) = self.live(leg)?.early.last_mut() {
            early.dialog = dialog;
        }
        Ok(())
    }

    /// The telephone does not answer for being asked.
    pub(super) fn on_answer_refused(&mut self, leg: Option<LegId>, code: u16) {
        let calling =
            |leg: &LegId| self.legs.get(leg).is_some_and(|leg| matches!(leg.phase, Phase::Calling { .. }));
        if let Some(leg) = leg.filter(calling) {
            self.tell(Event::AnswerRefused { leg, code });
        }
    }
}
