//! Sound of one leg's rate at another's, sample by sample as it comes.

use rtp::resample::Stream;

/// What a converter remembers of one stream. It begins anew when the rates change.
#[derive(Debug, Default)]
pub struct Rates(Option<(u32, u32, Box<Stream>)>);

impl Rates {
    /// Converts sound that goes on where the last one ended. None: it does not fit into `out`, or a rate is none of
    /// `rtp::resample`'s.
    pub fn convert<'a>(
        &mut self,
        pcm: &'a [i16],
        from: u32,
        to: u32,
        out: &'a mut [i16],
    ) -> Option<&'a [i16]> {
        if from == to {
            return Some(pcm);
        }
        if self.0.as_ref().is_none_or(|known| (known.0, known.1) != (from, to)) {
            self.0 = Some((from, to, Box::new(Stream::new(from, to).ok()?)));
        }
        let (_, _, stream) = self.0.as_mut()?;
        let out = out.get_mut(..stream.room(pcm.len()))?;
        let length = stream.process(pcm, out);
        out.get(..length)
    }
}
