//! A telephone of the public network that answers may be a mailbox, or in somebody else's hand: the contact is joined to it once
//! a key is pressed there. Until then the contact hears what it heard, and the agent's other telephones ring on.

use std::time::{Duration, Instant};

use model::{
    LegId, PlayId,
    media::{Order, PlayEnd},
    spoken,
};

use super::{Call, Context, Effect};
use crate::cursor::Dialled;

/// The key that takes the contact.
const TAKES: char = '1';
/// Longest wait for it.
const WAIT: Duration = Duration::from_secs(20);
/// How often it is asked for.
const ASKED_MAX: u8 = 3;

/// Somebody, or something, has answered and is asked for the key.
#[derive(Debug, Clone)]
pub struct Confirming {
    /// When it is waited for no more.
    pub until: Instant,
    play: PlayId,
    asked: u8,
}

impl Call {
    /// A telephone has answered that must show that somebody is there.
    pub(super) fn ask_for_key(&mut self, media: LegId, context: &mut Context<'_>) {
        let until = context.environment.now.instant + WAIT;
        let Some(branch) = self.branch(media) else { return };
        branch.confirming = Some(Confirming { until, play: PlayId(0), asked: 0 });
        let told = format!("{} has answered, and is asked to press {TAKES}", branch.now);
        self.tell(told, context);
        self.ask_once_more(media, context);
    }

    fn ask_once_more(&mut self, media: LegId, context: &mut Context<'_>) {
        let play = PlayId(self.fresh_id());
        let queue = self.queue().map(|queue| queue.0.name().to_owned());
        let tenant = self.incoming.admitted.tenant.clone();
        let Some(branch) = self.branch(media) else { return };
        let (Some(confirming), Some(language)) = (&mut branch.confirming, branch.now.confirms.clone()) else {
            return;
        };
        (confirming.play, confirming.asked) = (play, confirming.asked + 1);
        let text = spoken::offer(queue.as_deref(), TAKES, &language);
        context.effects.push(Effect::Media(Order::Say { leg: media, play, text, language, tenant }));
    }

    /// A playing has ended that was not the caller's: perhaps the question.
    pub(super) fn asked_for_key(&mut self, play: PlayId, how: PlayEnd, context: &mut Context<'_>) {
        let asks = |confirming: &Confirming| confirming.play == play;
        let dialled = self.dialling.iter().flat_map(|dialling| &dialling.branches);
        let listening = self.supervision.iter().flat_map(|supervision| &supervision.branches);
        let mut asking =
            dialled.chain(listening).filter(|branch| branch.confirming.as_ref().is_some_and(asks));
        let Some(branch) = asking.next() else { return };
        let (media, asked) = (branch.media.id, branch.confirming.as_ref().map_or(0, |it| it.asked));
        match how {
            PlayEnd::UnknownAudio => {
                let told = format!("the media server cannot speak to {}, and waits for the key", branch.now);
                self.tell(told, context);
            }
            PlayEnd::Finished if asked < ASKED_MAX => self.ask_once_more(media, context),
            PlayEnd::Finished | PlayEnd::Stopped => {}
        }
    }

    /// A key of a callee: whether it was for us.
    pub(super) fn confirmed_by(&mut self, media: LegId, digit: char, context: &mut Context<'_>) -> bool {
        let Some(branch) = self.branch(media).filter(|branch| branch.confirming.is_some()) else {
            return false;
        };
        if digit == TAKES {
            branch.confirming = None;
            context.effects.push(Effect::Media(Order::StopPlay { leg: media }));
            self.taken(media, context);
        }
        true
    }

    /// Nobody has pressed the key in time, or the telephone hung up.
    pub(super) fn unconfirmed(&mut self, media: LegId, context: &mut Context<'_>) {
        let Some(branch) = self.branch(media) else { return };
        let told = format!("{} has answered, and nobody pressed {TAKES}", branch.now);
        self.tell(told, context);
        self.branch_failed(media, (Dialled::NoAnswer, 480), context);
    }
}
