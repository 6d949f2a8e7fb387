//! Mistakes that can be made on purpose, one at a time, to see whether whoever looks for mistakes finds them.
//!
//! **In production there are none**: without the feature `mutants`, which no crate of the workspace turns on, [`is`] is a
//! constant, and nothing is global. With it a thread has one of them, or none. Each stands at one place of `acd` or `call`, where
//! `mutant!` names it.

/// A mistake. What is said of it is what it does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// An offer that nobody answers does not end.
    LostOfferTimeout,
    /// There is no time for the work after a contact.
    ForgottenWrapUp,
    /// The work after a contact does not end by itself.
    EndlessWrapUp,
    /// Who is answered waits on all the same.
    DoubleAccept,
    /// Waiting makes a contact less important.
    ReversedAgeing,
    /// Who is less important goes first.
    ReversedPriority,
    /// Who came last goes first.
    LastComeFirst,
    /// Agents' ranks of queues count for nothing.
    RankIgnored,
    /// The queue that wants the best agent takes the worst.
    WorstAgentFirst,
    /// An agent who was busy counts as idle since before.
    IdleSinceForever,
    /// What is enough never becomes less.
    NeverRelaxes,
    /// Who declines is asked again at once.
    ForgottenDecline,
    /// An agent has room for any number of contacts.
    CapacityIgnored,
    /// Who lets an offer ring out is rung again and again.
    ForgottenMiss,
    /// A queue takes any number of contacts.
    FullIgnored,
    /// A contact whose offer came to nothing goes to the end.
    LostPlace,
    /// A wait has no end.
    LostWaitTimeout,
    /// Who signs out is rung on.
    RungAfterSignOut,
    /// A busy agent's time counts for nothing.
    OccupancyForgotten,
    /// A promise does not keep the place.
    CallbackLosesPlace,
    /// The agent who hands a contact on in vain is offered it at once.
    SenderForgotten,
    /// A contact that hangs up waits on.
    LostAbandon,
    /// A telephone whose call is over rings on.
    LostCancel,
    /// A telephone whose call is over is not hung up.
    LostBye,
    /// A leg's ports are not given back.
    LostRelease,
    /// A CANCEL of the caller changes nothing.
    CancelIgnored,
    /// Whoever is held hears on.
    HoldIgnored,
    /// Whoever is fetched back hears nothing.
    RetrieveIgnored,
    /// A contact that comes back from nobody hears nothing.
    ReturnUnjoined,
    /// Whoever has handed on stays.
    ReferrerStays,
    /// The floor is not told that an agent is free.
    ForgottenRelease,
    /// The floor is not told that an agent talks.
    ForgottenTake,
    /// A call that is over counts for its number's cap.
    CapKept,
    /// Who hung up is not whom the record names.
    WrongEndedBy,
    /// The record knows nothing of waits that were given up.
    VisitForgotten,
    /// The record says of nobody that he waited.
    WrongWait,
    /// A telephone that nobody answers rings on.
    LostRingTimeout,
    /// A service that does not answer is waited for.
    LostRequestTimeout,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 38] = [
        Self::LostOfferTimeout,
        Self::ForgottenWrapUp,
        Self::EndlessWrapUp,
        Self::DoubleAccept,
        Self::ReversedAgeing,
        Self::ReversedPriority,
        Self::LastComeFirst,
        Self::RankIgnored,
        Self::WorstAgentFirst,
        Self::IdleSinceForever,
        Self::NeverRelaxes,
        Self::ForgottenDecline,
        Self::CapacityIgnored,
        Self::ForgottenMiss,
        Self::FullIgnored,
        Self::LostPlace,
        Self::LostWaitTimeout,
        Self::RungAfterSignOut,
        Self::OccupancyForgotten,
        Self::CallbackLosesPlace,
        Self::SenderForgotten,
        Self::LostAbandon,
        Self::LostCancel,
        Self::LostBye,
        Self::LostRelease,
        Self::CancelIgnored,
        Self::HoldIgnored,
        Self::RetrieveIgnored,
        Self::ReturnUnjoined,
        Self::ReferrerStays,
        Self::ForgottenRelease,
        Self::ForgottenTake,
        Self::CapKept,
        Self::WrongEndedBy,
        Self::VisitForgotten,
        Self::WrongWait,
        Self::LostRingTimeout,
        Self::LostRequestTimeout,
    ];
}

#[cfg(feature = "mutants")]
std::thread_local! {
    static CHOSEN: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// From now on this thread makes that mistake, or none.
#[cfg(feature = "mutants")]
pub fn choose(mutant: Option<Mutant>) {
    CHOSEN.set(mutant);
}

/// Whether that mistake is to be made.
#[cfg(feature = "mutants")]
#[must_use]
pub fn is(mutant: Mutant) -> bool {
    CHOSEN.get() == Some(mutant)
}

/// Whether that mistake is to be made: never.
#[cfg(not(feature = "mutants"))]
#[must_use]
#[inline(always)]
pub const fn is(_: Mutant) -> bool {
    false
}

/// Whether the mistake of that name is to be made here.
#[macro_export]
macro_rules! mutant {
    ($name:ident) => {
        $crate::mutants::is($crate::mutants::Mutant::$name)
    };
}
