//! Two walks side by side: wherever the same is done on both, whatever it is called, what follows is compared.

use std::collections::{BTreeMap, BTreeSet, VecDeque, btree_map::Entry};

use super::outcome::{self, HEARD_MAX, Kind, Leg, Sight, Sound, Stop, View};
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
    pairs.legs(None, &old.leg(&old.walk.next), &new.leg(&new.walk.next));
    while let Some(task) = pairs.todo.pop_front() {
        pairs.perform(task);
    }
    pairs.told()
}

fn start(path: Path<'_>) -> String {
    match path {
        Path::Flow(view) => view.text(&view.leg(&view.walk.next), 0),
        Path::Ends(ending) => ending.text(),
    }
}

/// A way out of a pair of stops, in words.
#[derive(Debug, Clone)]
struct Edge {
    from: usize,
    happens: String,
}

/// A pair of stops: both are places of one kind, or one is a place that the contact does not notice.
struct Pair {
    old: Stop,
    new: Stop,
    /// Their names.
    steps: (String, String),
    /// How it is reached, the nearest first.
    by: Vec<Option<Edge>>,
}

/// What is to be compared.
enum Task {
    /// Two places of one kind.
    Pair(usize),
    /// What follows a way.
    Legs(Option<Edge>, Leg, Leg),
}

/// What differs, before it is known by which ways it is reached.
struct Found {
    /// The pair of stops where it is noticed, or the way out of one. None: at the entry.
    at: Option<(usize, Option<String>)>,
    about: String,
    old: String,
    new: String,
}

/// Two steps, what happens there, and what differs.
type Told = (String, String, String, [String; 3]);

struct Pairs<'a> {
    old: View<'a>,
    new: View<'a>,
    pairs: Vec<Pair>,
    known: BTreeMap<(Stop, Stop), usize>,
    /// What can happen at each pair.
    ways: BTreeMap<usize, BTreeSet<String>>,
    todo: VecDeque<Task>,
    found: Vec<Found>,
    /// Coming round to a step again brings nothing new: what was told of it is not told twice. With the pairs at which it
    /// could have been told.
    seen: BTreeMap<Told, BTreeSet<usize>>,
    cut: usize,
}

impl<'a> Pairs<'a> {
    fn new(old: View<'a>, new: View<'a>) -> Self {
        Self {
            old,
            new,
            pairs: Vec::new(),
            known: BTreeMap::new(),
            ways: BTreeMap::new(),
            todo: VecDeque::new(),
            found: Vec::new(),
            seen: BTreeMap::new(),
            cut: 0,
        }
    }

    fn perform(&mut self, task: Task) {
        match task {
            Task::Pair(pair) => self.pair(pair),
            Task::Legs(by, old, new) => self.legs(by, &old, &new),
        }
    }

    fn kind(view: &View<'_>, stop: &Stop) -> Option<Kind> {
        if let Stop::Place(place) = stop { Some(view.sight(*place).kind) } else { None }
    }

    /// Compares what follows a way, up to where somebody decides.
    fn legs(&mut self, by: Option<Edge>, old: &Leg, new: &Leg) {
        let at = by.as_ref().map(|edge| (edge.from, Some(edge.happens.clone())));
        let kinds = (Self::kind(&self.old, &old.stop), Self::kind(&self.new, &new.stop));
        let unnoticed = |kind: Option<Kind>| kind.is_some_and(Kind::is_unnoticed);
        match (&old.stop, &new.stop) {
            (Stop::Cut, _) | (_, Stop::Cut) => self.cut += 1,
            (Stop::Place(_), Stop::Place(_)) if kinds.0 == kinds.1 => {
                self.heard(at.as_ref(), old, new);
                if let Some(pair) = self.reach(&old.stop, &new.stop, by) {
                    self.todo.push_back(Task::Pair(pair));
                }
            }
            (Stop::End(a), Stop::End(b)) if a == b => self.heard(at.as_ref(), old, new),
            (_, Stop::Place(place)) if unnoticed(kinds.1) => {
                let name = self.new.sight(*place).name.text;
                self.differ(at, "in between", "nothing".into(), name);
                self.pass(by, (old, new), false);
            }
            (Stop::Place(place), _) if unnoticed(kinds.0) => {
                let name = self.old.sight(*place).name.text;
                self.differ(at, "in between", name, "nothing".into());
                self.pass(by, (old, new), true);
            }
            (Stop::Place(_) | Stop::End(_), Stop::Place(_) | Stop::End(_)) => {
                let same = old.heard.iter().zip(&new.heard).take_while(|(a, b)| a == b).count();
                let (old, new) = (self.old.text(old, same), self.new.text(new, same));
                self.differ(at, "", old, new);
            }
        }
    }

    /// One side does what the contact does not notice: what follows there, whatever comes of it, is held against what
    /// follows on the other side.
    fn pass(&mut self, by: Option<Edge>, (old, new): (&Leg, &Leg), is_old: bool) {
        let Some(pair) = self.reach(&old.stop, &new.stop, by) else { return };
        let (view, leg) = if is_old { (self.old, old) } else { (self.new, new) };
        let Stop::Place(place) = &leg.stop else { return };
        for way in &view.walk.places[*place].ways {
            let Leg { heard, stop } = view.leg(&way.next);
            let further = Leg { heard: leg.heard.iter().cloned().chain(heard).collect(), stop };
            let happens = outcome::happens(way);
            self.ways.entry(pair).or_default().insert(happens.clone());
            let edge = Some(Edge { from: pair, happens });
            let (old, new) = if is_old { (further, new.clone()) } else { (old.clone(), further) };
            if old.heard.len().max(new.heard.len()) > HEARD_MAX {
                self.cut += 1;
            } else {
                self.todo.push_back(Task::Legs(edge, old, new));
            }
        }
    }

    /// The pair of two stops, if they are met for the first time.
    fn reach(&mut self, old: &Stop, new: &Stop, by: Option<Edge>) -> Option<usize> {
        let key = (old.clone(), new.clone());
        if let Some(known) = self.known.get(&key) {
            self.pairs[*known].by.push(by);
            return None;
        }
        if self.pairs.len() >= PAIRS_MAX {
            self.cut += 1;
            return None;
        }
        let pair = self.pairs.len();
        let step = |view: &View<'_>, stop: &Stop| match stop {
            Stop::Place(place) => view.walk.places[*place].step.clone(),
            Stop::End(_) | Stop::Cut => String::new(),
        };
        let steps = (step(&self.old, old), step(&self.new, new));
        self.pairs.push(Pair { old: key.0.clone(), new: key.1.clone(), steps, by: vec![by] });
        self.known.insert(key, pair);
        Some(pair)
    }

    /// Compares two places of one kind, and what can happen at them.
    fn pair(&mut self, pair: usize) {
        let Pair { old: Stop::Place(a), new: Stop::Place(b), .. } = &self.pairs[pair] else { return };
        let (a, b) = (*a, *b);
        let (old, new) = (self.old.sight(a), self.new.sight(b));
        self.sights(pair, &old, &new);
        let (before, after) = (self.old, self.new);
        for (a, b) in beside(&before.walk.places[a].ways, &after.walk.places[b].ways) {
            let Some(happens) = b.or(a).map(outcome::happens) else { continue };
            self.ways.entry(pair).or_default().insert(happens.clone());
            let at = Some((pair, Some(happens.clone())));
            let legs = (a.map(|way| before.leg(&way.next)), b.map(|way| after.leg(&way.next)));
            match legs {
                (Some(old), Some(new)) => self.legs(Some(Edge { from: pair, happens }), &old, &new),
                (Some(old), None) => self.differ(at, "", before.text(&old, 0), "not offered".into()),
                (None, Some(new)) => self.differ(at, "", "not offered".into(), after.text(&new, 0)),
                (None, None) => {}
            }
        }
    }

    fn sights(&mut self, pair: usize, old: &Sight, new: &Sight) {
        let at = Some((pair, None));
        if old.name != new.name {
            self.differ(at.clone(), "", old.name.text.clone(), new.name.text.clone());
            // Another queue is another queue: how it is run is told of one that stays.
            if old.kind == Kind::Queue {
                return;
            }
        } else if old.does != new.does {
            let text = |sight: &Sight| sight.does.as_ref().unwrap_or(&sight.name).text.clone();
            self.differ(at.clone(), "", text(old), text(new));
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
        let sounds = |leg: &Leg| leg.heard.iter().map(|heard| heard.sound.clone()).collect::<Vec<_>>();
        let (a, b) = (sounds(old), sounds(new));
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
    fn audio(&mut self, at: Option<&(usize, Option<String>)>, what: &str, old: &[Sound], new: &[Sound]) {
        if old == new {
            return;
        }
        let names = |view: &View<'_>, sounds: &[Sound]| {
            sounds.iter().map(|sound| view.sound(sound)).collect::<Vec<_>>()
        };
        if names(&self.old, old) != names(&self.new, new) {
            return self.differ(at.cloned(), what, self.old.heard(old), self.new.heard(new));
        }
        let (a, b) = (old.iter().flat_map(Sound::audio), new.iter().flat_map(Sound::audio));
        for (a, b) in a.zip(b).filter(|(a, b)| a != b) {
            let (Some(before), Some(after)) = (self.old.audio(a), self.new.audio(b)) else { continue };
            let (how, old, new) = outcome::content(before, after, (a, b));
            let about = format!("{what} {}, {how}", self.new.prompt(b));
            self.differ(at.cloned(), &about, old, new);
        }
    }

    fn differ(&mut self, at: Option<(usize, Option<String>)>, about: &str, old: String, new: String) {
        let found = Found { at, about: about.into(), old, new };
        let pairs = self.seen.entry(self.key(&found));
        let is_new = matches!(pairs, Entry::Vacant(_));
        pairs.or_default().extend(found.at.as_ref().map(|(pair, _)| *pair));
        if is_new {
            self.found.push(found);
        }
    }

    fn key(&self, found: &Found) -> Told {
        let at = found.at.as_ref();
        let steps =
            at.map(|(pair, outcome)| (self.steps(*pair).clone(), outcome.clone().unwrap_or_default()));
        let ((a, b), outcome) = steps.unwrap_or_default();
        (a, b, outcome, [found.about.clone(), found.old.clone(), found.new.clone()])
    }

    /// Whether it differs so at each pair of the same steps, whatever variables hold.
    fn is_everywhere(&self, found: &Found) -> bool {
        let Some((pair, _)) = &found.at else { return false };
        let steps = self.steps(*pair);
        let all = (0..self.pairs.len()).filter(|pair| self.steps(*pair) == steps).count();
        self.seen.get(&self.key(found)).is_some_and(|pairs| pairs.len() == all)
    }

    /// The way to a pair by which it was found.
    fn path(&self, pair: usize, everywhere: bool) -> Vec<String> {
        let mut path = Vec::new();
        let mut at = Some(pair);
        while let Some(pair) = at {
            let edge = self.pairs[pair].by.first().and_then(Option::as_ref);
            at = edge.map(|edge| {
                path.extend(self.matters(pair, edge, everywhere).then(|| edge.happens.clone()));
                edge.from
            });
        }
        path.reverse();
        path
    }

    /// Whether it matters what happens: not where whatever does leads here; `everywhere`, to the same steps is here.
    fn matters(&self, pair: usize, edge: &Edge, everywhere: bool) -> bool {
        let steps = self.steps(pair);
        let same = (0..self.pairs.len())
            .filter(|other| *other == pair || (everywhere && self.steps(*other) == steps));
        let edges = same.flat_map(|other| &self.pairs[other].by).flatten();
        let here: BTreeSet<&str> =
            edges.filter(|by| by.from == edge.from).map(|by| by.happens.as_str()).collect();
        here.len() == 1 || self.ways.get(&edge.from).is_some_and(|ways| here.len() < ways.len())
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
    fn paths(&self, pair: usize, everywhere: bool) -> Vec<Vec<String>> {
        let mut told = BTreeSet::new();
        let mut paths = Vec::new();
        for by in &self.pairs[pair].by {
            let Some(edge) = by else {
                paths.push(Vec::new());
                continue;
            };
            if told.insert((self.steps(edge.from), &edge.happens)) && !self.is_before(pair, edge.from) {
                let mut path = self.path(edge.from, everywhere);
                path.extend(self.matters(pair, edge, everywhere).then(|| edge.happens.clone()));
                if !paths.contains(&path) {
                    paths.push(path);
                }
            }
        }
        paths.truncate(PATHS_MAX);
        paths
    }

    fn steps(&self, pair: usize) -> &(String, String) {
        &self.pairs[pair].steps
    }

    fn told(self) -> Compared {
        let mut differences = Vec::new();
        for found in &self.found {
            let everywhere = self.is_everywhere(found);
            let paths = match &found.at {
                None => vec![Vec::new()],
                Some((pair, None)) => self.paths(*pair, everywhere),
                Some((pair, Some(happens))) => {
                    let mut paths = self.paths(*pair, everywhere);
                    paths.iter_mut().for_each(|path| path.push(happens.clone()));
                    paths
                }
            };
            let at = found.at.as_ref().map(|(pair, _)| self.steps(*pair).clone());
            let difference = |path: Vec<String>| Difference {
                at: at.clone().filter(|_| !path.is_empty()),
                path,
                about: found.about.clone(),
                old: found.old.clone(),
                new: found.new.clone(),
            };
            differences.extend(paths.into_iter().map(difference));
        }
        let reached = self.pairs.iter().map(|pair| pair.steps.clone()).collect();
        Compared { differences, reached, cut: self.cut }
    }
}

/// Ways of two places side by side, each at least once: those of equal outcomes. Of a service's answers those that are
/// most alike, since the sides may tell other answers apart.
fn beside<'w>(old: &'w [Way], new: &'w [Way]) -> Vec<(Option<&'w Way>, Option<&'w Way>)> {
    let mut pairs: Vec<(Option<&Way>, Option<&Way>)> = Vec::new();
    for way in old {
        pairs.push((Some(way), alike(way, new)));
    }
    for way in new {
        let is_met =
            |(_, other): &(Option<&Way>, Option<&Way>)| other.is_some_and(|other| std::ptr::eq(other, way));
        if !pairs.iter().any(is_met) {
            pairs.push((alike(way, old), Some(way)));
        }
    }
    pairs
}

/// Variables may have other names on the other side: values count, by their places.
fn alike<'w>(way: &Way, others: &'w [Way]) -> Option<&'w Way> {
    let value =
        |saved: &'_ String| saved.split_once(" = ").map_or(String::new(), |(_, value)| value.to_owned());
    let wanted: Vec<String> = way.saved.iter().map(value).collect();
    let score = |other: &Way| {
        let values = other.saved.iter().map(value);
        let points = wanted.iter().zip(values).map(|(wanted, found)| points(wanted, &found));
        points.sum::<i64>()
    };
    let same = others.iter().filter(|other| other.outcome == way.outcome);
    // The first of the best.
    same.rev().max_by_key(|other| score(other))
}

/// How alike two answers are: the same, one that stands for all others, or figures that lie near.
fn points(wanted: &str, found: &str) -> i64 {
    const SAME: i64 = 1 << 40;
    if wanted == found {
        return SAME;
    }
    match (wanted.parse::<i64>(), found.parse::<i64>()) {
        (Ok(wanted), Ok(found)) => (SAME / 2).saturating_sub_unsigned(wanted.abs_diff(found)).max(0),
        _ if found == "another" => SAME / 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk::Next;

    fn ways(outcomes: &[(&str, &[&str])]) -> Vec<Way> {
        let way = |(outcome, saved): &(&str, &[&str])| Way {
            outcome: (*outcome).into(),
            entered: None,
            saved: saved.iter().map(|saved| (*saved).into()).collect(),
            passed: Vec::new(),
            next: Next::Cut,
        };
        outcomes.iter().map(way).collect()
    }

    fn told(old: &[(&str, &[&str])], new: &[(&str, &[&str])]) -> String {
        let (old, new) = (ways(old), ways(new));
        let name = |way: Option<&Way>| way.map_or("–".into(), outcome::happens);
        let pairs = beside(&old, &new);
        let pairs: Vec<_> = pairs.into_iter().map(|(a, b)| format!("{} | {}", name(a), name(b))).collect();
        pairs.join(", ")
    }

    #[test]
    fn ways_are_held_beside_those_of_equal_outcomes() {
        assert_eq!(
            told(&[("choice 1", &[]), ("choice 2", &[])], &[("choice 2", &[]), ("choice 3", &[])]),
            "press 1 | –, press 2 | press 2, – | press 3"
        );
    }

    #[test]
    fn answers_are_held_beside_those_most_alike_whatever_variables_are_called() {
        assert_eq!(
            told(
                &[("answered", &["vip = true"]), ("answered", &["vip = false"]), ("failed", &[])],
                &[("answered", &["best = true"]), ("answered", &["best = false"]), ("failed", &[])],
            ),
            "vip = true | best = true, vip = false | best = false, failed | failed"
        );
        assert_eq!(
            told(
                &[("answered", &["tier = “gold”"]), ("answered", &["tier = another"])],
                &[
                    ("answered", &["tier = “gold”"]),
                    ("answered", &["tier = “silver”"]),
                    ("answered", &["tier = another"]),
                ],
            ),
            "tier = “gold” | tier = “gold”, tier = another | tier = another, tier = another | tier = “silver”"
        );
        assert_eq!(
            told(&[("answered", &[])], &[("answered", &["n = 0"]), ("answered", &["n = 7"])]),
            "answered | n = 0, answered | n = 7"
        );
    }
}
