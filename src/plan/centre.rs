//! Queues, agents, voicemail, services, campaigns and points of contact in the form of a snapshot.
//!
//! What is wrong with them the checks have told; here a right one is written down with all that it needs to go on without
//! the objects that it refers to. A wrong one goes on in its last good form.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::v1alpha1 as v1;
use model::{
    AgentId, AudioId, ContactListId, DoNotCallListId, FlowId, HoursId, IntegrationId, Key, NumberId, QueueId,
    centre::{
        Agent, Announcement, Campaign, CampaignMode, Channel, ContactList, ContactPoint, Disposition,
        DoNotCallList, First, Header, HeaderValue, Integration, ListSource, ListedContact, Location,
        PointKind, Proxy, Question, Queue, RequiredSkill, SESSION_SECONDS, SecretKey, Selection, SignIn,
        SocialNetwork, Station, StationKind, VoicemailBox, WaitFigure,
    },
    snapshot::BusinessHours,
};
use serde::{Deserialize, Serialize};

use crate::{
    problem::ObjectId,
    resources::Spec,
    snapshot::figure,
    world::{CompiledFlow, ResolvedPrompt, World},
};

/// An object's form and what it needs besides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept<T> {
    pub form: Arc<T>,
    pub needs: Needs,
}

/// What an object refers to, as it was when the object was right.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Needs {
    pub prompts: BTreeMap<AudioId, ResolvedPrompt>,
    pub hours: BTreeMap<HoursId, Arc<BusinessHours>>,
    pub flows: BTreeMap<Key, Arc<CompiledFlow>>,
}

macro_rules! kinds {
    ($($name:ident $kind:literal $spec:ident $form:ident $write:path;)*) => {
        /// Those that can be used, by kind.
        #[derive(Debug, Clone, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub(crate) struct CentreForms { $(pub $name: BTreeMap<Key, Kept<$form>>,)* }

        impl CentreForms {
            /// The kinds that are written here.
            pub const KINDS: &'static [&'static str] = &[$($kind),*];

            /// Writes an object anew. One that cannot be written, or must not be (`sound` is false), stays as it was in `last`.
            /// Gives whether the newest form was written.
            pub fn write(&mut self, id: &ObjectId, spec: Option<&Spec>, sound: bool, world: &World, last: &Self) -> bool {
                let spec = spec.filter(|_| sound);
                match id.kind {
                    $($kind => {
                        let written = match spec {
                            Some(Spec::$spec(spec)) => Writer::of(&id.key, world).write(|writer| $write(spec, writer)),
                            _ => None,
                        };
                        let newest = written.is_some();
                        match written.or_else(|| last.$name.get(&id.key).cloned()) {
                            Some(kept) => drop(self.$name.insert(id.key.clone(), kept)),
                            None => drop(self.$name.remove(&id.key)),
                        }
                        newest
                    })*
                    _ => false,
                }
            }

            /// Whether an object is in force, in whatever form.
            pub fn contains(&self, id: &ObjectId) -> bool {
                match id.kind {
                    $($kind => self.$name.contains_key(&id.key),)*
                    _ => false,
                }
            }

            /// Keeps none but these.
            pub fn retain(&mut self, exists: impl Fn(&ObjectId) -> bool) {
                $(self.$name.retain(|key, _| exists(&ObjectId { kind: $kind, key: key.clone() }));)*
            }

            /// What each object of a namespace needs.
            pub fn needs<'a>(&'a self, serves: &'a dyn Fn(&Key) -> bool) -> Vec<&'a Needs> {
                let mut needs = Vec::new();
                $(needs.extend(self.$name.iter().filter(|(key, _)| serves(key)).map(|(_, kept)| &kept.needs));)*
                needs
            }

            /// As a snapshot has them, of the namespaces that are served.
            pub fn centre(&self, serves: &dyn Fn(&Key) -> bool) -> model::centre::Centre {
                model::centre::Centre {
                    $($name: {
                        let served = self.$name.iter().filter(|(key, _)| serves(key));
                        served.map(|(key, kept)| (key.clone().into(), Arc::clone(&kept.form))).collect()
                    },)*
                    dialling: BTreeMap::new(),
                }
            }
        }
    };
}

kinds! {
    queues "Queue" Queue Queue queue;
    agents "Agent" Agent Agent agent;
    voicemail_boxes "VoicemailBox" VoicemailBox VoicemailBox voicemail_box;
    integrations "Integration" Integration Integration integration;
    campaigns "Campaign" Campaign Campaign campaign;
    contact_lists "ContactList" ContactList ContactList contact_list;
    do_not_call_lists "DoNotCallList" DoNotCallList DoNotCallList do_not_call_list;
    contact_points "ContactPoint" ContactPoint ContactPoint contact_point;
}

/// Looks up what an object refers to, and remembers it.
struct Writer<'w> {
    object: &'w Key,
    world: &'w World,
    needs: Needs,
    missing: bool,
}

impl<'w> Writer<'w> {
    fn of(object: &'w Key, world: &'w World) -> Self {
        Self { object, world, needs: Needs::default(), missing: false }
    }

    /// None where something that it refers to cannot be used.
    fn write<T>(mut self, form: impl FnOnce(&mut Self) -> Option<T>) -> Option<Kept<T>> {
        let form = form(&mut self)?;
        (!self.missing).then(|| Kept { form: Arc::new(form), needs: self.needs })
    }

    fn key(&self, name: &str) -> Key {
        Key::new(self.object.namespace(), name)
    }

    fn prompt(&mut self, name: Option<&String>) -> Vec<AudioId> {
        let Some(name) = name else {
            return Vec::new();
        };
        let Some(prompt) = self.world.prompts.get(&self.key(name)) else {
            self.missing = true;
            return Vec::new();
        };
        self.needs.prompts.insert(prompt.id, prompt.clone());
        vec![prompt.id]
    }

    /// The tenant's music, as far as it is there.
    fn music(&mut self) -> Vec<AudioId> {
        let tenant = self.world.tenants.get(self.object.namespace());
        let names = tenant.map(|tenant| tenant.spec.music.as_slice()).unwrap_or_default();
        let found = names.iter().filter_map(|name| self.world.prompts.get(&self.key(name)));
        let found: Vec<_> = found.collect();
        let audio = found.iter().map(|prompt| prompt.id).collect();
        self.needs.prompts.extend(found.into_iter().map(|prompt| (prompt.id, prompt.clone())));
        audio
    }

    fn hours(&mut self, reference: Option<&v1::LocalRef>) -> Option<HoursId> {
        let key = self.key(&reference?.name);
        match self.world.hours.get(&key) {
            Some(hours) => drop(self.needs.hours.insert(HoursId(key.clone()), Arc::clone(hours))),
            None => self.missing = true,
        }
        Some(HoursId(key))
    }

    /// The flow, and all that it calls.
    fn flow(&mut self, name: &str) -> FlowId {
        let key = self.key(name);
        let mut waiting = BTreeSet::from([key.clone()]);
        while let Some(next) = waiting.pop_first() {
            let Some(flow) = self.world.flows.get(&next) else {
                self.missing = true;
                break;
            };
            let callees = flow.program.calls().into_iter().map(|callee| callee.0.clone());
            waiting.extend(callees.filter(|callee| !self.needs.flows.contains_key(callee)));
            self.needs.flows.insert(next, Arc::clone(flow));
        }
        FlowId(key)
    }
}

fn small(figure: i32) -> u8 {
    u8::try_from(figure).unwrap_or_default()
}

pub(crate) fn secret(reference: &v1::SecretKeyRef) -> SecretKey {
    SecretKey { name: reference.name.clone(), key: reference.key.clone() }
}

const fn channel(channel: v1::Channel) -> Channel {
    match channel {
        v1::Channel::Voice => Channel::Voice,
        v1::Channel::Email => Channel::Email,
        v1::Channel::Sms => Channel::Sms,
        v1::Channel::Chat => Channel::Chat,
        v1::Channel::Social => Channel::Social,
    }
}

const fn wait_figure(figure: v1::WaitFigure) -> WaitFigure {
    match figure {
        v1::WaitFigure::Position => WaitFigure::Position,
        v1::WaitFigure::Wait => WaitFigure::Wait,
    }
}

fn queue(spec: &v1::QueueSpec, writer: &mut Writer<'_>) -> Option<Queue> {
    let tenant = writer.world.tenants.get(writer.object.namespace());
    let language = tenant.and_then(|tenant| tenant.spec.languages.first()).cloned().unwrap_or_default();
    let skill = |skill: &v1::QueueSkill| {
        let relax = skill.relax.iter().map(|step| (figure(step.after_seconds), small(step.minimum)));
        let mut relax: Vec<_> = relax.collect();
        relax.sort_unstable();
        RequiredSkill { name: skill.name.clone(), minimum: small(skill.minimum), relax }
    };
    let announcement = |announcement: &v1::Announcement| Announcement {
        after_seconds: figure(announcement.after_seconds),
        audio: writer.prompt(announcement.prompt.as_ref()),
        say: announcement.say.iter().flatten().copied().map(wait_figure).collect(),
    };
    let mut announcements: Vec<_> = spec.announcements.iter().map(announcement).collect();
    announcements.sort_by_key(|announcement| announcement.after_seconds);
    Some(Queue {
        channels: spec.channels.iter().copied().map(channel).collect(),
        skills: spec.skills.iter().map(skill).collect(),
        selection: match spec.selection {
            v1::Selection::LongestIdle => Selection::LongestIdle,
            v1::Selection::MostSkilled => Selection::MostSkilled,
            v1::Selection::LeastSkilled => Selection::LeastSkilled,
            v1::Selection::RoundRobin => Selection::RoundRobin,
            v1::Selection::LeastOccupied => Selection::LeastOccupied,
        },
        priority: small(spec.priority),
        ageing_seconds: spec.ageing_seconds.map(figure),
        service_percent: small(spec.service_level.percent),
        service_seconds: figure(spec.service_level.seconds),
        contacts_max: figure(spec.limits.contacts),
        wait_seconds_max: figure(spec.limits.wait_seconds),
        music: match spec.music.is_empty() {
            true => writer.music(),
            false => spec.music.iter().flat_map(|name| writer.prompt(Some(name))).collect(),
        },
        announcements,
        language,
        ring_seconds: figure(spec.ring_seconds),
        wrap_up_seconds: figure(spec.wrap_up_seconds),
        callback_first: first(spec.callback_first),
        callback_prompt: writer.prompt(spec.callback_prompt.as_ref()),
        dispositions: spec.dispositions.iter().map(disposition).collect(),
        disposition_required: spec.disposition_choice == v1::DispositionChoice::Required,
    })
}

pub(crate) const fn first(first: v1::CallbackFirst) -> First {
    match first {
        v1::CallbackFirst::Agent => First::Agent,
        v1::CallbackFirst::Contact => First::Contact,
    }
}

fn disposition(disposition: &v1::Disposition) -> Disposition {
    Disposition { name: disposition.name.clone(), title: disposition.title.clone() }
}

fn agent(spec: &v1::AgentSpec, writer: &mut Writer<'_>) -> Option<Agent> {
    let music = writer.music();
    let v1::Capacity { voice, chat, email, sms, social } = spec.capacity;
    let capacity = [
        (Channel::Voice, voice),
        (Channel::Chat, chat),
        (Channel::Email, email),
        (Channel::Sms, sms),
        (Channel::Social, social),
    ];
    let stations: Option<Vec<Station>> = spec.stations.iter().map(station).collect();
    let tenant = writer.world.tenants.get(writer.object.namespace());
    let of_tenant = tenant.map(|tenant| tenant.spec.languages.as_slice()).unwrap_or_default();
    let languages =
        if spec.languages.is_empty() { of_tenant.get(..1).unwrap_or_default() } else { &spec.languages };
    let rules = tenant.and_then(|tenant| tenant.spec.sign_in.as_ref());
    let passwords = rules.is_none_or(|rules| rules.passwords == v1::Passwords::Accepted);
    let subjects = rules.is_some_and(|rules| rules.open_id_connect.is_some());
    Some(Agent {
        display_name: spec.display_name.clone(),
        skills: spec.skills.iter().map(|skill| (skill.name.clone(), small(skill.level))).collect(),
        languages: languages.to_vec(),
        stations: stations?,
        capacity: capacity
            .into_iter()
            .filter(|(_, most)| *most > 0)
            .map(|(channel, most)| (channel, small(most)))
            .collect(),
        sign_in: spec.sign_in.as_ref().and_then(|sign_in| match (&sign_in.secret_ref, &sign_in.subject) {
            (Some(reference), _) => passwords.then(|| SignIn::Password(secret(reference))),
            (None, subject) => subject.clone().filter(|_| subjects).map(SignIn::Subject),
        }),
        session_seconds: rules.map_or(SESSION_SECONDS, |rules| figure(rules.session_seconds)),
        outbound_number: spec.outbound_number.as_ref().and_then(|number| number.parse().ok()),
        lossy: spec.network == v1::AgentNetwork::Lossy,
        music,
        queues: spec
            .queues
            .iter()
            .map(|queue| (QueueId(writer.key(&queue.name)), small(queue.rank)))
            .collect(),
        supervises: spec
            .supervises
            .iter()
            .flat_map(|supervision| &supervision.queues)
            .map(|queue| QueueId(writer.key(queue)))
            .collect(),
    })
}

fn station(station: &v1::Station) -> Option<Station> {
    let kind = match (&station.web_rtc, &station.sip, &station.pstn) {
        (Some(browser), ..) => StationKind::WebRtc { opus: browser.codec == v1::BrowserCodec::Opus },
        (_, Some(phone), _) => {
            StationKind::Sip { username: phone.username.clone(), secret: secret(&phone.secret_ref) }
        }
        (.., phone) => StationKind::Pstn { number: phone.as_ref()?.number.parse().ok()? },
    };
    let location = |location: &v1::Location| Location {
        country: location.country.clone(),
        region: location.region.clone(),
        city: location.city.clone(),
        street: location.street.clone(),
        room: location.room.clone(),
        postal_code: location.postal_code.clone(),
        carrier_location_id: location.carrier_location_id.clone(),
    };
    Some(Station {
        name: station.name.clone(),
        kind,
        persistent: station.leg == v1::StationLeg::Persistent,
        answers_itself: match station.answering {
            Some(answering) => answering == v1::Answering::Automatic,
            None => station.leg == v1::StationLeg::Persistent,
        },
        emergency_location: station.emergency_location.as_ref().map(location),
    })
}

fn voicemail_box(spec: &v1::VoicemailBoxSpec, writer: &mut Writer<'_>) -> Option<VoicemailBox> {
    Some(VoicemailBox {
        greeting: writer.prompt(spec.greeting.as_ref()),
        emails: spec.emails.clone(),
        queue: spec.queue_ref.as_ref().map(|queue| QueueId(writer.key(&queue.name))),
        agents: spec.agent_refs.iter().map(|agent| AgentId(writer.key(&agent.name))).collect(),
        message_seconds_max: figure(spec.message_seconds),
        messages_max: figure(spec.messages),
        retention_days: figure(spec.retention_days),
        transcribed: spec.transcription == v1::Transcription::Enabled,
        speech_seconds_min: figure(spec.min_seconds),
        silence_seconds: figure(spec.silence_seconds),
        review: writer.prompt(spec.review.as_ref()),
    })
}

fn integration(spec: &v1::IntegrationSpec, _: &mut Writer<'_>) -> Option<Integration> {
    let header = |header: &v1::Header| {
        let value = match (&header.value, &header.secret_ref) {
            (_, Some(reference)) => HeaderValue::Secret(secret(reference)),
            (value, None) => HeaderValue::Text(value.clone().unwrap_or_default()),
        };
        Header { name: header.name.clone(), value }
    };
    let tls = spec.tls.as_ref();
    // A suite's name in JSON is its IANA name.
    let suite = |suite: &v1::CipherSuite| match serde_json::to_value(suite) {
        Ok(serde_json::Value::String(name)) => Some(name),
        _ => None,
    };
    let suites: Option<Vec<String>> =
        tls.map(|tls| tls.suites.as_slice()).unwrap_or_default().iter().map(suite).collect();
    Some(Integration {
        url: spec.url.clone(),
        timeout_seconds: figure(spec.timeout_seconds),
        headers: spec.headers.iter().map(header).collect(),
        requests_per_second_max: figure(spec.calls_per_second),
        tls13_only: tls.is_some_and(|tls| tls.minimum_version == v1::TlsVersion::Tls13),
        suites: suites?,
        ca: tls.and_then(|tls| tls.ca_secret_ref.as_ref()).map(secret),
        certificate: tls.and_then(|tls| Some(tls.certificate_secret_ref.as_ref()?.name.clone())),
        proxy: spec.proxy.as_ref().map(|proxy| Proxy {
            url: proxy.url.clone(),
            secret: proxy.secret_ref.as_ref().map(secret),
            no_proxy: proxy.no_proxy.clone(),
        }),
    })
}

fn campaign(spec: &v1::CampaignSpec, writer: &mut Writer<'_>) -> Option<Campaign> {
    let time = |text: &Option<String>| text.as_ref().and_then(|text| text.parse().ok());
    Some(Campaign {
        mode: match spec.mode {
            v1::CampaignMode::Preview => CampaignMode::Preview,
            v1::CampaignMode::Progressive => CampaignMode::Progressive,
            v1::CampaignMode::Predictive => CampaignMode::Predictive,
        },
        lists: spec.list_refs.iter().map(|list| ContactListId(writer.key(&list.name))).collect(),
        do_not_call: spec
            .do_not_call_refs
            .iter()
            .map(|list| DoNotCallListId(writer.key(&list.name)))
            .collect(),
        queue: QueueId(writer.key(&spec.queue_ref.name)),
        caller_id: spec.caller_id.as_ref().and_then(|number| number.parse().ok()),
        calling_hours: writer.hours(spec.calling_hours_ref.as_ref()),
        starts_at: time(&spec.starts_at),
        ends_at: time(&spec.ends_at),
        attempts_max: figure(spec.attempts.max),
        attempts_per_day_max: figure(spec.attempts.per_day_max),
        retry_seconds: figure(spec.attempts.retry_seconds),
        abandon_percent_max: spec.abandon_percent_max.map(small),
        ring_seconds: figure(spec.ring_seconds),
        abandoned: writer.prompt(spec.abandoned_prompt.as_ref()),
    })
}

/// Where a list comes from. Exactly one of the three is there; the schema sees to it.
fn source<T>(
    inline: Vec<T>,
    remote: Option<&v1::Remote>,
    config_map: Option<&v1::ConfigMapKeyRef>,
) -> ListSource<T> {
    match (remote, config_map) {
        (Some(remote), _) => ListSource::Remote { url: remote.url.clone(), sha256: remote.sha256.clone() },
        (None, Some(map)) => {
            ListSource::ConfigMap(SecretKey { name: map.name.clone(), key: map.key.clone() })
        }
        (None, None) => ListSource::Inline(inline),
    }
}

fn contact_list(spec: &v1::ContactListSpec, _: &mut Writer<'_>) -> Option<ContactList> {
    let contact = |contact: &v1::ListedContact| {
        let number = contact.number.parse().ok()?;
        Some(ListedContact { number, name: contact.name.clone(), time_zone: contact.time_zone.clone() })
    };
    let contacts: Option<Vec<_>> = spec.contacts.iter().map(contact).collect();
    let source = source(contacts?, spec.remote.as_ref(), spec.config_map_ref.as_ref());
    Some(ContactList { source, time_zone: spec.time_zone.clone() })
}

fn do_not_call_list(spec: &v1::DoNotCallListSpec, _: &mut Writer<'_>) -> Option<DoNotCallList> {
    let numbers: Option<Vec<_>> = spec.numbers.iter().map(|number| number.parse().ok()).collect();
    Some(DoNotCallList { source: source(numbers?, spec.remote.as_ref(), spec.config_map_ref.as_ref()) })
}

fn contact_point(spec: &v1::ContactPointSpec, writer: &mut Writer<'_>) -> Option<ContactPoint> {
    let kind = match (&spec.chat, &spec.email, &spec.sms, &spec.social) {
        (Some(chat), ..) => {
            let question = |question: &v1::Question| Question {
                name: question.name.clone(),
                text: question.text.clone(),
                options: question.options.clone(),
                required: question.answer == v1::Answer::Required,
            };
            PointKind::Chat {
                origins: chat.origins.clone(),
                survey: chat.survey.iter().map(question).collect(),
            }
        }
        (_, Some(email), ..) => PointKind::Email {
            address: email.address.clone(),
            imap_server: email.imap_server.clone(),
            smtp_server: email.smtp_server.clone(),
            secret: secret(&email.secret_ref),
        },
        (_, _, Some(sms), _) => PointKind::Sms {
            number: NumberId(writer.key(&sms.number_ref.name)),
            integration: IntegrationId(writer.key(&sms.integration_ref.name)),
        },
        (.., social) => {
            let social = social.as_ref()?;
            PointKind::Social {
                network: match social.network {
                    v1::SocialNetwork::Facebook => SocialNetwork::Facebook,
                    v1::SocialNetwork::Instagram => SocialNetwork::Instagram,
                    v1::SocialNetwork::WhatsApp => SocialNetwork::WhatsApp,
                    v1::SocialNetwork::X => SocialNetwork::X,
                },
                account: social.account.clone(),
                secret: secret(&social.secret_ref),
            }
        }
    };
    Some(ContactPoint {
        flow: writer.flow(&spec.flow_ref.name),
        kind,
        idle_seconds_max: figure(spec.idle_seconds),
        conversations_max: figure(spec.limit),
    })
}
