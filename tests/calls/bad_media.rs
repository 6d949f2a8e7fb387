//! What no telephone should send and no disk should do, in running calls: each is defined and counted, and a call beside loses nothing.
//!
//! Where each kind of bad input is shown; `media:` is `src/media/tests/media`.
//!
//! | what | where |
//! | --- | --- |
//! | RTP of a wrong version, padding longer than the packet, an extension or contributors beyond its end, half a header, too long | here, `media: broken::malformed_packets_are_counted_and_not_relayed`, fuzz target `rtp` |
//! | a payload type that was never agreed on | here, `media: broken::strange_streams_stay_streams` |
//! | a collision and a change of SSRC; sequence numbers that wrap and begin anew; jumps of the timestamp | here, `media: broken::strange_streams_stay_streams`, `broken::a_collision_of_sources_and_ten_times_the_rate_are_carried` |
//! | ten times the rate | here, `media: broken::a_collision_of_sources_and_ten_times_the_rate_are_carried` |
//! | packets of a third party | here, `media: main::a_stranger_is_discarded_and_another_port_of_the_peer_is_found`, `sharing::a_stranger_at_a_shared_port_is_heard_by_nobody` |
//! | malformed RTCP, a BYE of nobody | here, `media: broken::broken_reports_are_counted_and_a_bye_of_nobody_ends_nothing`, fuzz target `rtcp` |
//! | SRTP with a wrong key, forged, replayed | `media: secure::what_is_forged_replayed_or_plain_is_counted_and_harms_nobody`, fuzz target `srtp` |
//! | SDP with port 0, `inactive`, another address | here, `switching::another_address_and_another_codec_go_on_with_the_same_stream`, `media: broken::a_refused_stream_and_a_changed_address_are_what_they_say` |
//! | broken and huge files of sound | `src/media/library.rs` (`what_cannot_be_played_is_refused_with_its_reason` and the two of any damage), fuzz target `sounds` |
//! | a full disk | here, `media: recordings::a_full_disk_and_a_slow_store_cost_other_calls_nothing` |
//! | a recogniser that hangs | `src/media/listening/sphinx.rs` (`one_that_hangs_is_killed_and_told`), `media: listening::a_slow_recogniser_fails_by_itself_and_keeps_no_audio_waiting` |
//! | a voice that hangs | `src/media/speech.rs` gives it 30 seconds |

use std::{fs, net::UdpSocket, process::Command, thread, time::Duration};

use crate::{
    audio::{likeness, melody, missing_ms},
    callee::{Callee, Stream},
    harness::{Setup, System, wait_until, with_prepared, with_system},
    phone::{CARRIER, Phone},
    rtp::Packet,
    sounds,
};

const RING: &str = "+18005550102";
const LONG: &str = "+18005550103";

/// A call that hears a prompt of a minute and a half meanwhile.
struct Beside(Phone);

impl Beside {
    fn new(system: &System) -> Self {
        let mut phone = Phone::new(system, CARRIER, LONG);
        phone.call("0");
        Self(phone)
    }

    /// It has heard every packet, and the prompt as it is.
    fn lost_nothing(mut self, system: &System) {
        self.0.hang_up();
        let packets = self.0.rtp.packets();
        assert!(packets.len() > 50, "{} packets", packets.len());
        let follows = |pair: &[Packet]| pair[1].sequence == pair[0].sequence.wrapping_add(1);
        assert!(packets.windows(2).all(follows), "a packet is lost");
        let heard = self.0.rtp.samples();
        let found = likeness(&system.prompt("long")[..7_680], &heard[..heard.len().min(16_000)]);
        assert!(found > 0.97, "{found:.3}");
    }
}

/// A header of 12 octets with this first one, and more.
fn packet(first: u8, kind: u8, sequence: u16, more: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, kind];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend([0, 0, 1, 0, 0, 0, 0, 7]);
    bytes.extend(more);
    bytes
}

fn discarded(system: &System) -> u64 {
    system.metric("switchboard_media_rtp_discarded_total")
}

#[test]
fn strange_packets_are_counted_and_the_call_and_the_one_beside_go_on() {
    with_system(&Setup::default(), |system| {
        let beside = Beside::new(system);
        let callee = Callee::start(system, system.pbx.port(), "0");
        let mut phone = Phone::new(system, CARRIER, RING);
        let to = phone.call("0").audio();
        callee.audio();
        let (before, after) = (melody(111, 1.2), melody(112, 1.2));
        let mut caller = Stream::new(&phone.rtp, to, 7);
        caller.say(&before);

        let table: [(&str, Vec<u8>); 9] = [
            ("version 0", packet(0x00, 0, 1, &[9; 160])),
            ("version 3", packet(0xc0, 0, 1, &[9; 160])),
            ("padding longer than the packet", packet(0xa0, 0, 1, &[200; 160])),
            ("an extension beyond the end", packet(0x90, 0, 1, &[0xbe, 0xde, 0xff, 0xff, 1, 2, 3, 4])),
            ("contributors beyond the end", packet(0x8f, 0, 1, &[9; 8])),
            ("nothing", Vec::new()),
            ("half a header", vec![0x80; 7]),
            ("a payload type that nobody agreed on", packet(0x80, 77, caller.sequence, &[9; 160])),
            ("too long", vec![0x80; 3_000]),
        ];
        for (place, (what, bytes)) in table.iter().enumerate() {
            phone.rtp.send_bytes(to, bytes);
            let wanted = place as u64 + 1;
            wait_until(&format!("{what} is counted"), || discarded(system) >= wanted);
        }
        let mut counted = discarded(system);
        assert_eq!(counted, table.len() as u64);

        let stranger = UdpSocket::bind("127.0.0.9:0").unwrap();
        stranger.send_to(&packet(0x80, 0, caller.sequence, &[9; 160]), to).unwrap();
        let reports = (to.ip(), to.port() + 1);
        for report in [
            &[0x81, 203, 0, 9, 1, 2, 3, 4][..],
            &[0x40, 201, 0, 1, 0, 0, 0, 1],
            &[0x80, 200, 0xff, 0xff, 0, 0, 0, 1],
        ] {
            phone.rtp.send_bytes(reports.into(), report);
            counted += 1;
        }
        // A BYE of nobody, which is a good report otherwise.
        phone.rtp.send_bytes(reports.into(), &[0x80, 201, 0, 1, 0, 0, 0, 1, 0x81, 203, 0, 1, 1, 2, 3, 4]);
        wait_until("they are counted", || discarded(system) == counted + 1);

        // Its numbers begin elsewhere, its clock jumps, its source is another, and ten seconds come in one.
        caller.sequence = caller.sequence.wrapping_add(30_000);
        caller.timestamp = caller.timestamp.wrapping_add(1 << 31);
        caller.silence(200);
        caller.ssrc = 99;
        caller.silence(200);
        for _ in 0..500 {
            caller.rush(&[0xff; 160]);
            thread::sleep(Duration::from_millis(2));
        }
        caller.say(&after);
        thread::sleep(Duration::from_millis(300));
        let heard = callee.rtp.samples_as_they_came();
        assert_eq!((missing_ms(&before, &heard), missing_ms(&after, &heard)), (0, 0), "of what was said");
        assert!(
            callee.rtp.packets().windows(2).all(|pair| pair[0].ssrc == pair[1].ssrc),
            "one source, whatever the peer does"
        );
        assert!(
            callee.rtp.packets().iter().all(|packet| packet.payload != [9; 160]),
            "what is strange was passed on"
        );
        phone.hang_up();
        beside.lost_nothing(system);
    });
}

#[test]
fn a_stream_that_is_refused_or_inactive_is_what_it_says() {
    with_system(&Setup::default(), |system| {
        let beside = Beside::new(system);
        // Nothing but a stream that is refused already.
        let mut phone = Phone::new(system, CARRIER, RING);
        let offer = phone.offer("0");
        let port = format!("audio {}", phone.rtp.local.port());
        assert_eq!(phone.invite(&offer.replace(&port, "audio 0")).code(), 488);

        let callee = Callee::start(system, system.pbx.port(), "0");
        let mut phone = Phone::new(system, CARRIER, RING);
        phone.call("0");
        let back = callee.audio();
        let reinvite = |phone: &mut Phone, body: &str| {
            let invite = phone.request("INVITE", "", body);
            phone.send(&invite);
            let answer = phone.final_response();
            phone.acknowledge_reinvite(&answer);
            answer
        };
        let inactive = phone.offer("0").replace("o=phone 1 1", "o=phone 1 2") + "a=inactive\r\n";
        let answer = reinvite(&mut phone, &inactive);
        assert!(answer.code() == 200 && answer.body().contains("a=inactive"), "{}", answer.text);
        let hidden = melody(121, 0.96);
        Stream::new(&callee.rtp, back, 8).say(&hidden);
        assert!(likeness(&hidden, &phone.rtp.samples()) < 0.8, "it is on hold");
        let active = phone.offer("0").replace("o=phone 1 1", "o=phone 1 3");
        assert_eq!(reinvite(&mut phone, &active).code(), 200);
        let said = melody(122, 1.2);
        let mut other = Stream::new(&callee.rtp, back, 8);
        // As many packets later, and a second on hold.
        other.sequence = other.sequence.wrapping_add(48);
        other.timestamp = other.timestamp.wrapping_add(16_000);
        other.say(&said);
        thread::sleep(Duration::from_millis(200));
        let missing = missing_ms(&said, &phone.rtp.samples());
        assert!(missing <= 240, "{missing} ms are missing");
        phone.hang_up();
        beside.lost_nothing(system);
    });
}

/// A disk of so many kilobytes, which goes with the test.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mount(at: std::path::PathBuf, kilobytes: u32) -> Self {
        let mut command = Command::new("mount");
        let output = command
            .args(["-t", "tmpfs", "-o", &format!("size={kilobytes}k"), "tmpfs"])
            .arg(&at)
            .output()
            .unwrap();
        assert!(output.status.success(), "{} (it needs root)", String::from_utf8_lossy(&output.stderr));
        Self(at)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_ends_a_recording_and_no_call() {
    let mut disk = None;
    let prepare = |system: &System| {
        sounds::prepare(system);
        let sounds = system.dir.path().join("state/sounds");
        fs::create_dir(&sounds).unwrap();
        disk = Some(Disk::mount(sounds, 64));
    };
    with_prepared(&Setup::default(), prepare, |system| {
        let beside = Beside::new(system);
        let callee = Callee::start(system, system.pbx.port(), "0");
        let mut phone = Phone::new(system, CARRIER, sounds::RECORDED);
        let to = phone.call("0").audio();
        callee.audio();
        // Both sides in stereo are 32 kB a second: it is full after two.
        let said = melody(131, 3.6);
        Stream::new(&phone.rtp, to, 7).say(&said);
        thread::sleep(Duration::from_millis(300));
        phone.hang_up();
        beside.lost_nothing(system);
        let missing = missing_ms(&said, &callee.rtp.samples());
        assert!(missing <= 240, "{missing} ms are missing");
        wait_until("the records are there", || system.records().len() == 2);
        let records = system.records();
        let recorded =
            records.iter().find(|record| record["number"].to_string().contains("recorded")).unwrap();
        let failed = recorded["recordings"].to_string();
        assert!(failed.to_lowercase().contains("space"), "{recorded}");
    });
    drop(disk);
}
