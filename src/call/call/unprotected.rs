//! Legs whose keys were not agreed on by DTLS (RFC 5763): nothing can be heard there, so the call ends.

use model::{
    LegId,
    media::{Dtls, DtlsFailure, DtlsRole, Srtp},
};

use super::{Call, Context, EndedBy};

impl Call {
    /// The media server has met no peer that it may speak to.
    pub(super) fn on_unprotected(&mut self, leg: LegId, why: DtlsFailure, context: &mut Context<'_>) {
        let of_caller = leg == self.a.media.id;
        let media = match of_caller {
            true => Some(&self.a.media),
            false => self.branch(leg).map(|branch| &branch.media),
        };
        let agreed = media.and_then(|media| media.parameters.as_ref()?.srtp.as_deref());
        // It crossed with the end of the leg, or with an agreement on something else.
        let Some(Srtp::Dtls(dtls)) = agreed else { return };
        let who = if of_caller { "the caller" } else { "the callee" };
        let because = because(who, dtls, why);
        if self.is_supervisors(leg) {
            return self.break_supervision(because, context);
        }
        self.tell(because.clone(), context);
        self.finish(EndedBy::Failure, 488, Some(&because), context);
    }
}

fn because(who: &str, dtls: &Dtls, why: DtlsFailure) -> String {
    let (we, it) = match dtls.role {
        DtlsRole::Client => ("active", "passive"),
        DtlsRole::Server => ("passive", "active"),
    };
    let why = match why {
        DtlsFailure::WrongFingerprint => format!(
            "its certificate is not the one of its `a=fingerprint:{}`: somebody stands between, or it has changed its certificate without saying so",
            dtls.peer.hash.name()
        ),
        DtlsFailure::TimedOut { heard: false } => format!(
            "no DTLS packet came from it in time (we are {we}, it is {it}): a firewall drops them, or it does no DTLS"
        ),
        DtlsFailure::TimedOut { heard: true } => format!(
            "the handshake did not come to its end in time (we are {we}, it is {it}): packets are lost, or both play the same part"
        ),
        DtlsFailure::NoCommonProfile => {
            "it has none of AEAD_AES_256_GCM, AEAD_AES_128_GCM and AES128_CM_HMAC_SHA1_80".to_owned()
        }
        DtlsFailure::Broken => {
            format!("it broke the handshake off, or what it sent is none of somebody {it} (we are {we})")
        }
    };
    format!("audio with {who} is not protected by DTLS-SRTP, and so there is none: {why}")
}
