use super::*;

fn trunk() -> TrunkId {
    TrunkId::new("acme", "provider")
}

fn wanted(expires_seconds: u32) -> BTreeMap<TrunkId, Register> {
    let register =
        Register { host: "sip.example.net".into(), port: None, user: "acme".into(), expires_seconds };
    [(trunk(), register)].into()
}

fn start() -> Now {
    #[expect(clippy::disallowed_methods, reason = "the one clock of the test")]
    let instant = Instant::now();
    Now { instant, wall: "2026-11-23T15:00:00Z".parse().unwrap() }
}

struct Twin {
    all: Registrations,
    now: Now,
    begin: Instant,
    told: Vec<String>,
}

impl Twin {
    fn new(seed: u64) -> Self {
        let now = start();
        let mut all = Registrations::new(seed);
        all.wish(now.instant, &wanted(3_600));
        Self { all, now, begin: now.instant, told: Vec::new() }
    }

    /// The next REGISTER: after how many seconds, for how long, and which attempt.
    fn next(&mut self) -> (u64, u32, u32) {
        for _ in 0..10 {
            while let Some(output) = self.all.poll() {
                match output {
                    Output::Send { expires_seconds, attempt, .. } => {
                        let passed = (self.now.instant - self.begin).as_secs();
                        self.begin = self.now.instant;
                        return (passed, expires_seconds, attempt);
                    }
                    Output::Changed { is_registered, because, .. } => {
                        self.told.push(format!("{is_registered}: {because}"));
                    }
                }
            }
            self.now.instant = self.now.instant.max(self.all.poll_timeout().unwrap());
            self.all.timeout(self.now);
        }
        panic!("nothing is sent")
    }

    fn reply(&mut self, reply: Reply) {
        self.all.replied(self.now, &trunk(), None, reply);
    }

    fn is_registered(&self) -> bool {
        self.all.standing(&trunk()).is_some_and(|standing| standing.since.is_some())
    }
}

fn granted(expires_seconds: u32) -> Reply {
    Reply::Granted { expires_seconds, service_route: vec!["<sip:edge.example.net;lr>".into()] }
}

#[test]
fn a_registration_is_refreshed_between_half_and_nine_tenths_of_its_time() {
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        let mut twin = Twin::new(seed);
        assert_eq!(twin.next(), (0, 3_600, 0));
        twin.reply(granted(1_000));
        let (passed, expires, attempt) = twin.next();
        assert!((500..=900).contains(&passed) && expires == 3_600 && attempt == 0, "{passed}");
        assert!(twin.is_registered());
        assert_eq!(twin.told, ["true: is registered for 1000 s"]);
        seen.insert(passed);
    }
    assert!(seen.len() > 20, "{seen:?}");
}

#[test]
fn too_brief_a_registration_is_asked_for_as_long_as_the_registrar_wants() {
    let mut twin = Twin::new(1);
    twin.next();
    twin.reply(Reply::TooBrief(7_200));
    assert_eq!(twin.next(), (0, 7_200, 0));
    // A registrar that says so of what it asked for itself, or wants forever, is one that refuses.
    twin.reply(Reply::TooBrief(7_200));
    let (passed, ..) = twin.next();
    assert!((30..=60).contains(&passed), "{passed}");
    twin.reply(Reply::TooBrief(u32::MAX));
    assert!(twin.next().0 >= 60);
}

/// RFC 5626 §4.5.
#[test]
fn failures_are_backed_off_from_half_a_minute_to_half_an_hour() {
    let mut twin = Twin::new(3);
    twin.next();
    let bounds =
        [(30, 60), (60, 120), (120, 240), (240, 480), (480, 960), (900, 1_800), (900, 1_800), (900, 1_800)];
    for (place, (least, most)) in bounds.into_iter().enumerate() {
        twin.reply(if place % 2 == 0 { Reply::Silent } else { Reply::Refused(503, None) });
        let (passed, _, attempt) = twin.next();
        assert!((least..=most).contains(&passed), "{place}: {passed}");
        assert_eq!(attempt as usize, place + 1);
    }
    twin.reply(granted(600));
    assert!(twin.next().0 <= 540);
    assert_eq!(twin.told, ["false: gets no answer from its registrar", "true: is registered for 600 s"]);
    // A registrar that says when to come again is heeded, within bounds.
    twin.reply(Reply::Refused(503, Some(100)));
    assert!(twin.is_registered());
}

#[test]
fn a_registration_lasts_until_its_time_is_over_even_if_refreshes_fail() {
    let mut twin = Twin::new(5);
    twin.next();
    twin.reply(granted(100));
    twin.next();
    let mut lost_after = 0;
    while twin.is_registered() {
        twin.reply(Reply::Refused(500, None));
        lost_after += twin.next().0;
        assert!(lost_after < 1_000);
    }
    assert!(twin.told.last().unwrap().starts_with("false: "), "{:?}", twin.told);
    assert!(lost_after >= 10, "{lost_after}");
}

#[test]
fn draining_takes_registrations_back_and_makes_no_new_ones() {
    let mut twin = Twin::new(5);
    twin.next();
    twin.reply(granted(100));
    assert_eq!(twin.all.standing(&trunk()).unwrap().service_route.len(), 1);
    twin.all.drain();
    assert_eq!(twin.next(), (0, 0, 0));
    twin.reply(granted(0));
    assert_eq!((twin.all.poll_timeout(), twin.is_registered()), (None, false));
    twin.all.wish(twin.now.instant, &wanted(60));
    assert_eq!(twin.all.poll_timeout(), None);
}

#[test]
fn what_changed_begins_anew_and_what_is_gone_ends() {
    let mut twin = Twin::new(5);
    twin.next();
    twin.reply(granted(100));
    twin.all.wish(twin.now.instant, &wanted(3_600));
    assert!(twin.is_registered());
    twin.all.wish(twin.now.instant, &wanted(60));
    assert!(!twin.is_registered());
    assert_eq!(twin.next().1, 60);
    twin.all.wish(twin.now.instant, &BTreeMap::new());
    twin.reply(granted(60));
    assert_eq!((twin.all.poll_timeout(), twin.all.standings().count()), (None, 0));
}
