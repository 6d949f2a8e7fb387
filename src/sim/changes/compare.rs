//! Two walks side by side: wherever the same is done on both, whatever it is called, what follows is compared.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::AudioId;

use super::outcome::{self, Leg, Sight, Stop, View};
use crate::walk::Way;

/// Most pairs of places that are compared.
pub const PAIRS_MAX: usize = 2_000;

/// Most ways to one difference that are told.
pub const PATHS_MAX: usize = 8;

/// Something that a contact notices.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// Steps before and after at which somebody decides before it is noticed. None: it comes by itself.
    pub at: Option<(String, String)>,
    /// What the contact and the callees do until it is noticed. Empty: nothing.
    pub path: Vec<String>,
    /// What about. Empty: all that comes.
    pub about: String,
    /// Before.
    pub old: String,
    /// After.
    pub new: String,
}

/// One side of a comparison: a flow that is walked, or why none is.
#[derive(Debug, Clone, Copy)]
pub enum Path<'a> {
    /// A flow takes the call.
    Flow(View<'a>),
    /// None does.
    Ends(outcome::Ending),
}

/// What a comparison comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// Nearest first.
    pub differences: Vec<Difference>,
    /// Steps, before and after, that were reached side by side.
    pub reached: BTreeSet<(String, String)>,
    /// How many pairs of places were left out, because a bound is reached.
    pub cut: usize,
}

/// All differences of two sides.
#[must_use]
pub fn compare(old: Path<'_>, new: Path<'_>) -> Compared {
    let (Path::Flow(old), Path::Flow(new)) = (old, new) else {
        let (old, new) = (start(old), start(new));
        let difference = Difference { at: None, path: Vec::new(), about: String::new(), old, new };
        let differences = if difference.old == difference.new { Vec::new() } else { vec![difference] };
        return Compared { differences, ..Compared::default() };
    };
    let mut pairs = Pairs::new(old, new);
    let legs = (old.leg(&old.walk.next), new.leg(&new.walk.next));
    pairs.leg(None, legs);
    while let Some(pair) = pairs.todo.pop_front() {
        pairs.pair(pair);
    }
    pairs.told()
}

fn start(path: Path<'_>) -> String {
    match path {
        Path::Flow(view) => view.text(&view.leg(&view.walk.next), 0),
        Path::Ends(ending) => ending.text(),
    }
}

/// A way out of a pair of places, by its outcome.
#[derive(Debug, Clone)]
struct Edge {
    from: usize,
    outcome: String,
}

/// A pair of places at which the same is done.
struct Pair {
    old: usize,
    new: usize,
    /// How it is reached, the nearest first.
    by: Vec<Option<Edge>>,
}

/// What differs, before it is known by which ways it is reached.
struct Found {
    /// The pair of places where it is noticed, or the way out of one. None: at the entry.
    at: Option<(usize, Option<String>)>,
    about: String,
    old: String,
    new: String,
}

struct Pairs<'a> {
    old: View<'a>,
    new: View<'a>,
    pairs: Vec<Pair>,
    known: BTreeMap<(usize, usize), usize>,
    todo: VecDeque<usize>,
    found: Vec<Found>,
    /// Coming round to a step again brings nothing new: what was told of it is not told twice.
    seen: BTreeSet<(String, String, String, [String; 3])>,
    cut: usize,
}

impl<'a> Pairs<'a> {
    fn new(old: View<'a>, new: View<'a>) -> Self {
        Self {
            old,
            new,
            pairs: Vec::new(),
            known: BTreeMap::new(),
            todo: VecDeque::new(),
            found: Vec::new(),
            seen: BTreeSet::new(),
            cut: 0,
        }
    }

    /// Compares what follows a way, up to where somebody decides.
    fn leg(&mut self, by: Option<Edge>, (old, new): (Leg, Leg)) {
        let at = by.as_ref().map(|edge| (edge.from, Some(edge.outcome.clone())));
        match (&old.stop, &new.stop) {
            (Stop::Place(a), Stop::Place(b)) if self.old.sight(*a).kind == self.new.sight(*b).kind => {
                let (a, b) = (*a, *b);
                self.heard(at.as_ref(), &old, &new);
                self.reach(a, b, by);
            }
            (Stop::End(a), Stop::End(b)) if a == b => self.heard(at.as_ref(), &old, &new),
            (Stop::Cut, _) | (_, Stop::Cut) => self.cut += 1,
            (Stop::Place(_) | Stop::End(_), Stop::Place(_) | Stop::End(_)) => {
                let same = old.heard.iter().zip(&new.heard).take_while(|(a, b)| a == b).count();
                let (old, new) = (self.old.text(&old, same), self.new.text(&new, same));
                self.differ(at, "", old, new);
            }
        }
    }

    fn reach(&mut self, old: usize, new: usize, by: Option<Edge>) {
        if let Some(known) = self.known.get(&(old, new)).copied() {
            self.pairs[known].by.push(by);
            return;
        }
        if self.pairs.len() >= PAIRS_MAX {
            self.cut += 1;
            return;
        }
        self.known.insert((old, new), self.pairs.len());
        self.todo.push_back(self.pairs.len());
        self.pairs.push(Pair { old, new, by: vec![by] });
    }

    /// Compares two places of one kind, and what can happen at them.
    fn pair(&mut self, pair: usize) {
        let (a, b) = (self.pairs[pair].old, self.pairs[pair].new);
        let (old, new) = (self.old.sight(a), self.new.sight(b));
        self.sights(pair, &old, &new);
        let old_ways: &[Way] = &self.old.walk.places[a].ways;
        let new_ways: &[Way] = &self.new.walk.places[b].ways;
        for way in old_ways {
            let other = new_ways.iter().find(|other| other.outcome == way.outcome);
            let leg = self.old.leg(&way.next);
            match other {
                Some(other) => {
                    let edge = Edge { from: pair, outcome: way.outcome.clone() };
                    self.leg(Some(edge), (leg, self.new.leg(&other.next)));
                }
                None => {
                    let at = Some((pair, Some(way.outcome.clone())));
                    self.differ(at, "", self.old.text(&leg, 0), "not offered".into());
                }
            }
        }
        for way in new_ways {
            if old_ways.iter().all(|other| other.outcome != way.outcome) {
                let at = Some((pair, Some(way.outcome.clone())));
                let leg = self.new.leg(&way.next);
                self.differ(at, "", "not offered".into(), self.new.text(&leg, 0));
            }
        }
    }

    fn sights(&mut self, pair: usize, old: &Sight, new: &Sight) {
        let at = Some((pair, None));
        if old.name != new.name {
            self.differ(at.clone(), "", old.name.text.clone(), new.name.text.clone());
        }
        let whats = old.aspects.iter().chain(&new.aspects).map(|(what, _)| *what);
        let mut told = BTreeSet::new();
        for what in whats {
            let of = |sight: &Sight| sight.aspects.iter().find(|(other, _)| *other == what).cloned();
            let (a, b) = (of(old), of(new));
            if a != b && told.insert(what) {
                let text =
                    |one: Option<(&str, outcome::Shown)>| one.map_or("none".into(), |(_, shown)| shown.text);
                self.differ(at.clone(), what, text(a), text(b));
            }
        }
        for ((what, a), (_, b)) in old.audio.iter().zip(&new.audio) {
            self.audio(at.as_ref(), what, a, b);
        }
    }

    fn heard(&mut self, at: Option<&(usize, Option<String>)>, old: &Leg, new: &Leg) {
        if old.heard == new.heard {
            return;
        }
        let ids = |leg: &Leg| leg.heard.iter().map(|heard| heard.audio).collect::<Vec<_>>();
        let (a, b) = (ids(old), ids(new));
        if a == b {
            let when = |leg: &Leg| {
                let early = leg.heard.iter().any(|heard| heard.early);
                if early { "before the call is answered" } else { "once the call is answered" }.to_owned()
            };
            let about = format!("hears {}", self.new.heard(&b));
            return self.differ(at.cloned(), &about, when(old), when(new));
        }
        self.audio(at, "hears", &a, &b);
    }

    /// What is heard: other prompts, or prompts of the same names with another content.
    fn audio(&mut self, at: Option<&(usize, Option<String>)>, what: &str, old: &[AudioId], new: &[AudioId]) {
        if old == new {
            return;
        }
        let names =
            |view: &View<'_>, ids: &[AudioId]| ids.iter().map(|id| view.prompt(id)).collect::<Vec<_>>();
        if names(&self.old, old) != names(&self.new, new) {
            return self.differ(at.cloned(), what, self.old.heard(old), self.new.heard(new));
        }
        for (a, b) in old.iter().zip(new).filter(|(a, b)| a != b) {
            let (Some(before), Some(after)) = (self.old.audio(a), self.new.audio(b)) else { continue };
            let (how, old, new) = outcome::content(before, after, (a, b));
            let about = format!("{what} {}, {how}", self.new.prompt(b));
            self.differ(at.cloned(), &about, old, new);
        }
    }

    fn differ(&mut self, at: Option<(usize, Option<String>)>, about: &str, old: String, new: String) {
        let steps =
            at.as_ref().map(|(pair, outcome)| (self.steps(*pair), outcome.clone().unwrap_or_default()));
        let ((a, b), outcome) = steps.unwrap_or_default();
        if self.seen.insert((a, b, outcome, [about.into(), old.clone(), new.clone()])) {
            self.found.push(Found { at, about: about.into(), old, new });
        }
    }

    /// The way to a pair by which it was found.
    fn path(&self, pair: usize) -> Vec<String> {
        let mut path = Vec::new();
        let mut at = Some(pair);
        while let Some(pair) = at {
            let edge = self.pairs[pair].by.first().cloned().flatten();
            at = edge.map(|edge| {
                path.push(outcome::outcome(&edge.outcome));
                edge.from
            });
        }
        path.reverse();
        path
    }

    fn is_before(&self, pair: usize, later: usize) -> bool {
        let mut at = Some(later);
        while let Some(place) = at {
            if place == pair {
                return true;
            }
            at = self.pairs[place].by.first().cloned().flatten().map(|edge| edge.from);
        }
        false
    }

    /// All ways to a pair that tell something new: not those that come round again.
    fn paths(&self, pair: usize) -> Vec<Vec<String>> {
        let mut told = BTreeSet::new();
        let mut paths = Vec::new();
        for by in &self.pairs[pair].by {
            let Some(edge) = by else {
                paths.push(Vec::new());
                continue;
            };
            let from = &self.pairs[edge.from];
            let steps = (&self.old.walk.places[from.old].step, &self.new.walk.places[from.new].step);
            if told.insert((steps, &edge.outcome)) && !self.is_before(pair, edge.from) {
                let mut path = self.path(edge.from);
                path.push(outcome::outcome(&edge.outcome));
                paths.push(path);
            }
        }
        paths.truncate(PATHS_MAX);
        paths
    }

    fn steps(&self, pair: usize) -> (String, String) {
        let pair = &self.pairs[pair];
        let (old, new) = (&self.old.walk.places[pair.old], &self.new.walk.places[pair.new]);
        (old.step.clone(), new.step.clone())
    }

    fn told(self) -> Compared {
        let mut differences = Vec::new();
        for found in &self.found {
            let paths = match &found.at {
                None => vec![Vec::new()],
                Some((pair, None)) => self.paths(*pair),
                Some((pair, Some(outcome))) => {
                    let mut paths = self.paths(*pair);
                    paths.iter_mut().for_each(|path| path.push(outcome::outcome(outcome)));
                    paths
                }
            };
            let at = found.at.as_ref().map(|(pair, _)| self.steps(*pair));
            let difference = |path: Vec<String>| Difference {
                at: at.clone().filter(|_| !path.is_empty()),
                path,
                about: found.about.clone(),
                old: found.old.clone(),
                new: found.new.clone(),
            };
            differences.extend(paths.into_iter().map(difference));
        }
        let reached = (0..self.pairs.len()).map(|pair| self.steps(pair)).collect();
        Compared { differences, reached, cut: self.cut }
    }
}
