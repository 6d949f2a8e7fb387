//! The page of an agent is closed at every instant of a call, and opened anew: it finds the call as it is, and the contact
//! hears nothing of it.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    agents::Agent,
    audio::{share, tone},
    desk::{ADA, Desk, agent_phone, contact, listener, prepare, token},
    harness::{Setup, System, wait_until, with_prepared},
};

/// Sign-in, and whatever page stands for it.
struct Tab<'a> {
    system: &'a System,
    token: String,
    desk: Option<Desk>,
}

impl<'a> Tab<'a> {
    fn of(system: &'a System, agent: &str) -> Self {
        Self { system, token: token(system, agent), desk: None }
    }

    /// Closes the page without a word, opens it anew, and gives what it is told first.
    fn anew(&mut self) -> Value {
        self.desk = None;
        let mut desk = Desk::open(self.system, &self.token).unwrap();
        let welcome = desk.hear("welcome");
        self.desk = Some(desk);
        welcome
    }

    /// Says something, and waits until it is on its way: a page that is closed before is one that never said it.
    fn say(&mut self, message: Value) {
        self.desk.as_mut().unwrap().say(message);
        thread::sleep(Duration::from_millis(100));
    }

    /// Opens the page anew until it is told what is wanted; gives that.
    fn finds(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut found = Value::Null;
        wait_until(what, || {
            found = self.anew();
            wanted(&found)
        });
        found
    }

    fn is(&mut self, state: &str) -> Value {
        self.finds(&format!("the page shows {state}"), |welcome| welcome["state"]["state"] == state)
    }
}

/// A telephone that rings until somebody takes it up, and nobody does.
fn deaf_phone(system: &System, name: &str) -> Agent {
    let account = format!(
        "<sip:{name}-desk@{}>;auth_user={name}-desk;auth_pass=made-up;regint=60;answermode=manual;audio_codecs=pcmu\n",
        listener(system)
    );
    let phone = Agent::with_account(system, system.peer_port(), &tone(ADA, 1.0), (&account, None));
    wait_until("the phone is registered", || {
        system.get("/api/v1/registrations").contains(&format!("acme/{name}"))
    });
    phone
}

#[test]
fn a_page_closed_at_every_instant_of_a_call_finds_it_as_it_is() {
    with_prepared(&Setup::default(), prepare, |system| {
        let _ada_phone = agent_phone(system, "ada", ADA);
        let deaf = deaf_phone(system, "bob");
        let (mut ada, mut bob) = (Tab::of(system, "acme/ada"), Tab::of(system, "acme/bob"));
        ada.is("Away");
        bob.is("Away");
        bob.say(json!({"type": "ready"}));
        bob.is("Available");
        // While it rings; and it rings out with no page at all.
        let caller = contact(system);
        let offered = bob.is("Offered");
        let interaction = offered["offer"]["interaction"].clone();
        assert!(interaction.is_string(), "{offered}");
        assert_eq!(bob.anew()["offer"]["interaction"], interaction);
        bob.desk = None;
        let over = bob.is("Away");
        assert_eq!((&over["state"]["reason"], &over["offer"]), (&json!("Unanswered"), &Value::Null));
        deaf.end();
        let _bob_phone = agent_phone(system, "bob", 850.0);
        // From the offer to the conversation.
        ada.say(json!({"type": "ready"}));
        let busy = ada.is("Busy");
        assert_eq!(busy["calls"][0]["interaction"], interaction, "{busy}");
        caller.wait_for("Call established");
        let about = |kind: &str| json!({"type": kind, "interaction": interaction});
        let call = |welcome: &Value, field: &str| welcome["calls"][0][field].clone();
        let after = |ada: &mut Tab, order: Value, field: &str, value: Value| {
            ada.say(order);
            let found = ada.finds(&format!("`{field}` is {value}"), |welcome| call(welcome, field) == value);
            assert_eq!(call(&found, "interaction"), interaction);
            thread::sleep(Duration::from_millis(300));
        };
        after(&mut ada, about("hold"), "onHold", json!(true));
        after(&mut ada, about("retrieve"), "onHold", json!(false));
        after(&mut ada, about("mute"), "muted", json!(true));
        after(&mut ada, about("unmute"), "muted", json!(false));
        let consult = json!({"type": "consult", "interaction": interaction, "to": "bob-desk"});
        let talks = json!({"to": "bob-desk", "state": "Talks"});
        after(&mut ada, consult.clone(), "consult", talks.clone());
        after(&mut ada, about("endConsult"), "consult", Value::Null);
        after(&mut ada, consult, "consult", talks);
        let conference = json!({"to": "bob-desk", "state": "Conference"});
        after(&mut ada, about("conference"), "consult", conference);
        assert_eq!(call(&bob.anew(), "interaction"), interaction, "who is asked has the call at his desk");
        // No page at all for a while: the telephone is the agent's, not the page.
        (ada.desk, bob.desk) = (None, None);
        thread::sleep(Duration::from_secs(2));
        assert_eq!(call(&ada.anew(), "interaction"), interaction);
        after(&mut ada, about("endConsult"), "consult", Value::Null);
        thread::sleep(Duration::from_secs(2));
        ada.say(about("hangUp"));
        let wrapping = ada.is("WrapUp");
        assert!(wrapping["state"]["until"].is_string() && wrapping["calls"] == json!([]), "{wrapping}");
        ada.say(json!({"type": "extend", "interaction": interaction, "seconds": 600}));
        ada.is("WrapUp");
        ada.say(about("finish"));
        ada.is("Available");
        let heard = caller.heard();
        assert!(share(&heard[heard.len() - 8_000..], ADA) > 0.9, "in the end it hears Ada, as before");
        wait_until("the record is there", || !system.records().is_empty());
        assert_eq!(system.records().len(), 1, "one call, whatever became of pages");
        assert_eq!(system.records()[0]["queues"][0]["outcome"], "answered");
        ada.say(json!({"type": "signOut"}));
    });
}
