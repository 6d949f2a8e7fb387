//! What an object's status says: conditions, their reasons, and whether what stands there must be written anew.
//!
//! Pure. [`Shown`] is a status as the API server has it, in a hundred and some octets, for there may be a hundred thousand;
//! [`Wanted`] is what it should say. A status never depends on the time of day: `lastTransitionTime` is carried over from
//! what is shown, and moves only with a condition's `status`.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use plan::Reason as PlanReason;
use serde_json::{Value, json};

/// Longest message that the API takes is 32,768; this is one that people read.
const MESSAGE_MAX: usize = 1_024;

/// The conditions, in the order in which they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// The object itself is right.
    Accepted,
    /// All it refers to exists and admits it.
    ResolvedRefs,
    /// Every pod that must know it has it.
    Programmed,
    /// The summary.
    Ready,
}

impl ConditionType {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::Accepted, Self::ResolvedRefs, Self::Programmed, Self::Ready];

    /// As the API has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::Programmed => "Programmed",
            Self::Ready => "Ready",
        }
    }
}

/// A condition's `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Truth {
    /// `True`.
    True,
    /// `False`.
    False,
    /// `Unknown`.
    Unknown,
}

impl Truth {
    /// As the API has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    fn read(text: &str) -> Option<Self> {
        [Self::True, Self::False, Self::Unknown].into_iter().find(|truth| truth.as_str() == text)
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident)*) => {
        /// Why a condition is what it is, besides the reasons that planning gives. Closed: people write alerts on these words.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
            /// What planning found: see [`plan::Reason`].
            Plan(PlanReason),
        }

        impl Reason {
            /// Every reason but those of planning.
            pub const OWN: &'static [Self] = &[$(Self::$name),*];

            /// As it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                    Self::Plan(reason) => reason.as_str(),
                }
            }
        }
    };
}

reasons! {
    /// Accepted=True: nothing is wrong with the object itself.
    Accepted
    /// ResolvedRefs=True: all it refers to exists and admits it.
    ResolvedRefs
    /// Programmed=True: every pod that must know this generation has acknowledged it.
    Programmed
    /// Ready=True: all other conditions are.
    Ready
    /// Programmed=False: pods are being told.
    Pending
    /// Programmed=False: there is no pod that could be told.
    NoPods
    /// Programmed=False: no VoiceCluster serves the object's namespace.
    NoCluster
    /// Programmed=False: a pod has refused the snapshot that holds it; what it had goes on.
    SnapshotRefused
    /// Programmed=False: the object is wrong, and its last good form, of `status.programmedGeneration`, stays live.
    LastGoodKept
    /// Programmed=False: the object is wrong, and there is no earlier form that could stay live.
    NotLive
    /// Programmed=Unknown, of a VoiceCluster alone: a pod that was ready has been silent for 10 seconds.
    PodUnreachable
}

/// A condition as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its status.
    pub truth: Truth,
    /// Its reason.
    pub reason: Reason,
    /// A sentence.
    pub message: String,
}

impl Condition {
    /// One condition; a message too long is cut.
    #[must_use]
    pub fn new(truth: Truth, reason: Reason, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_MAX {
            let end =
                (0..=MESSAGE_MAX - 3).rev().find(|at| message.is_char_boundary(*at)).unwrap_or_default();
            message.truncate(end);
            message.push('…');
        }
        Self { truth, reason, message }
    }
}

/// What a status should say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The generation that all of it speaks of.
    pub generation: i64,
    /// The generation that calls follow.
    pub programmed_generation: Option<i64>,
    /// Whether the object itself is right.
    pub accepted: Condition,
    /// Whether what it refers to is.
    pub resolved_refs: Condition,
    /// Whether pods have it. None: no pod needs it.
    pub programmed: Option<Condition>,
}

impl Wanted {
    /// A condition; `Ready` is made of the others.
    #[must_use]
    pub fn condition(&self, of: ConditionType) -> Option<Condition> {
        match of {
            ConditionType::Accepted => Some(self.accepted.clone()),
            ConditionType::ResolvedRefs => Some(self.resolved_refs.clone()),
            ConditionType::Programmed => self.programmed.clone(),
            ConditionType::Ready => Some(self.ready()),
        }
    }

    /// The first that is not True decides.
    fn ready(&self) -> Condition {
        let all = [Some(&self.accepted), Some(&self.resolved_refs), self.programmed.as_ref()];
        let bad = all.into_iter().flatten().find(|condition| condition.truth != Truth::True);
        bad.cloned().unwrap_or_else(|| {
            let message = if self.programmed.is_some() {
                "Nothing is wrong with it, and its pods have it."
            } else {
                "Nothing is wrong with it."
            };
            Condition::new(Truth::True, Reason::Ready, message)
        })
    }

    /// Whether it is only being told to pods, and nothing else is to be said.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.programmed.as_ref().is_some_and(|condition| condition.reason == Reason::Pending)
            && self.accepted.truth == Truth::True
            && self.resolved_refs.truth == Truth::True
    }

    /// Whether what stands there says this already.
    #[must_use]
    pub fn is_shown(&self, shown: &Shown) -> bool {
        shown.observed_generation == Some(self.generation)
            && shown.programmed_generation == self.programmed_generation
            && !shown.foreign
            && ConditionType::ALL.into_iter().all(|of| match (self.condition(of), shown.get(of)) {
                (Some(wanted), Some(there)) => {
                    there.says(&wanted) && there.observed_generation == self.generation
                }
                (None, None) => true,
                _ => false,
            })
    }

    /// The body of a server-side apply of the status.
    #[must_use]
    pub fn apply(&self, api_version: &str, kind: &str, name: &str, shown: &Shown, now: Timestamp) -> Value {
        let conditions = ConditionType::ALL.into_iter().filter_map(|of| {
            let condition = self.condition(of)?;
            let there = shown.get(of).filter(|there| there.truth == condition.truth);
            let since = there.and_then(|there| Timestamp::from_second(there.since).ok()).unwrap_or(now);
            Some(json!({
                "type": of.as_str(),
                "status": condition.truth.as_str(),
                "reason": condition.reason.as_str(),
                "message": condition.message,
                "observedGeneration": self.generation,
                "lastTransitionTime": second(since),
            }))
        });
        let mut status = json!({
            "observedGeneration": self.generation,
            "conditions": conditions.collect::<Vec<_>>(),
        });
        if let Some(generation) = self.programmed_generation {
            status["programmedGeneration"] = generation.into();
        }
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "status": status})
    }
}

/// RFC 3339 without fractions, as `metav1.Time` is.
fn second(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// A condition as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct There {
    /// Its status.
    pub truth: Truth,
    /// Of reason and message.
    words: u64,
    /// Whether its reason is that pods are being told, or that there are none.
    pub waiting: bool,
    /// The generation that it speaks of; 0 if it does not say.
    pub observed_generation: i64,
    /// Seconds since 1970.
    since: i64,
}

/// A status as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shown {
    /// `observedGeneration`.
    pub observed_generation: Option<i64>,
    /// `programmedGeneration`.
    pub programmed_generation: Option<i64>,
    conditions: [Option<There>; 4],
    /// Whether one of our conditions stands there in a form that we do not write.
    foreign: bool,
}

impl There {
    /// Whether it says just this.
    #[must_use]
    pub fn says(&self, condition: &Condition) -> bool {
        self.truth == condition.truth && self.words == words(condition.reason.as_str(), &condition.message)
    }
}

fn words(reason: &str, message: &str) -> u64 {
    let mut hash = DefaultHasher::new();
    (reason, message).hash(&mut hash);
    hash.finish()
}

impl Shown {
    /// Reads an object's `status`. Whatever is not as we write it is as good as not there.
    #[must_use]
    pub fn read(status: &Value) -> Self {
        let mut shown = Self {
            observed_generation: status.get("observedGeneration").and_then(Value::as_i64),
            programmed_generation: status.get("programmedGeneration").and_then(Value::as_i64),
            ..Self::default()
        };
        for condition in status.get("conditions").and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| condition.get(name).and_then(Value::as_str);
            let of = ConditionType::ALL.into_iter().find(|of| text("type") == Some(of.as_str()));
            let Some(of) = of else { continue };
            let truth = text("status").and_then(Truth::read);
            let since = text("lastTransitionTime").and_then(|time| time.parse::<Timestamp>().ok());
            let (Some(truth), Some(since)) = (truth, since) else {
                shown.foreign = true;
                continue;
            };
            let reason = text("reason").unwrap_or_default();
            let waiting = [Reason::Pending, Reason::NoPods].iter().any(|waits| waits.as_str() == reason);
            shown.conditions[of as usize] = Some(There {
                truth,
                words: words(reason, text("message").unwrap_or_default()),
                waiting,
                observed_generation: condition
                    .get("observedGeneration")
                    .and_then(Value::as_i64)
                    .unwrap_or_default(),
                since: since.as_second(),
            });
        }
        shown
    }

    /// A condition, if it stands there.
    #[must_use]
    pub const fn get(&self, of: ConditionType) -> Option<There> {
        self.conditions[of as usize]
    }
}

/// A transition that people are told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// Whether something went wrong (`Warning`), or came right (`Normal`).
    pub warning: bool,
    /// As in the condition.
    pub reason: Reason,
    /// The condition that moved.
    pub condition: ConditionType,
    /// As in the condition.
    pub message: String,
}

/// What people are told of when a status goes from what is shown to what is wanted: conditions that turned or that are wrong
/// for another reason, none for a first success, none for what only takes its time.
#[must_use]
pub fn transitions(shown: &Shown, wanted: &Wanted, cluster: bool) -> Vec<Transition> {
    let told = [ConditionType::Accepted, ConditionType::ResolvedRefs, ConditionType::Programmed];
    let mut transitions: Vec<Transition> = Vec::new();
    for of in told {
        let Some(condition) = wanted.condition(of) else { continue };
        let before = shown.get(of);
        let right = condition.truth == Truth::True;
        let turned = match before {
            None => !right,
            Some(there) => {
                there.truth != condition.truth
                    || (!right && there.words != words(condition.reason.as_str(), &condition.message))
            }
        };
        // What pods have is told of the cluster alone: it is one fact, not one of each of a hundred thousand numbers.
        let waits = matches!(condition.reason, Reason::Pending | Reason::LastGoodKept | Reason::NotLive);
        let waited = before.is_none_or(|there| there.waiting);
        let told = match of {
            ConditionType::Programmed => cluster && !waits && !(right && waited),
            ConditionType::Accepted | ConditionType::ResolvedRefs | ConditionType::Ready => true,
        };
        if turned && told {
            transitions.push(Transition {
                warning: !right,
                reason: condition.reason,
                condition: of,
                message: condition.message,
            });
        }
    }
    transitions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yes(reason: Reason) -> Condition {
        Condition::new(Truth::True, reason, "It is right.")
    }

    fn programmed() -> Wanted {
        Wanted {
            generation: 3,
            programmed_generation: Some(3),
            accepted: yes(Reason::Accepted),
            resolved_refs: yes(Reason::ResolvedRefs),
            programmed: Some(yes(Reason::Programmed)),
        }
    }

    fn wrong(reason: PlanReason) -> Condition {
        Condition::new(Truth::False, Reason::Plan(reason), "spec.flowRef: there is no RoutingFlow acme/mian.")
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn written(wanted: &Wanted, shown: &Shown, now: Timestamp) -> Value {
        wanted.apply(api::API_VERSION, "PhoneNumber", "main", shown, now)["status"].clone()
    }

    #[test]
    fn what_was_written_is_shown() {
        let wanted = programmed();
        let shown = Shown::read(&written(&wanted, &Shown::default(), now()));
        assert!(wanted.is_shown(&shown));
        for change in [
            Wanted { generation: 4, ..programmed() },
            Wanted { programmed_generation: Some(2), ..programmed() },
            Wanted { programmed: None, ..programmed() },
            Wanted { resolved_refs: wrong(PlanReason::FlowNotFound), ..programmed() },
            Wanted {
                accepted: Condition::new(Truth::True, Reason::Accepted, "Other words."),
                ..programmed()
            },
        ] {
            assert!(!change.is_shown(&shown), "{change:?}");
        }
    }

    #[test]
    fn a_transition_time_moves_with_the_status_alone() {
        let wanted = Wanted { resolved_refs: wrong(PlanReason::FlowNotFound), ..programmed() };
        let first = Shown::read(&written(&programmed(), &Shown::default(), now()));
        let later = Timestamp::from_second(now().as_second() + 60).unwrap();
        let status = written(&wanted, &first, later);
        let times: Vec<&str> = status["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["lastTransitionTime"].as_str().unwrap())
            .collect();
        let (old, new) = (now().to_string(), later.to_string());
        assert_eq!(times, [&old, &new, &old, &new], "Accepted, ResolvedRefs, Programmed, Ready");
    }

    #[test]
    fn the_first_that_is_wrong_is_why_it_is_not_ready() {
        let wanted = Wanted { resolved_refs: wrong(PlanReason::FlowNotFound), ..programmed() };
        assert_eq!(wanted.condition(ConditionType::Ready), Some(wrong(PlanReason::FlowNotFound)));
        assert_eq!(programmed().condition(ConditionType::Ready).unwrap().reason, Reason::Ready);
    }

    #[test]
    fn events_tell_of_transitions_and_never_of_a_first_success() {
        let fresh = Shown::default();
        let good = Shown::read(&written(&programmed(), &fresh, now()));
        let bad = Wanted { resolved_refs: wrong(PlanReason::FlowNotFound), ..programmed() };
        let bad_shown = Shown::read(&written(&bad, &fresh, now()));
        let pending = Wanted {
            programmed: Some(Condition::new(Truth::False, Reason::Pending, "1 of 2 pods have it.")),
            ..programmed()
        };
        let silent = Wanted {
            programmed: Some(Condition::new(Truth::Unknown, Reason::PodUnreachable, "edge pod a is silent.")),
            ..programmed()
        };
        let rows = [
            ("first success", &fresh, &programmed(), true, vec![]),
            ("first sight of something wrong", &fresh, &bad, false, vec![(true, "FlowNotFound")]),
            ("turned wrong", &good, &bad, false, vec![(true, "FlowNotFound")]),
            ("still wrong", &bad_shown, &bad, false, vec![]),
            ("came right", &bad_shown, &programmed(), false, vec![(false, "ResolvedRefs")]),
            ("takes its time", &good, &pending, true, vec![]),
            ("a number is not told of pods", &good, &silent, false, vec![]),
            ("a cluster is", &good, &silent, true, vec![(true, "PodUnreachable")]),
        ];
        for (what, shown, wanted, cluster, told) in rows {
            let transitions = transitions(shown, wanted, cluster);
            let found: Vec<_> = transitions.iter().map(|one| (one.warning, one.reason.as_str())).collect();
            assert_eq!(found, told, "{what}");
        }
    }

    #[test]
    fn a_status_that_somebody_else_mangled_is_written_anew() {
        let mut status = written(&programmed(), &Shown::default(), now());
        status["conditions"][0]["lastTransitionTime"] = "yesterday".into();
        assert!(!programmed().is_shown(&Shown::read(&status)));
        assert!(!programmed().is_shown(&Shown::read(&Value::Null)));
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let condition = Condition::new(Truth::False, Reason::Pending, "ü".repeat(2_000));
        assert!(condition.message.len() <= MESSAGE_MAX && condition.message.ends_with('…'));
    }
}
