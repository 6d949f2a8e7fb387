//! CallTests with their names resolved, for whoever runs them.

use std::collections::BTreeMap;

use api::v1alpha1 as v1;
use jiff::Timestamp;
use model::{
    AgentId, AudioId, E164, HoursId, IntegrationId, Key, QueueId, TrunkId,
    calltest::{
        Act, Answer, Behaviour, CallOutcome, CallTest, Does, Expectation, HoursState, Sound, Text, Whom,
    },
};

use crate::{
    Plan,
    problem::Location,
    resources::{Object, Resources, Source, Spec},
    world::ResolvedPrompt,
};

/// When a call is that does not say: a Monday at noon, UTC.
const AT: &str = "2026-06-15T12:00:00Z";

/// A CallTest that can be run.
#[derive(Debug, Clone)]
pub struct PlannedTest {
    /// Namespace and name.
    pub key: Key,
    /// What it says.
    pub test: CallTest,
    source: Source,
}

impl PlannedTest {
    /// Where a field stands, such as `spec.expect.steps[1]`; where it is not, what is nearest around it.
    #[must_use]
    pub fn at(&self, field: &str) -> Location {
        self.source.at(field)
    }

    /// The file that it stands in.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.source.file
    }
}

/// Every CallTest in the order of namespaces and names. None beside a name: it is wrong by itself, or refers to what there
/// is not; the plan's problems say how.
#[must_use]
pub fn call_tests(resources: &Resources, plan: &Plan) -> Vec<(Key, Option<PlannedTest>)> {
    let is_bad = |object: &Object| {
        let mut problems = plan.problems.iter();
        problems.any(|problem| {
            problem.severity == crate::Severity::Error && problem.object.as_ref() == Some(&object.id)
        })
    };
    let planned = |object: &Object| {
        let spec = object.spec.as_ref().filter(|_| object.sound && !is_bad(object));
        let Some(Spec::CallTest(spec)) = spec else { return None };
        let key = object.id.key.clone();
        let test = Reader { namespace: key.namespace(), prompts: &plan.good().prompts }.test(spec)?;
        Some(PlannedTest { key, test, source: object.source.clone() })
    };
    resources.of("CallTest").map(|object| (object.id.key.clone(), planned(object))).collect()
}

/// Reads a spec that its schema has accepted and whose references are all there.
struct Reader<'a> {
    namespace: &'a str,
    prompts: &'a BTreeMap<Key, ResolvedPrompt>,
}

impl Reader<'_> {
    fn test(&self, spec: &v1::CallTestSpec) -> Option<CallTest> {
        let number = |text: &Option<String>| text.as_ref().map(|text| text.parse::<E164>()).transpose();
        let trunk = spec.call.trunk_ref.as_ref().map(|trunk| {
            let namespace = trunk.namespace.as_deref().unwrap_or(self.namespace);
            TrunkId::new(namespace, &trunk.name)
        });
        Some(CallTest {
            from: number(&spec.call.from).ok()?,
            to: spec.call.to.parse().ok()?,
            at: spec.call.at.as_deref().unwrap_or(AT).parse::<Timestamp>().ok()?,
            trunk,
            agents: spec.agents.iter().map(|agent| self.agent(agent)).collect(),
            callees: spec.callees.iter().map(callee).collect::<Option<_>>()?,
            hours: spec.hours.iter().map(|hours| self.hours(hours)).collect(),
            queues: spec.queues.iter().map(|queue| self.queue(queue)).collect(),
            lot: spec.lot.map(u8::try_from).transpose().ok()?,
            stores: spec.store == v1::TestStore::Works,
            answers: spec.responses.iter().map(|answer| self.answer(answer)).collect::<Option<_>>()?,
            script: spec.script.iter().map(|act| self.act(act)).collect::<Option<_>>()?,
            expect: self.expectation(&spec.expect)?,
        })
    }

    fn agent(&self, agent: &v1::TestAgent) -> (AgentId, Behaviour) {
        let does = match agent.behaviour {
            v1::AgentBehaviour::Answers => Does::Answer,
            v1::AgentBehaviour::Declines => Does::Decline,
            v1::AgentBehaviour::Busy => Does::Busy,
            v1::AgentBehaviour::Ignores => Does::Ignore,
        };
        (AgentId::new(self.namespace, &agent.name), behaviour(does, agent.after_seconds, agent.talk_seconds))
    }

    fn hours(&self, hours: &v1::TestHours) -> (HoursId, HoursState) {
        let state = match hours.state {
            v1::HoursState::Open => HoursState::Open,
            v1::HoursState::Closed => HoursState::Closed,
            v1::HoursState::Holiday => HoursState::Holiday,
        };
        (HoursId::new(self.namespace, &hours.name), state)
    }

    fn queue(&self, queue: &v1::TestQueue) -> (QueueId, u32) {
        (QueueId::new(self.namespace, &queue.name), queue.waiting.unsigned_abs())
    }

    fn answer(&self, answer: &v1::TestResponse) -> Option<(IntegrationId, Answer)> {
        let id = IntegrationId::new(self.namespace, &answer.integration);
        let status = u16::try_from(answer.status).ok()?;
        let body = answer.body.clone().unwrap_or_default();
        Some((id, Answer { status, body, after_seconds: answer.after_seconds.unsigned_abs() }))
    }

    fn sound(&self, name: &str) -> Option<Sound> {
        let prompt = self.prompts.get(&Key::new(self.namespace, name))?;
        let own = std::iter::once(prompt.id);
        let audio: Vec<AudioId> = own.chain(prompt.translations.values().map(|other| other.id)).collect();
        Some(Sound { name: name.to_owned(), audio })
    }

    fn act(&self, act: &v1::Act) -> Option<Act> {
        if let Some(prompt) = &act.hear {
            return Some(Act::Hear(self.sound(prompt)?));
        }
        if let Some(seconds) = act.wait_seconds {
            return Some(Act::Wait(seconds.unsigned_abs()));
        }
        if let Some(keys) = &act.press {
            return Some(Act::Press(keys.clone()));
        }
        if let Some(words) = &act.say {
            return Some(Act::Say(words.clone()));
        }
        act.hang_up.as_ref().map(|hang_up| Act::HangUp(hang_up.after_seconds.unsigned_abs()))
    }

    fn expectation(&self, expect: &v1::Expectation) -> Option<Expectation> {
        let outcome = match expect.outcome {
            v1::TestOutcome::Bridged => CallOutcome::Bridged,
            v1::TestOutcome::Queued => CallOutcome::Queued,
            v1::TestOutcome::Voicemail => CallOutcome::Voicemail,
            v1::TestOutcome::Completed => CallOutcome::Completed,
            v1::TestOutcome::Abandoned => CallOutcome::Abandoned,
            v1::TestOutcome::Rejected => CallOutcome::Rejected,
            v1::TestOutcome::Failed => CallOutcome::Failed,
        };
        let variables = expect.variables.iter();
        Some(Expectation {
            outcome,
            queue: expect.queue.as_ref().map(|queue| QueueId::new(self.namespace, queue)),
            agent: expect.agent.as_ref().map(|agent| AgentId::new(self.namespace, agent)),
            steps: expect.steps.clone(),
            never: expect.never_steps.clone(),
            variables: variables.map(|wanted| (wanted.name.clone(), wanted.value.clone())).collect(),
            prompts: expect.prompts.iter().map(|prompt| self.sound(prompt)).collect::<Option<_>>()?,
            messages: expect.messages.iter().map(text).collect::<Option<_>>()?,
            within_seconds: expect.within_seconds.map(i32::unsigned_abs),
        })
    }
}

fn text(message: &v1::TestMessage) -> Option<Text> {
    let to = message.to.as_ref().map(|number| number.parse()).transpose().ok()?;
    Some(Text { to, text: message.text.clone() })
}

fn callee(callee: &v1::TestCallee) -> Option<(Whom, Behaviour)> {
    let whom = match (&callee.number, &callee.extension) {
        (Some(number), _) => Whom::Number(number.parse().ok()?),
        (None, Some(extension)) => Whom::Extension(extension.clone()),
        (None, None) => return None,
    };
    let does = match callee.behaviour {
        v1::CalleeBehaviour::Answers => Does::Answer,
        v1::CalleeBehaviour::Busy => Does::Busy,
        v1::CalleeBehaviour::Ignores => Does::Ignore,
        v1::CalleeBehaviour::Fails => Does::Fail,
    };
    Some((whom, behaviour(does, callee.after_seconds, callee.talk_seconds)))
}

fn behaviour(does: Does, after_seconds: i32, talk_seconds: Option<i32>) -> Behaviour {
    Behaviour {
        does,
        after_seconds: after_seconds.unsigned_abs(),
        talk_seconds: talk_seconds.map(i32::unsigned_abs),
    }
}
