//! Dialogs that are named from outside of them: INVITEs with Replaces (RFC 3891), Target-Dialog (RFC 4538).

use model::LegId;

use super::{Endpoint, leg::Phase, table::number_in};
use crate::{
    header::DialogName,
    wire::{Message, Method, Name},
};

impl Endpoint {
    /// The leg whose dialog is named from outside of it, by Replaces or by Target-Dialog (RFC 4538).
    #[must_use]
    pub fn leg_named(&self, name: &DialogName<'_>) -> Option<LegId> {
        let id = LegId(number_in(name.local_tag)?);
        let leg = self.legs.get(&id)?;
        let mut dialogs = leg.dialog.iter().chain(leg.early.iter().map(|early| &early.dialog));
        dialogs.any(|dialog| dialog.is_named(name)).then_some(id)
    }

    /// The leg that a new INVITE replaces.
    ///
    /// # Errors
    /// How it is refused (RFC 3891 §3): the code, and why.
    pub fn replaced_by(&self, request: &Message) -> Result<Option<LegId>, (u16, &'static str)> {
        if !self.config.extensions.transfers {
            return Ok(None);
        }
        let mut values = request.headers(Name::Replaces);
        let Some(value) = values.next() else { return Ok(None) };
        let name = DialogName::parse_replaces(value);
        let Some(name) = name.filter(|_| values.next().is_none() && request.header(Name::Join).is_none())
        else {
            return Err((400, "the Replaces is malformed, or not alone"));
        };
        let found = self.leg_named(&name).and_then(|id| Some((id, self.legs.get(&id)?)));
        let Some((id, leg)) = found else { return Err((481, "the dialog to replace is not known")) };
        match leg.phase {
            _ if leg.is_over => Err((603, "the dialog to replace has ended")),
            Phase::Ending => Err((603, "the dialog to replace has ended")),
            Phase::Ringing { .. } => Err((481, "the dialog to replace is early, and not of our making")),
            Phase::Established if name.early_only => Err((486, "the dialog to replace is early no more")),
            Phase::Calling { .. } | Phase::Established => Ok(Some(id)),
        }
    }
}

/// Whether a request must not carry a Replaces (RFC 3891 §3).
pub(super) fn has_stray_replaces(request: &Message) -> bool {
    request.method() != Method::Invite && request.header(Name::Replaces).is_some()
}
