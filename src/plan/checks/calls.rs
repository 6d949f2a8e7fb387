//! What becomes of contacts: flows, prompts, voicemail, campaigns, points of contact, simulated calls.

use std::collections::BTreeSet;

use api::v1alpha1 as v1;
use model::Key;

use super::{named, refers, staff::known_language};
use crate::{
    platform::caller_id,
    problem::Reason,
    resources::Report,
    world::{Item, World},
};

/// Parts of names of variables that hold what must not be heard or read again.
const SENSITIVE: &[&str] = &["card", "cvv", "cvc", "pan", "pin", "ssn", "iban"];

/// Hours in which people may be called in the United States (47 CFR 64.1200(c)(1)).
const CALLING_HOURS: (&str, &str) = ("08:00", "21:00");

/// Digits of cards must be masked wherever they could be kept.
pub(super) fn flow(item: &Item<v1::RoutingFlowSpec>, world: &World, report: &mut Report) {
    unsent(item, world, report);
    for (index, step) in item.spec.steps.iter().enumerate() {
        let Some(ask) = step.ask.as_ref().filter(|ask| !ask.secret) else {
            continue;
        };
        let variable = ask.digits.as_ref().map(|digits| digits.variable.as_str()).unwrap_or_default();
        if words_of(variable).iter().any(|word| SENSITIVE.contains(&word.as_str())) {
            let message = format!(
                "`{variable}` sounds like something that must not be kept; say `secret: true`, so that its digits are masked."
            );
            item.warning(report, &format!("spec.steps[{index}].ask"), Reason::CardDigitsNotSecret, message);
        }
    }
}

/// Steps that would send an SMS, of a tenant that has no service for it.
fn unsent(item: &Item<v1::RoutingFlowSpec>, world: &World, report: &mut Report) {
    let namespace = item.namespace();
    let writes = item.spec.steps.iter().any(|step| step.message.is_some());
    if !writes || world.directory.texting.contains(namespace) {
        return;
    }
    let is_written = world.directory.is_for_writing(&item.id.key);
    for (index, step) in item.spec.steps.iter().enumerate() {
        let Some(message) = &step.message else { continue };
        // Whoever writes is answered by the way it wrote.
        if message.to.is_some() || !is_written {
            let message = format!(
                "No ContactPoint of {namespace} has `sms`: whoever calls is sent nothing, and the step takes `failed`. Declare one with the Integration that sends SMS."
            );
            item.warning(report, &format!("spec.steps[{index}].message"), Reason::NoSmsService, message);
        }
    }
}

/// The words of a name such as `cardNumber` or `card_number`, in lower case.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || letter.is_ascii_uppercase() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| letter != '_') {
            word.push(letter.to_ascii_lowercase());
        }
    }
    words
}

/// A prompt's other languages: once it has any, it must have all.
pub(super) fn prompt(item: &Item<v1::PromptSpec>, world: &World, report: &mut Report) {
    let (spec, tenant) = (&item.spec, world.tenants.get(item.namespace()));
    if let (Some(tenant), false) = (tenant, spec.translations.is_empty()) {
        let own =
            spec.text.as_ref().map_or_else(|| tenant.spec.languages.first(), |text| Some(&text.language));
        let has = |wanted: &&String| {
            own == Some(*wanted) || spec.translations.iter().any(|known| known.language == **wanted)
        };
        for language in tenant.spec.languages.iter().filter(|language| !has(language)) {
            let message = format!("Contacts are spoken to in `{language}` too; add a translation into it.");
            item.warning(report, "spec.translations", Reason::LanguageMissing, message);
        }
    }
    for (index, translation) in item.spec.translations.iter().enumerate() {
        let field = format!("spec.translations[{index}].language");
        known_language(item, &translation.language, &field, world, report);
    }
}

/// A box, its greeting and who hears it.
pub(super) fn voicemail(item: &Item<v1::VoicemailBoxSpec>, world: &World, report: &mut Report) {
    if let Some(greeting) = &item.spec.greeting {
        named(item, world, report, "spec.greeting", ("Prompt", Reason::PromptNotFound), greeting);
    }
    if let Some(review) = &item.spec.review {
        named(item, world, report, "spec.review", ("Prompt", Reason::PromptNotFound), review);
    }
    if let Some(queue) = &item.spec.queue_ref {
        named(item, world, report, "spec.queueRef.name", ("Queue", Reason::QueueNotFound), &queue.name);
    }
    for (index, agent) in item.spec.agent_refs.iter().enumerate() {
        let field = format!("spec.agentRefs[{index}].name");
        named(item, world, report, &field, ("Agent", Reason::AgentNotFound), &agent.name);
    }
}

/// A service's suites, given those of the tenant's cluster.
pub(super) fn integration(item: &Item<v1::IntegrationSpec>, world: &World, report: &mut Report) {
    let cluster = world.served.get(item.namespace()).and_then(|key| world.clusters.get(key));
    let (Some(tls), Some(cluster)) = (&item.spec.tls, cluster) else {
        return;
    };
    // Services are offered these four and no more, whatever trunks are.
    let ours = |suite: &&v1::CipherSuite| {
        !matches!(suite, v1::CipherSuite::EcdheRsaAes128Gcm | v1::CipherSuite::EcdheRsaAes256Gcm)
    };
    let policy: BTreeSet<_> = cluster.spec.tls.outbound_suites.iter().filter(ours).collect();
    let newer = tls.minimum_version == v1::TlsVersion::Tls13;
    if !newer && !tls.suites.is_empty() && !tls.suites.iter().any(|suite| policy.contains(suite)) {
        let message = format!(
            "VoiceCluster {} offers none of these suites to servers; name one of its `tls.outboundSuites`, or say `minimumVersion: TLSv1.3`.",
            cluster.id.key
        );
        item.error(report, "spec.tls.suites", Reason::NoCommonSuite, message);
    }
}

/// A campaign: whom, by whom, when, and within which bounds.
pub(super) fn campaign(item: &Item<v1::CampaignSpec>, world: &World, report: &mut Report) {
    let spec = &item.spec;
    for (index, list) in spec.list_refs.iter().enumerate() {
        let field = format!("spec.listRefs[{index}].name");
        named(item, world, report, &field, ("ContactList", Reason::ListNotFound), &list.name);
    }
    for (index, list) in spec.do_not_call_refs.iter().enumerate() {
        let field = format!("spec.doNotCallRefs[{index}].name");
        named(item, world, report, &field, ("DoNotCallList", Reason::ListNotFound), &list.name);
    }
    named(item, world, report, "spec.queueRef.name", ("Queue", Reason::QueueNotFound), &spec.queue_ref.name);
    if let Some(prompt) = &spec.abandoned_prompt {
        named(item, world, report, "spec.abandonedPrompt", ("Prompt", Reason::PromptNotFound), prompt);
    }
    let trunks = world.outbound.get(item.namespace()).map(Vec::as_slice).unwrap_or_default();
    if trunks.is_empty() {
        let message = "The Tenant must have `outboundTrunks` before a campaign can dial.";
        item.error(report, "spec", Reason::NoOutboundTrunk, message);
    } else if let Some(number) = &spec.caller_id {
        caller_id(item, number, "spec.callerId", trunks, world, report);
    }
    if spec.mode == v1::CampaignMode::Predictive && spec.abandon_percent_max.is_none() {
        let message = "A predictive campaign must have `abandonPercentMax`: how many of a hundred contacts who answer may meet no agent.";
        item.error(report, "spec.mode", Reason::NoAbandonCap, message);
    }
    calling_hours(item, world, report);
}

fn calling_hours(item: &Item<v1::CampaignSpec>, world: &World, report: &mut Report) {
    let Some(reference) = &item.spec.calling_hours_ref else {
        let message = "Without `callingHoursRef` nobody is dialled at all; name a BusinessHours.";
        item.warning(report, "spec", Reason::NoCallingHours, message);
        return;
    };
    let field = "spec.callingHoursRef.name";
    if !named(item, world, report, field, ("BusinessHours", Reason::HoursNotFound), &reference.name) {
        return;
    }
    let hours = world.directory.hours.get(&Key::new(item.namespace(), &reference.name));
    let american = world.tenants.get(item.namespace()).is_some_and(|tenant| tenant.spec.country == "US");
    let (from, to) = CALLING_HOURS;
    let outside = |interval: &&v1::Interval| interval.from.as_str() < from || interval.to.as_str() > to;
    let found = hours.and_then(|hours| hours.spec.week.iter().find(outside)).filter(|_| american);
    if let Some(interval) = found {
        let message = format!(
            "BusinessHours {} is open from {} to {}; in the United States people may be called from {from} to {to} of their own time.",
            reference.name, interval.from, interval.to
        );
        item.warning(report, field, Reason::OutsideCallingHours, message);
    }
}

/// A point of contact and what it leads to.
pub(super) fn contact_point(item: &Item<v1::ContactPointSpec>, world: &World, report: &mut Report) {
    let flow = &item.spec.flow_ref.name;
    named(item, world, report, "spec.flowRef.name", ("RoutingFlow", Reason::FlowNotFound), flow);
    without_voice(item, world, report);
    if let Some(sms) = &item.spec.sms {
        let number = ("PhoneNumber", Reason::NumberNotFound);
        named(item, world, report, "spec.sms.numberRef.name", number, &sms.number_ref.name);
        let integration = ("Integration", Reason::IntegrationNotFound);
        named(item, world, report, "spec.sms.integrationRef.name", integration, &sms.integration_ref.name);
    }
}

/// Whoever writes can neither hear nor press keys.
fn without_voice(item: &Item<v1::ContactPointSpec>, world: &World, report: &mut Report) {
    let mut waiting = vec![Key::new(item.namespace(), &item.spec.flow_ref.name)];
    let mut seen = BTreeSet::new();
    while let Some(key) = waiting.pop() {
        let flow = world.directory.flows.get(&key);
        let steps = flow.map(|flow| flow.spec.steps.as_slice()).unwrap_or_default();
        if let Some(step) = steps.iter().find(|step| needs_voice(step)) {
            let message = format!(
                "RoutingFlow {key} has the step `{}`, which needs a voice; contacts of this point only write.",
                step.name
            );
            item.error(report, "spec.flowRef.name", Reason::VoiceVerbWithoutVoice, message);
            return;
        }
        waiting.extend(world.directory.calls_of(&key).filter(|callee| !seen.contains(*callee)).cloned());
        seen.insert(key);
    }
}

/// Who is promised a call must at least have a number: one that only writes has none unless the step tells it.
fn needs_voice(step: &v1::Step) -> bool {
    step.play.is_some()
        || step.ask.is_some()
        || step.dial.is_some()
        || step.transfer.is_some()
        || step.voicemail.is_some()
        || step.record.is_some()
        || step.callback.as_ref().is_some_and(|callback| callback.number.is_none())
}

/// A simulated call: all that it speaks of must be there.
pub(super) fn call_test(item: &Item<v1::CallTestSpec>, world: &World, report: &mut Report) {
    let spec = &item.spec;
    let to = spec.call.to.parse();
    if !to.is_ok_and(|to| world.directory.numbers.claims(item.namespace(), to)) {
        let message = format!("No PhoneNumber of {} has {}.", item.namespace(), spec.call.to);
        item.error(report, "spec.call.to", Reason::NumberNotFound, message);
    }
    if let Some(trunk) = &spec.call.trunk_ref {
        let kind = ("Trunk", Reason::TrunkNotFound);
        refers(item, world, report, "spec.call.trunkRef.name", kind, item.target(trunk));
    }
    for (index, agent) in spec.agents.iter().enumerate() {
        let field = format!("spec.agents[{index}].name");
        named(item, world, report, &field, ("Agent", Reason::AgentNotFound), &agent.name);
    }
    for (index, hours) in spec.hours.iter().enumerate() {
        let field = format!("spec.hours[{index}].name");
        named(item, world, report, &field, ("BusinessHours", Reason::HoursNotFound), &hours.name);
    }
    for (index, queue) in spec.queues.iter().enumerate() {
        let field = format!("spec.queues[{index}].name");
        named(item, world, report, &field, ("Queue", Reason::QueueNotFound), &queue.name);
    }
    for (index, act) in spec.script.iter().enumerate() {
        let Some(prompt) = &act.hear else { continue };
        let field = format!("spec.script[{index}].hear");
        named(item, world, report, &field, ("Prompt", Reason::PromptNotFound), prompt);
    }
    for (index, response) in spec.responses.iter().enumerate() {
        let field = format!("spec.responses[{index}].integration");
        let kind = ("Integration", Reason::IntegrationNotFound);
        named(item, world, report, &field, kind, &response.integration);
    }
    expectation(item, world, report);
}

fn expectation(item: &Item<v1::CallTestSpec>, world: &World, report: &mut Report) {
    let expect = &item.spec.expect;
    if let Some(queue) = &expect.queue {
        named(item, world, report, "spec.expect.queue", ("Queue", Reason::QueueNotFound), queue);
    }
    if let Some(agent) = &expect.agent {
        named(item, world, report, "spec.expect.agent", ("Agent", Reason::AgentNotFound), agent);
    }
    for (index, prompt) in expect.prompts.iter().enumerate() {
        let field = format!("spec.expect.prompts[{index}]");
        named(item, world, report, &field, ("Prompt", Reason::PromptNotFound), prompt);
    }
}
