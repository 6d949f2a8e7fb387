//! What speaks and understands by services: a tenant's voice and recogniser, through its Integrations.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, mpsc},
    time::Duration,
};

use ipnet::IpNet;
use media::{About, Hearing, Pocketsphinx, Recogniser, Said, Speaker};
use model::{
    IntegrationId, Key,
    secrets::Secrets,
    snapshot::{Snapshot, Speech, SpeechRecogniser, SpeechVoice},
    trunk::TlsPolicy,
};
use outbound::{Failed, Integrations, openai, phrases, vosk};
use tokio::runtime::Handle;

use super::prompts::Files;

/// Longest wait for what was said: a contact waits meanwhile.
const UNDERSTOOD_MAX: Duration = Duration::from_secs(10);

/// The services of one cluster.
#[derive(Debug)]
pub struct Services {
    integrations: Arc<Integrations>,
    speech: RwLock<BTreeMap<String, Speech>>,
    /// The cluster's policy of TLS, and the private ranges that tenants may reach.
    bounds: RwLock<(TlsPolicy, Vec<IpNet>)>,
    embedded: Pocketsphinx,
    runtime: Handle,
}

impl Services {
    /// None so far. Asked on this runtime, whose threads must not ask.
    pub fn new(runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            integrations: Arc::default(),
            speech: RwLock::default(),
            bounds: RwLock::default(),
            embedded: Pocketsphinx::default(),
            runtime,
        })
    }

    /// From now on those of this snapshot.
    pub fn update(&self, snapshot: &Snapshot, secrets: &Secrets) {
        self.integrations.update(snapshot, secrets);
        let bounds = (snapshot.cluster.tls.clone(), snapshot.cluster.reachable_ranges.clone());
        *self.bounds.write().unwrap_or_else(PoisonError::into_inner) = bounds;
        let speech = snapshot.cluster.speech.clone();
        *self.speech.write().unwrap_or_else(PoisonError::into_inner) = speech;
    }

    fn of<T>(&self, tenant: &str, pick: impl FnOnce(&Speech) -> Option<T>) -> Option<T> {
        self.speech.read().unwrap_or_else(PoisonError::into_inner).get(tenant).and_then(pick)
    }

    /// Has the runtime do it, so that what nobody needs any more ends with it.
    fn wait<T: Send + 'static>(&self, what: impl Future<Output = T> + Send + 'static) -> Result<T, String> {
        let (done, doing) = mpsc::channel();
        self.runtime.spawn(async move { done.send(what.await) });
        doing.recv().map_err(|_| "the process stops".into())
    }

    fn recogniser(&self, tenant: &str) -> Option<SpeechRecogniser> {
        self.of(tenant, |speech| speech.recogniser.clone())
    }
}

fn told(integration: &IntegrationId) -> impl Fn(Failed) -> String + '_ {
    move |failed| format!("Integration {}: {failed}", integration.0)
}

impl Speaker for Services {
    fn voice(&self, tenant: &str) -> Option<String> {
        let SpeechVoice { integration, model, voice } = self.of(tenant, |speech| speech.voice.clone())?;
        Some(format!("{}\0{model}\0{voice}", integration.0))
    }

    fn speak(&self, tenant: &str, text: &str, _language: &str) -> Result<Vec<u8>, String> {
        let voice = self.of(tenant, |speech| speech.voice.clone());
        let SpeechVoice { integration, model, voice } = voice.ok_or("the tenant has no voice of its own")?;
        let told = told(&integration);
        let service = self.integrations.get(&integration).map_err(&told)?;
        let text = text.to_owned();
        let asked = async move { openai::speech(&service, &model, &voice, &text).await };
        Ok(self.wait(asked)?.map_err(told)?.into())
    }
}

impl Files for Services {
    fn fetch(&self, owner: &Key, url: &str, octets_max: usize) -> Result<Vec<u8>, String> {
        let (policy, ranges) = self.bounds.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (owner, url) = (owner.clone(), url.to_owned());
        let asked = async move { outbound::file(&owner, &url, octets_max, (&policy, &ranges)).await };
        self.wait(asked)?.map(Into::into).map_err(|failed| failed.to_string())
    }
}

impl Recogniser for Services {
    fn recognise(&self, said: &Said<'_>) -> Result<Option<(u16, u8)>, String> {
        let Some(SpeechRecogniser { integration, model, .. }) = self.recogniser(said.tenant) else {
            return self.embedded.recognise(said);
        };
        let told = told(&integration);
        let service = self.integrations.get(&integration).map_err(&told)?;
        let Said { pcm, rate, language, phrases, .. } = *said;
        let utterance = openai::Utterance { pcm, rate, language, phrases };
        let longest = service.timeout().min(UNDERSTOOD_MAX);
        let transcribed = self.runtime.block_on(openai::transcription(&service, &model, &utterance, longest));
        let (text, sure) = transcribed.map_err(told)?;
        Ok(phrases::which(&text, sure, phrases))
    }

    fn is_service(&self, tenant: &str) -> bool {
        self.recogniser(tenant).is_some()
    }

    fn hear(&self, about: &About<'_>) -> Option<Box<dyn Hearing>> {
        let SpeechRecogniser { integration, streams: true, .. } = self.recogniser(about.tenant)? else {
            return None;
        };
        let stream = self.integrations.get(&integration).map(|service| {
            let longest = service.timeout().min(UNDERSTOOD_MAX);
            (vosk::Listening::begin(&self.runtime, service, about.rate, about.phrases), longest)
        });
        let (phrases, runtime) = (about.phrases.to_vec(), self.runtime.clone());
        Some(Box::new(Streamed { stream, integration, phrases, runtime }))
    }
}

#[derive(Debug)]
struct Streamed {
    stream: Result<(vosk::Listening, Duration), Failed>,
    integration: IntegrationId,
    phrases: Vec<String>,
    runtime: Handle,
}

impl Hearing for Streamed {
    fn take(&mut self, pcm: &[i16]) {
        if let Ok((stream, _)) = &mut self.stream {
            stream.hear(pcm);
        }
    }

    fn said(self: Box<Self>) -> Result<Option<(u16, u8)>, String> {
        let Self { stream, integration, phrases, runtime } = *self;
        let said = stream.and_then(|(stream, longest)| stream.ended(&runtime, longest));
        let (text, sure) = said.map_err(told(&integration))?;
        Ok(phrases::which(&text, sure, &phrases))
    }
}
