//! Two endpoints and a bad network.

use super::*;

/// Everything that a call can do, under 30 % loss, for hundreds of seeds.
#[test]
fn every_call_leaves_both_sides_empty() {
    for seed in 0..1_400 {
        let transport = if seed < 1_000 { Transport::Udp } else { Transport::Tcp };
        let mut pair = Pair::new(epoch(), transport, Net::BAD, seed);
        if seed % 3 == 0 {
            pair.extend(Extensions { transfers: true, ..Extensions::default() });
        }
        let mut ended = [0, 0];
        let invite = pair.invite_from(0, Some(OFFER));
        let caller = pair.ends[0].invite(pair.now, invite).unwrap();
        pair.settle(|pair, side, event| {
            let now = pair.now;
            match event {
                Event::Invited { leg, .. } => answer_somehow(pair, seed, caller, leg),
                Event::Confirmed { leg, .. } if seed % 7 == 3 => {
                    let _busy = pair.ends[1].reinvite(now, leg, bytes("v=0\r\nhold"));
                }
                Event::Answered { leg, .. } if seed % 7 == 4 => {
                    pair.ends[0].reinvite(now, leg, bytes("v=0\r\n")).unwrap()
                }
                Event::Answered { leg, .. } if seed % 2 == 0 => pair.ends[0].bye(now, leg, &[]).unwrap(),
                Event::Confirmed { leg, .. } => pair.ends[1].bye(now, leg, &[]).unwrap(),
                Event::Reinvited { leg, .. } => {
                    pair.ends[side].answer_reinvite(now, leg, bytes(ANSWER)).unwrap()
                }
                Event::ReinviteAnswered { leg, .. } | Event::ReinviteFailed { leg, .. } => {
                    pair.ends[side].bye(now, leg, &[]).unwrap();
                }
                Event::Ended { .. } => ended[side] += 1,
                Event::Progress { .. } | Event::Info { .. } | Event::Answered { .. } => {}
                Event::ProgressConfirmed { .. } | Event::Refused { .. } => {}
                _ => panic!("{event:?}"),
            }
        });
        // Whose peer is gone cannot know it until it says something itself: such a call is held, or rings, for ever.
        if !pair.is_empty() {
            hang_up_what_is_left(&mut pair, caller);
        }
        assert!(pair.is_empty(), "{seed} {:?}", pair.trace);
        assert!(ended[0] <= 1, "{seed}");
    }
}

fn answer_somehow(pair: &mut Pair, seed: u64, caller: LegId, leg: LegId) {
    let now = pair.now;
    let callee = &mut pair.ends[1];
    match seed % 7 {
        0 => callee.reject(now, leg, 486, None, &[]).unwrap(),
        1 => pair.ends[0].cancel(now, caller, &[]).unwrap_or(()),
        2 => {
            callee.accept(now, leg, bytes(ANSWER), &[]).unwrap();
            pair.ends[0].cancel(now, caller, &[]).unwrap_or(());
        }
        5 => {
            callee.accept(now, leg, bytes(ANSWER), &[]).unwrap();
            callee.bye(now, leg, &[]).unwrap();
        }
        _ => {
            callee.provisional(now, leg, 183, Some(bytes(ANSWER)), &[]).unwrap();
            callee.accept(now, leg, bytes(ANSWER), &[]).unwrap();
        }
    }
}

fn hang_up_what_is_left(pair: &mut Pair, caller: LegId) {
    let _gone = pair.ends[0].bye(pair.now, caller, &[]);
    let _gone = pair.ends[1].bye(pair.now, LegId(1), &[]);
    let _gone = pair.ends[1].reject(pair.now, LegId(1), 480, None, &[]);
    pair.settle(|_, _, _| {});
}
