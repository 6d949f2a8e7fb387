//! Bursts and gaps: how losses are spread (RFC 3611 §4.7.2, with its reference algorithm).
//!
//! A burst begins and ends with a loss, and within it fewer than [`GMIN`] packets in a row arrive; all else is gap. Packets are judged
//! in the order of their sequence numbers, each when it is [`WINDOW`] behind the newest: what is merely out of order is no loss.

/// Packets in a row that end a burst (RFC 3611 §4.7.2 recommends 16).
pub const GMIN: u32 = 16;
/// Packets that one that is late may be behind.
pub const WINDOW: u32 = 32;

/// A jump of sequence numbers from here on is a new beginning, not loss.
const JUMP: u16 = 3_000;

/// Follows one source's packets.
#[derive(Debug, Clone, Default)]
pub struct Bursts {
    source: Option<Source>,
    counts: Counts,
}

#[derive(Debug, Clone, Copy)]
struct Source {
    newest: u16,
    /// Packets from the first to the newest that have not been judged, at most [`WINDOW`].
    pending: u32,
    /// The newest lowest: which have arrived, and which of these were discarded.
    arrived: u64,
    discarded: u64,
}

/// What a packet was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrived and was played.
    Played,
    /// It never arrived.
    Lost,
    /// It arrived too late or too early to be played.
    Discarded,
}

/// RFC 3611's transition counts, under its names.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    /// Packets in a row that arrived.
    pkt: u64,
    /// Losses of the present burst.
    lost: u64,
    c11: u64,
    c13: u64,
    c14: u64,
    c22: u64,
    c23: u64,
    c33: u64,
    losses: u64,
    discards: u64,
    packets: u64,
    /// Runs of losses without any packet between.
    runs: u64,
    in_run: bool,
}

/// What an extended report tells (RFC 3611 §4.7.1, §4.7.2).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// Packets judged.
    pub packets: u64,
    /// Of these lost, and discarded.
    pub lost: u64,
    /// See `lost`.
    pub discarded: u64,
    /// Share of the packets lost or discarded within bursts and within gaps, 0 to 1.
    pub burst_density: f64,
    /// See `burst_density`.
    pub gap_density: f64,
    /// Mean length of a burst and of a gap, in milliseconds. A stream without a burst is one gap.
    pub burst_ms: f64,
    /// See `burst_ms`.
    pub gap_ms: f64,
    /// How much longer runs of losses are than chance would have them: G.107's BurstR, 1 for losses by chance or none.
    pub burst_ratio: f64,
}

impl Figures {
    /// Share of packets lost or discarded, in percent.
    #[must_use]
    pub fn loss_percent(&self) -> f64 {
        if self.packets == 0 {
            0.0
        } else {
            (self.lost + self.discarded) as f64 * 100.0 / self.packets as f64
        }
    }
}

impl Bursts {
    /// Takes a packet that arrived; `played` says whether it was in time.
    pub fn receive(&mut self, sequence: u16, played: bool) {
        let ahead = self.source.map(|source| sequence.wrapping_sub(source.newest));
        match (ahead, &mut self.source) {
            (Some(0), Some(source)) => source.mark(0, played),
            (Some(ahead), Some(_)) if ahead < JUMP => {
                (1..ahead).for_each(|_| self.advance());
                self.advance();
                self.mark(0, played);
            }
            (Some(ahead), Some(source)) if ahead > u16::MAX - JUMP => {
                let behind = u32::from(ahead.wrapping_neg());
                if behind < source.pending {
                    source.mark(behind, played);
                }
            }
            _ => {
                self.flush();
                self.source = Some(Source { newest: sequence, pending: 1, arrived: 0, discarded: 0 });
                self.mark(0, played);
            }
        }
    }

    /// A packet that has been received was not played after all: it came too late, or had no room.
    pub fn discard(&mut self, sequence: u16) {
        let Some(source) = &mut self.source else { return };
        let behind = u32::from(source.newest.wrapping_sub(sequence));
        if behind < source.pending && source.arrived >> behind & 1 == 1 {
            source.discarded |= 1 << behind;
        }
    }

    /// The figures of all packets so far, each of so many milliseconds.
    #[must_use]
    pub fn figures(&self, packet_ms: f64) -> Figures {
        let mut whole = self.clone();
        whole.flush();
        whole.counts.figures(packet_ms)
    }

    fn mark(&mut self, behind: u32, played: bool) {
        if let Some(source) = &mut self.source {
            source.mark(behind, played);
        }
    }

    fn advance(&mut self) {
        let Some(source) = &mut self.source else { return };
        if source.pending == WINDOW {
            let fate = source.fate(WINDOW - 1);
            self.counts.count(fate);
            source.pending -= 1;
        }
        source.newest = source.newest.wrapping_add(1);
        source.pending += 1;
        source.arrived <<= 1;
        source.discarded <<= 1;
    }

    fn flush(&mut self) {
        let Some(source) = self.source.take() else { return };
        (0..source.pending).rev().for_each(|behind| self.counts.count(source.fate(behind)));
    }
}

impl Source {
    fn mark(&mut self, behind: u32, played: bool) {
        // A second copy changes nothing.
        if self.arrived >> behind & 1 == 0 {
            self.arrived |= 1 << behind;
            self.discarded |= u64::from(!played) << behind;
        }
    }

    const fn fate(&self, behind: u32) -> Fate {
        match (self.arrived >> behind & 1, self.discarded >> behind & 1) {
            (0, _) => Fate::Lost,
            (_, 0) => Fate::Played,
            _ => Fate::Discarded,
        }
    }
}

impl Counts {
    /// RFC 3611 §4.7.2's algorithm.
    fn count(&mut self, fate: Fate) {
        self.packets += 1;
        match fate {
            Fate::Played => {
                self.pkt += 1;
                self.in_run = false;
                return;
            }
            Fate::Lost => self.losses += 1,
            Fate::Discarded => self.discards += 1,
        }
        self.runs += u64::from(!self.in_run);
        self.in_run = true;
        if self.pkt >= u64::from(GMIN) {
            if self.lost == 1 {
                self.c14 += 1
            } else {
                self.c13 += 1
            }
            self.lost = 1;
            self.c11 += self.pkt;
        } else {
            self.lost += 1;
            if self.pkt == 0 {
                self.c33 += 1;
            } else {
                self.c23 += 1;
                self.c22 += self.pkt - 1;
            }
        }
        self.pkt = 0;
    }

    fn figures(&self, packet_ms: f64) -> Figures {
        let [c11, c13, c14] = [self.c11, self.c13, self.c14].map(|count| count as f64);
        let [c22, c23, c33] = [self.c22, self.c23, self.c33].map(|count| count as f64);
        let (c31, c32) = (c13, c23);
        let total = c11 + c14 + c13 + c22 + c23 + c31 + c32 + c33;
        let ratio = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let p32 = ratio(c32, c31 + c32 + c33);
        let p23 = if c22 + c23 < 1.0 { 1.0 } else { 1.0 - c22 / (c22 + c23) };
        let in_bursts = c23 + c33 > 0.0;
        let (burst_ms, gap_ms) = if c13 > 0.0 {
            let gap = (c11 + c14 + c13) * packet_ms / c13;
            (total * packet_ms / c13 - gap, gap)
        } else {
            // No gap has ended yet: all is one.
            (0.0, self.packets as f64 * packet_ms)
        };
        let bad = self.losses + self.discards;
        let share = ratio(bad as f64, self.packets as f64);
        // Runs by chance are 1/(1 − p) long in the mean.
        let burst_ratio = if self.runs == 0 { 1.0 } else { bad as f64 / self.runs as f64 * (1.0 - share) };
        Figures {
            packets: self.packets,
            lost: self.losses,
            discarded: self.discards,
            burst_density: if in_bursts { p23 / (p23 + p32) } else { 0.0 },
            gap_density: ratio(c14, c11 + c14),
            burst_ms: burst_ms.max(0.0),
            gap_ms,
            burst_ratio: burst_ratio.max(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Plays a string: `.` arrives, `x` is lost, `d` is discarded.
    fn run(stream: &str) -> Figures {
        let mut bursts = Bursts::default();
        for (sequence, what) in (65_500u16..=u16::MAX).chain(0..).zip(stream.chars()) {
            match what {
                '.' => bursts.receive(sequence, true),
                'd' => bursts.receive(sequence, false),
                _ => {}
            }
        }
        bursts.figures(20.0)
    }

    fn good(count: usize) -> String {
        ".".repeat(count)
    }

    #[test]
    fn single_losses_are_of_a_gap_and_close_ones_of_a_burst() {
        let clean = run(&good(500));
        assert_eq!((clean.lost, clean.burst_ms, clean.gap_ms, clean.burst_ratio), (0, 0.0, 10_000.0, 1.0));

        let spread: String = (0..10).map(|_| good(49) + "x").collect();
        let spread = run(&(spread + &good(50)));
        assert_eq!((spread.lost, spread.burst_density), (10, 0.0));
        assert!((spread.gap_density - 0.02).abs() < 0.003, "{spread:?}");
        assert!((spread.burst_ratio - 1.0).abs() < 0.03);

        // Twenty times 100 packets and a burst of 10, of which every second is lost.
        let burst: String = (0..20).map(|_| good(100) + "x.x.x.x.xx").collect();
        let burst = run(&(burst + &good(100)));
        assert!((burst.burst_density - 0.6).abs() < 0.06, "{burst:?}");
        assert!((150.0..=200.0).contains(&burst.burst_ms), "{burst:?}");
        assert!((1_900.0..=2_100.0).contains(&burst.gap_ms), "{burst:?}");
        assert_eq!(burst.gap_density, 0.0);
    }

    #[test]
    fn runs_of_losses_have_a_high_burst_ratio() {
        let runs: String = (0..30).map(|_| good(95) + "xxxxx").collect();
        let figures = run(&(runs + &good(10)));
        assert!((figures.burst_ratio - 4.75).abs() < 0.1, "{figures:?}");
        assert!((figures.loss_percent() - 5.0).abs() < 0.1);
    }

    #[test]
    fn discarded_packets_count_beside_lost_ones() {
        let figures = run(&(good(50) + "d.d" + &good(50) + "x" + &good(50)));
        assert_eq!((figures.packets, figures.lost, figures.discarded), (154, 1, 2));
        let mut bursts = Bursts::default();
        (0..100).for_each(|sequence| bursts.receive(sequence, true));
        bursts.discard(90);
        bursts.discard(10);
        assert_eq!(bursts.figures(20.0).discarded, 1, "what is judged stays so");
    }

    #[test]
    fn order_duplicates_and_restarts_are_no_losses() {
        let mut bursts = Bursts::default();
        for sequence in [65_534, 0, 65_535, 65_535, 2, 3, 1, 4, 4] {
            bursts.receive(sequence, true);
        }
        let figures = bursts.figures(20.0);
        assert_eq!((figures.packets, figures.lost), (7, 0));
        bursts.receive(30_000, true);
        bursts.receive(30_002, true);
        let figures = bursts.figures(20.0);
        assert_eq!((figures.packets, figures.lost), (10, 1));
        assert_eq!(Bursts::default().figures(20.0).packets, 0);
    }

    /// RFC 3611 §4.7.2's own words, on the whole stream: a burst is the longest run between losses that holds no [`GMIN`] packets
    /// in a row.
    fn by_definition(fates: &[bool]) -> (u64, u64) {
        let losses: Vec<usize> = (0..fates.len()).filter(|&place| !fates[place]).collect();
        let (mut bursts, mut lost_in_bursts) = (0, 0);
        for run in losses.chunk_by(|a, b| b - a <= GMIN as usize) {
            if run.len() > 1 {
                bursts += 1;
                lost_in_bursts += run.len() as u64;
            }
        }
        (bursts, lost_in_bursts)
    }

    proptest! {
        #[test]
        fn all_packets_are_counted_and_densities_are_shares(
            fates in prop::collection::vec(prop::bool::weighted(0.9), 20..600), first: u16
        ) {
            let mut bursts = Bursts::default();
            let mut fates = fates;
            // The algorithm begins as if a burst had just been: a loss among the first packets is one of a burst to it.
            fates[..GMIN as usize].fill(true);
            *fates.last_mut().unwrap() = true;
            for (place, _) in fates.iter().enumerate().filter(|(_, arrived)| **arrived) {
                bursts.receive(first.wrapping_add(place as u16), true);
            }
            let figures = bursts.figures(20.0);
            let lost = fates.iter().filter(|arrived| !**arrived).count() as u64;
            prop_assert_eq!((figures.packets, figures.lost), (fates.len() as u64, lost));
            prop_assert!((0.0..=1.0).contains(&figures.burst_density) && (0.0..=1.0).contains(&figures.gap_density));
            let (_, in_bursts) = by_definition(&fates);
            prop_assert_eq!(figures.burst_density > 0.0, in_bursts > 0);
        }
    }
}
