//! A recogniser that hears while somebody speaks, by the protocol of the Vosk server
//! (<https://alphacephei.com/vosk/server>): a WebSocket; `{"config": …}` first, then PCM of 16 bits in binary messages, at the
//! end `{"eof": 1}`. The server tells `{"partial": …}` meanwhile, and `{"text": …, "result": [{"word", "conf", …}]}` when it is
//! sure of some words.

use std::{sync::Arc, time::Duration};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use crate::{Failed, Service, service::Stream};

/// Pieces of sound that wait while the server is slow: a minute's, at 50 a second.
const WAITING_MAX: usize = 3_000;
/// How long it is awaited that the server hangs up after a sentence that follows the end.
const HANG_UP: Duration = Duration::from_millis(250);
/// Most letters that are kept of what it says.
const TEXT_MAX: usize = 2_000;
/// How sure words are of which it does not say.
const USUALLY: u8 = 80;

/// A stream of sound to a recogniser. Dropped, it is over.
#[derive(Debug)]
pub struct Listening {
    sound: mpsc::Sender<Vec<i16>>,
    lost: bool,
    said: oneshot::Receiver<Result<(String, u8), Failed>>,
}

impl Listening {
    /// Begins, on this runtime, and returns at once.
    #[must_use]
    pub fn begin(
        runtime: &tokio::runtime::Handle,
        service: Arc<Service>,
        rate: u32,
        phrases: &[String],
    ) -> Self {
        let (sound, heard) = mpsc::channel(WAITING_MAX);
        let (tell, said) = oneshot::channel();
        let phrases: Vec<String> = phrases.iter().map(|phrase| crate::phrases::normal(phrase)).collect();
        let config =
            json!({"config": {"sample_rate": rate, "words": true, "phrase_list": with_others(phrases)}});
        runtime.spawn(async move {
            let mut tell = tell;
            tokio::select! {
                // Whoever wanted it is gone, or has waited long enough.
                () = tell.closed() => {}
                said = listened(&service, config, heard) => drop(tell.send(said)),
            }
        });
        Self { sound, lost: false, said }
    }

    /// What is heard; never blocks.
    pub fn hear(&mut self, pcm: &[i16]) {
        self.lost |= self.sound.try_send(pcm.to_vec()).is_err();
    }

    /// No more will be heard: what was said, and how sure that is in percent. Blocks for no more than `longest`; not for
    /// threads of the runtime.
    ///
    /// # Errors
    /// Why nobody can tell.
    pub fn ended(self, runtime: &tokio::runtime::Handle, longest: Duration) -> Result<(String, u8), Failed> {
        let Self { sound, lost, said } = self;
        drop(sound);
        // The clock is the runtime's, of which this thread is none.
        let waited = runtime.block_on(async move { timeout(longest, said).await });
        let said = waited.map_err(|_| Failed::Timeout(longest))?;
        let said = said.map_err(|_| Failed::Broken("the recogniser's task has ended".into()))??;
        if lost { Err(Failed::Answer("too slowly: some of the sound was lost".into())) } else { Ok(said) }
    }
}

/// The server takes what else is said for one of the phrases unless it may be anything.
fn with_others(mut phrases: Vec<String>) -> Vec<String> {
    phrases.push("[unk]".into());
    phrases
}

async fn listened(
    service: &Service,
    config: Value,
    mut heard: mpsc::Receiver<Vec<i16>>,
) -> Result<(String, u8), Failed> {
    let stream = service.websocket("").await?;
    let (mut to, mut from) = stream.split();
    let broken = |error: tokio_tungstenite::tungstenite::Error| Failed::Broken(error.to_string());
    let sending = async {
        to.send(Message::text(config.to_string())).await.map_err(broken)?;
        while let Some(pcm) = heard.recv().await {
            let octets: Vec<u8> = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            to.send(Message::binary(octets)).await.map_err(broken)?;
        }
        to.send(Message::text(json!({"eof": 1}).to_string())).await.map_err(broken)
    };
    let mut words = Words::default();
    let ended = {
        tokio::pin!(sending);
        let (mut sent, mut last) = (false, false);
        loop {
            tokio::select! {
                done = &mut sending, if !sent => {
                    done?;
                    sent = true;
                }
                message = next(&mut from) => match message? {
                    Some(text) => last |= words.told(&text)? && sent,
                    None if sent => break Ok(()),
                    None => break Err(Failed::Broken("the recogniser has hung up".into())),
                },
                // The server hangs up after the last sentence, or should.
                () = tokio::time::sleep(HANG_UP), if last => break Ok(()),
            }
        }
    };
    let _ = to.close().await;
    ended.map(|()| words.whole())
}

/// The next text. None: it has closed.
async fn next(
    from: &mut futures::stream::SplitStream<WebSocketStream<Stream>>,
) -> Result<Option<String>, Failed> {
    loop {
        match from.next().await {
            Some(Ok(Message::Text(text))) => return Ok(Some(text.to_string())),
            Some(Ok(Message::Close(_))) | None => return Ok(None),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(Failed::Broken(error.to_string())),
        }
    }
}

/// What was said so far.
#[derive(Debug, Default)]
struct Words {
    text: String,
    sure: f64,
    count: u32,
}

impl Words {
    /// Takes a message; true when a sentence has ended.
    fn told(&mut self, message: &str) -> Result<bool, Failed> {
        let message: Value = serde_json::from_str(message)
            .map_err(|_| Failed::Answer("what is no JSON of the Vosk server".into()))?;
        let Some(text) = message.get("text").and_then(Value::as_str) else { return Ok(false) };
        if self.text.len() + text.len() <= TEXT_MAX {
            self.text.push(' ');
            self.text.push_str(&text.replace("[unk]", ""));
        }
        let words = message.get("result").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for sure in words.iter().filter_map(|word| word.get("conf")?.as_f64()) {
            self.sure += sure.clamp(0.0, 1.0);
            self.count += 1;
        }
        Ok(true)
    }

    fn whole(self) -> (String, u8) {
        let sure = match self.count {
            0 => USUALLY,
            count => (100.0 * self.sure / f64::from(count)) as u8,
        };
        (self.text.trim().to_owned(), sure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_joined_and_as_sure_as_their_words() {
        let mut words = Words::default();
        assert!(!words.told(r#"{"partial": "by"}"#).unwrap());
        assert!(words.told(r#"{"text": "buy", "result": [{"word": "buy", "conf": 0.5}]}"#).unwrap());
        assert!(
            words.told(r#"{"text": "something [unk]", "result": [{"conf": 0.9}, {"conf": 7}, {}]}"#).unwrap()
        );
        assert!(words.told("buy").is_err());
        assert_eq!(words.whole(), ("buy something".to_owned(), 80));
    }
}
