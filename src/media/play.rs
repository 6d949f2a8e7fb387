//! One playing: a list of prompts, so many times, cut into frames.

use std::sync::Arc;

use model::{
    AudioId, PlayId,
    media::{Codec, PlayEnd},
};

use crate::{
    coded::{Form, PACKET},
    library::{Library, Prompt, is_tone},
    playback::Pending,
};

/// Prompts of one playing at most.
pub const AUDIO_MAX: usize = 32;

/// A playing and how far it has come.
#[derive(Debug)]
pub struct Play {
    /// Its name.
    pub id: PlayId,
    prompts: Box<[Arc<Prompt>]>,
    /// What is not read yet.
    pending: Option<Pending>,
    end: PlayEnd,
    /// Rounds that are still to come, this one included. `None`: without end.
    rounds: Option<u16>,
    prompt: usize,
    /// Sample within the prompt.
    at: usize,
    /// Whether it is music on hold: without end, and no tone.
    is_music: bool,
}

/// Where music on hold was left, to go on there.
#[derive(Debug)]
pub struct Left {
    prompts: Box<[Arc<Prompt>]>,
    prompt: usize,
    at: usize,
}

impl Play {
    /// Prepares a playing.
    ///
    /// # Errors
    /// How it ends at once: `UnknownAudio` when a prompt is missing or there are too many, `Finished` when there is
    /// nothing to hear.
    pub fn new(
        id: PlayId,
        audio: &[AudioId],
        times: Option<u16>,
        library: &Library,
    ) -> Result<Self, PlayEnd> {
        if audio.is_empty() || times == Some(0) {
            return Err(PlayEnd::Finished);
        }
        if audio.len() > AUDIO_MAX {
            return Err(PlayEnd::UnknownAudio);
        }
        let found: Option<Box<[_]>> = audio.iter().map(|audio| library.get(audio)).collect();
        let prompts = found.ok_or(PlayEnd::UnknownAudio)?;
        let is_music = times.is_none() && !audio.iter().any(is_tone);
        let end = PlayEnd::Finished;
        Ok(Self { id, prompts, pending: None, end, rounds: times, prompt: 0, at: 0, is_music })
    }

    /// Prepares a playing of what is being read; until then there is silence.
    pub fn pending(id: PlayId, pending: Pending) -> Self {
        let (prompts, pending) = (Box::default(), Some(pending));
        Self {
            id,
            prompts,
            pending,
            end: PlayEnd::Finished,
            rounds: Some(1),
            prompt: 0,
            at: 0,
            is_music: false,
        }
    }

    /// Where it is, if it is music.
    pub fn left(self) -> Option<Left> {
        let Self { prompts, prompt, at, .. } = self;
        self.is_music.then_some(Left { prompts, prompt, at })
    }

    /// Goes on where the same music was left.
    pub fn go_on(&mut self, left: &Left) {
        let same = self.prompts.len() == left.prompts.len()
            && self.prompts.iter().zip(&left.prompts).all(|(one, other)| Arc::ptr_eq(one, other));
        if self.is_music && same {
            // Whole packets, which every codec can begin with.
            (self.prompt, self.at) = (left.prompt, left.at - left.at % PACKET);
        }
    }

    /// How it has ended, when there is nothing more to be heard.
    pub const fn end(&self) -> PlayEnd {
        self.end
    }

    /// Whether it is still being read.
    fn is_awaited(&mut self) -> bool {
        let Some(read) = self.pending.as_ref().map(|pending| pending.get().cloned()) else { return false };
        let Some(read) = read else { return true };
        self.pending = None;
        match read {
            Some(prompt) => self.prompts = [prompt].into(),
            None => (self.end, self.rounds) = (PlayEnd::UnknownAudio, Some(0)),
        }
        false
    }

    /// As [`Play::fill`], in samples at 8 kHz. A prompt's last frame ends in silence, so that each begins a packet of its own.
    pub fn fill_pcm(&mut self, frame: &mut [i16]) -> bool {
        self.fill_from(Prompt::pcm, (0, true), frame)
    }

    /// The next packet as it was coded beforehand. None: there is none yet, or nothing is left to be heard.
    pub fn packet(&mut self, form: Form) -> Option<&[u8]> {
        if self.is_awaited() || self.prompt >= self.prompts.len() && !self.begin_round() {
            return None;
        }
        let prompt = self.prompts.get(self.prompt)?;
        let payload = prompt.forms().payload(form, self.at)?;
        self.at += PACKET;
        if self.at >= prompt.pcm().len() {
            (self.prompt, self.at) = (self.prompt + 1, 0);
        }
        Some(payload)
    }

    /// The prompts that are not coded in a form, and were not asked for: each is given once.
    pub fn uncoded(&self, form: Form) -> impl Iterator<Item = &Arc<Prompt>> {
        self.prompts.iter().filter(move |prompt| prompt.forms().want(form))
    }

    /// Fills a frame and goes on; the last one ends in silence. `false`: all has been played, nothing is written.
    pub fn fill(&mut self, codec: Codec, frame: &mut [u8]) -> bool {
        let silence = rtp::g711::Law::from(codec).silence();
        self.fill_from(|prompt| prompt.encoded(codec), (silence, false), frame)
    }

    fn fill_from<T: Copy>(
        &mut self,
        sound: impl Fn(&Prompt) -> &[T],
        (silence, apart): (T, bool),
        frame: &mut [T],
    ) -> bool {
        let mut filled = 0;
        if self.is_awaited() {
            frame.fill(silence);
            return true;
        }
        while filled < frame.len() {
            let Some(prompt) = self.prompts.get(self.prompt) else {
                if self.begin_round() { continue } else { break }
            };
            // No prompt is empty: the library refuses such.
            let rest = &sound(prompt)[self.at..];
            let count = rest.len().min(frame.len() - filled);
            frame[filled..filled + count].copy_from_slice(&rest[..count]);
            filled += count;
            self.at += count;
            if count == rest.len() {
                (self.prompt, self.at) = (self.prompt + 1, 0);
                if apart {
                    break;
                }
            }
        }
        frame[filled..].fill(silence);
        filled > 0
    }

    fn begin_round(&mut self) -> bool {
        if let Some(rounds) = &mut self.rounds {
            *rounds = rounds.saturating_sub(1);
            if *rounds == 0 {
                return false;
            }
        }
        self.prompt = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Cursor};

    use model::media::RINGING_TONE;

    use super::*;
    use crate::AudioSource;

    fn library(lengths: &[(u8, usize)]) -> Library {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 8_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let wav = |length| {
            let mut file = Cursor::new(Vec::new());
            let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
            (0..length).for_each(|_| writer.write_sample(8_031i16).unwrap());
            writer.finalize().unwrap();
            AudioSource::Wav(file.into_inner().into())
        };
        let wanted: BTreeMap<_, _> =
            lengths.iter().map(|&(id, length)| (AudioId([id; 32]), wav(length))).collect();
        Library::load(&wanted, None).unwrap()
    }

    fn frames(audio: &[u8], times: Option<u16>) -> Result<Vec<usize>, PlayEnd> {
        let library = library(&[(1, 100), (2, 250)]);
        let audio: Vec<_> = audio.iter().map(|&id| AudioId([id; 32])).collect();
        let mut play = Play::new(PlayId(1), &audio, times, &library)?;
        let mut frame = [0; 160];
        let mut sounding = || {
            play.fill(Codec::Pcmu, &mut frame).then(|| frame.iter().filter(|&&octet| octet != 0xff).count())
        };
        Ok(std::iter::from_fn(&mut sounding).take(100).collect())
    }

    #[test]
    fn prompts_and_rounds_follow_without_a_gap() {
        assert_eq!(frames(&[1], Some(1)), Ok(vec![100]));
        assert_eq!(frames(&[1, 2], Some(1)), Ok(vec![160, 160, 30]));
        assert_eq!(frames(&[1, 2], Some(2)), Ok(vec![160, 160, 160, 160, 60]));
        assert_eq!(frames(&[1], None), Ok(vec![160; 100]));
    }

    #[test]
    fn music_goes_on_where_it_was_left_and_nothing_else_does() {
        let library = library(&[(1, 400), (2, 250)]);
        let play = |audio: &[u8], times| {
            let audio: Vec<_> = audio.iter().map(|&id| AudioId([id; 32])).collect();
            Play::new(PlayId(1), &audio, times, &library).unwrap()
        };
        let left = |mut play: Play| {
            let mut frame = [0; 160];
            (0..3).for_each(|_| _ = play.fill(Codec::Pcmu, &mut frame));
            play.left()
        };
        let music = left(play(&[1, 2], None)).unwrap();
        for (mut next, wanted) in [
            (play(&[1, 2], None), (1, 0)),
            (play(&[2, 1], None), (0, 0)),
            (play(&[1], None), (0, 0)),
            (play(&[1, 2], Some(2)), (0, 0)),
        ] {
            next.go_on(&music);
            assert_eq!((next.prompt, next.at), wanted);
        }
        assert!(left(play(&[1, 2], Some(1))).is_none());
        let ringing = Play::new(PlayId(1), &[RINGING_TONE], None, &library).unwrap();
        assert!(left(ringing).is_none());
    }

    #[test]
    fn prompts_that_are_coded_come_in_whole_packets_each_from_its_beginning() {
        let library = library(&[(1, 400), (2, 160)]);
        let audio = [1, 2].map(|id| AudioId([id; 32]));
        let mut play = Play::new(PlayId(1), &audio, Some(2), &library).unwrap();
        let form = Form::G722;
        assert_eq!(play.uncoded(form).count(), 2);
        assert_eq!(play.uncoded(form).count(), 0, "each is asked for once");
        // Nothing is ready yet: a leg codes for itself, and ends the first prompt in silence.
        let mut frame = [0; 160];
        for _ in 0..3 {
            assert!(play.packet(form).is_none() && play.fill_pcm(&mut frame));
        }
        assert_eq!((frame[79], frame[80]), (8_031, 0));
        audio.iter().for_each(|audio| library.get(audio).unwrap().make(form));
        let mut payloads = Vec::new();
        while let Some(payload) = play.packet(form) {
            payloads.push(payload.to_vec());
        }
        // The second prompt, then both once more.
        assert_eq!(payloads.len(), 1 + 3 + 1);
        assert!(payloads.iter().all(|payload| payload.len() == 160) && payloads[0] == payloads[4]);
        assert!(!play.fill_pcm(&mut frame));
    }

    #[test]
    fn what_cannot_be_played_ends_at_once() {
        assert_eq!(frames(&[], Some(1)), Err(PlayEnd::Finished));
        assert_eq!(frames(&[1], Some(0)), Err(PlayEnd::Finished));
        assert_eq!(frames(&[1, 3], Some(1)), Err(PlayEnd::UnknownAudio));
        assert_eq!(frames(&[1; 33], Some(1)), Err(PlayEnd::UnknownAudio));
    }
}
