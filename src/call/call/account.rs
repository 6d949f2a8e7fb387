//! What is kept of a call once it is over, and what was measured of its legs.

use jiff::Timestamp;
use model::LegId;

use super::Call;
use crate::{
    admission::Origin,
    record::{EndedBy, LEGS_MAX, Measured, PATH_MAX, Record, cause_of},
};

impl Call {
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
            from: self.incoming.from.clone(),
            verstat: self.incoming.vetted.verstat,
            attestation: self.incoming.vetted.attestation,
            to: self.incoming.to.clone(),
            trunk: admitted.trunk().cloned(),
            station: match &admitted.origin {
                Origin::Station(station) => Some(station.clone()),
                Origin::Trunk(_) => None,
            },
            number: admitted.number.as_ref().map(|number| number.range.id.clone()),
            flow: flow.map(|flow| flow.id.clone()),
            revision: flow.map(|flow| flow.program.revision.clone()),
            part_of: self.incoming.part_of.clone(),
            started_at: self.started_at,
            answered_at: self.answered_at,
            ended_at,
            path: self.earlier.iter().chain(self.cursor.path()).take(PATH_MAX).cloned().collect(),
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
            legs: others.take(LEGS_MAX).cloned().collect(),
            recordings: self.recorder.kept(false),
            voicemails: self.recorder.kept(true),
            queues: self.visits.clone(),
        }
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
