//! What is kept of a call once it is over, and what was measured of its legs.

use jiff::Timestamp;
use model::LegId;

use super::Call;
use crate::{
    admission::Origin,
    record::{Begun, Egress, EndedBy, LEGS_MAX, Measured, PATH_MAX, Record, cause_of},
    registrar::StationId,
};

impl Call {
    /// What is known of it when it begins.
    #[must_use]
    pub fn begun(&self) -> Begun {
        let admitted = &self.incoming.admitted;
        let flow = Some(self.cursor.flow()).filter(|_| self.incoming.placement.is_none());
        Begun {
            call: self.id,
            call_id: self.incoming.call_id.clone(),
            tenant: admitted.tenant.clone(),
            from: self.incoming.from.clone(),
            to: self.incoming.to.clone(),
            trunk: admitted.trunk().cloned(),
            station: self.station().cloned(),
            number: admitted.number.as_ref().map(|number| number.range.id.clone()),
            flow: flow.map(|flow| flow.id.clone()),
            part_of: self.incoming.part_of.clone(),
            started_at: self.started_at,
        }
    }

    fn station(&self) -> Option<&StationId> {
        match &self.incoming.admitted.origin {
            Origin::Station(station) => Some(station),
            Origin::Trunk(_) => None,
        }
    }

    /// What is kept of it.
    #[must_use]
    pub fn record(&self, ended_at: Timestamp) -> Record {
        let code = if self.answered_at.is_some() { 200 } else { self.ending.as_ref().map_or(0, |e| e.code) };
        let normal = self.ending.as_ref().is_some_and(|ending| ending.because.is_none());
        let admitted = &self.incoming.admitted;
        // What is performed where a phone dials is nobody's flow.
        let flow = Some(self.cursor.flow()).filter(|_| self.incoming.placement.is_none());
        let own = self.measured.iter().find(|measured| measured.leg == self.a.media.id);
        let others = self.measured.iter().filter(|measured| measured.leg != self.a.media.id);
        Record {
            call: self.id,
            call_id: self.incoming.call_id.clone(),
            tenant: admitted.tenant.clone(),
            from: self.incoming.from.clone(),
            verstat: self.incoming.vetted.verstat,
            attestation: self.incoming.vetted.attestation,
            to: self.incoming.to.clone(),
            trunk: admitted.trunk().cloned(),
            station: self.station().cloned(),
            number: admitted.number.as_ref().map(|number| number.range.id.clone()),
            flow: flow.map(|flow| flow.id.clone()),
            revision: flow.map(|flow| flow.program.revision.clone()),
            part_of: self.incoming.part_of.clone(),
            started_at: self.started_at,
            answered_at: self.answered_at,
            ended_at,
            path: self
                .earlier
                .iter()
                .map(|(step, _)| step)
                .chain(self.cursor.path())
                .take(PATH_MAX)
                .cloned()
                .collect(),
            path_at: self
                .earlier
                .iter()
                .map(|(_, at)| at)
                .chain(self.cursor.path_at())
                .take(PATH_MAX)
                .copied()
                .collect(),
            ended_by: self.ending.as_ref().map_or(EndedBy::Failure, |ending| ending.by),
            sip_code: code,
            cause: if normal {
                cause_of(code)
            } else {
                self.ending.as_ref().map_or(127, |ending| ending.cause)
            },
            because: self.ending.as_ref().and_then(|ending| ending.because.clone()),
            quality: own.and_then(|own| own.quality),
            series: own.map(|own| own.series.clone()).unwrap_or_default(),
            egress: self.egress.iter().map(|(_, egress)| egress.clone()).collect(),
            legs: others.take(LEGS_MAX).cloned().collect(),
            recordings: self.recorder.kept(false),
            voicemails: self.recorder.kept(true),
            queues: self.visits.clone(),
            supervisions: self.supervisions.clone(),
        }
    }

    /// An INVITE has left as a SIP leg.
    pub(super) fn leg_left(&mut self, sip: LegId, (leg, whom): (LegId, String), now: Timestamp) {
        if self.egress.len() >= LEGS_MAX {
            let in_vain = |(_, egress): &(LegId, Egress)| egress.answered_at.is_none();
            let Some(place) = self.egress.iter().position(in_vain) else { return };
            self.egress.remove(place);
        }
        let (answered_at, ended_at) = (None, None);
        let egress = Egress { leg, whom, invited_at: now, answered_at, ended_at, sip_code: 0, cause: 0 };
        self.egress.push((sip, egress));
    }

    /// It was answered.
    pub(super) fn leg_answered(&mut self, sip: LegId, now: Timestamp) {
        if let Some(egress) = self.dialled_leg(sip) {
            (egress.answered_at, egress.sip_code) = (Some(now), 200);
        }
    }

    /// It is over: `code` says why, where it was not answered, and `cause` where it was.
    pub(super) fn leg_ended(&mut self, sip: LegId, (code, cause): (u16, u8), now: Timestamp) {
        let Some(egress) = self.dialled_leg(sip).filter(|egress| egress.ended_at.is_none()) else { return };
        egress.ended_at = Some(now);
        match egress.answered_at {
            Some(_) => egress.cause = cause,
            None => (egress.sip_code, egress.cause) = (code, cause_of(code)),
        }
    }

    fn dialled_leg(&mut self, sip: LegId) -> Option<&mut Egress> {
        self.egress.iter_mut().rev().find(|(leg, _)| *leg == sip).map(|(_, egress)| egress)
    }

    /// What is measured of a leg. None: there are too many others, and the A leg always has room.
    pub(super) fn measured(&mut self, leg: LegId) -> Option<&mut Measured> {
        let place = self.measured.iter().position(|measured| measured.leg == leg);
        let place = match place {
            Some(place) => place,
            None if self.measured.len() <= LEGS_MAX || leg == self.a.media.id => {
                self.measured.push(Measured { leg, quality: None, series: Vec::new() });
                self.measured.len() - 1
            }
            None => return None,
        };
        self.measured.get_mut(place)
    }
}
