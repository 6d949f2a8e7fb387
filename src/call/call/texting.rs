//! A `message`: an SMS is handed to the tenant's service, whose answer is the step's outcome.

use model::{E164, program::Method};
use serde_json::json;

use super::{Call, Context};
use crate::{
    cursor::{Action, Asked},
    messaging::{self, Envelope, TEXT_MAX},
};

impl Call {
    /// A `message` step. What follows at once, where it cannot be sent.
    pub(super) fn message_step(
        &mut self,
        text: &str,
        to: Option<E164>,
        context: &mut Context<'_>,
    ) -> Vec<Action> {
        let facts = self.cursor.facts();
        let numbers = (facts.contact_number.as_str(), facts.call_number.as_str());
        let world = context.environment.world;
        let text: String = text.chars().take(TEXT_MAX).collect();
        let envelope = match text.trim().is_empty() {
            true => Err("there is nothing to be sent".to_owned()),
            false => messaging::envelope(world, &self.incoming.admitted.tenant, numbers, to),
        };
        match envelope {
            Ok(envelope) => {
                let asked = self.sms(envelope, &text);
                self.ask_service(asked, context);
                Vec::new()
            }
            Err(because) => {
                self.tell(format!("Step {}: no SMS is sent: {because}", self.cursor.step()), context);
                self.cursor.messaged(Err(&because), context.environment)
            }
        }
    }

    /// The request that takes it. Its id is drawn once: a service that gets it twice has got one message.
    fn sms(&mut self, Envelope { integration, from, to }: Envelope, text: &str) -> Asked {
        let lots = &mut self.incoming.lots;
        let id = format!("{:016x}{:016x}", lots.draw(), lots.draw());
        let body = json!({"id": id, "from": from.to_string(), "to": to.to_string(), "text": text});
        Asked {
            integration,
            method: Method::Post,
            path: String::new(),
            headers: vec![("Idempotency-Key".into(), format!("\"{id}\""))],
            body: Some(body.to_string()),
            timeout: None,
            is_message: true,
        }
    }

    /// What has come of it.
    pub(super) fn message_answered(
        &mut self,
        whom: &str,
        answer: Result<expr::Response, String>,
        context: &mut Context<'_>,
    ) {
        let unsent = match answer {
            Ok(response) if (200..=299).contains(&response.status()) => None,
            Ok(response) => Some(format!("it answers {}", response.status())),
            Err(because) => Some(because),
        };
        let unsent = unsent.map(|because| format!("Integration {whom}: {because}"));
        if let Some(because) = &unsent {
            self.tell(format!("Step {}: no SMS is sent: {because}", self.cursor.step()), context);
        }
        let sent = unsent.as_deref().map_or(Ok(()), Err);
        let actions = self.cursor.messaged(sent, context.environment);
        self.perform(actions, context);
    }
}
