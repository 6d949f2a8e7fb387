//! A `request`: a service is asked what the flow wants to know, while the contact waits; or it is given a message to send.

use std::time::{Duration, Instant};

use super::{Call, Context, Effect};
use crate::cursor::{Asked, Requested};

/// How much longer than its bound an answer is waited for: a net below whoever asks, and says in time that there is none.
const SLACK: Duration = Duration::from_secs(2);

/// The outcome of an answer that has all that the step saves.
const ANSWERED: &str = "answered";

/// What is waited for.
#[derive(Debug)]
pub(super) struct Asking {
    request: u64,
    /// Name of the Integration.
    whom: String,
    /// Whether it was given a message, and asked nothing.
    is_message: bool,
    pub until: Instant,
}

impl Call {
    /// A `request` step.
    pub(super) fn ask_service(&mut self, asked: Asked, context: &mut Context<'_>) {
        let request = self.fresh_id();
        let environment = context.environment;
        let known = environment.world.snapshot.centre.integrations.get(&asked.integration);
        let own = known.map_or(0, |integration| integration.timeout_seconds);
        let longest = asked.timeout.unwrap_or_else(|| Duration::from_secs(own.into())) + SLACK;
        let (whom, until) = (asked.integration.to_string(), environment.now.instant + longest);
        let is_message = asked.is_message;
        self.asking = Some(Box::new(Asking { request, whom, is_message, until }));
        context.effects.push(Effect::Request { request, asked: Box::new(asked) });
    }

    /// The service has answered, or has not.
    pub fn answered(
        &mut self,
        request: u64,
        answer: Result<expr::Response, String>,
        context: &mut Context<'_>,
    ) {
        let asking = self.asking.take_if(|asking| asking.request == request);
        let Some(asking) = asking.filter(|_| self.ending.is_none()) else { return };
        if asking.is_message {
            return self.message_answered(&asking.whom, answer, context);
        }
        let (step, before) = (self.cursor.step(), self.cursor.path().len());
        let outcome = answer.as_ref().map_or(Requested::Failed, Requested::Answered);
        let actions = self.cursor.requested(outcome, context.environment);
        let is_saved =
            self.cursor.path().get(before).is_some_and(|passed| *passed == format!("{step}: {ANSWERED}"));
        let told = match answer {
            Err(because) => Some(because),
            Ok(response) if !is_saved => match response.status() {
                200..=299 => {
                    Some("its answer has not all that the step saves, or of another type".to_owned())
                }
                status => Some(format!("it answers {status}")),
            },
            Ok(_) => None,
        };
        if let Some(because) = told {
            self.tell(format!("Step {step}: Integration {}: {because}", asking.whom), context);
        }
        self.perform(actions, context);
    }

    pub(super) fn request_timeout(&mut self, now: Instant, context: &mut Context<'_>) {
        if let Some(asking) = self.asking.as_ref().filter(|asking| asking.until <= now) {
            self.answered(asking.request, Err("nobody says what became of the request".into()), context);
        }
    }
}
