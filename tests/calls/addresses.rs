//! One edge on three networks at once: the public one, a private circuit with an address of its own, and IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{
    audio::likeness,
    harness::{Setup, System, with_prepared},
    phone::Phone,
    streams::Datagrams,
};

/// Where the edge is on the private circuit, and what it is there for others.
const CIRCUIT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
const TOLD: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 7);

fn prepare(system: &System) {
    let loopback = "  - {name: loopback, bindAddress: 127.0.0.1}\n";
    let more = format!(
        "  - {{name: circuit, bindAddress: {CIRCUIT}, rtpAdvertisedAddress: {TOLD}}}\n  - {{name: six, bindAddress: \"::1\"}}\n"
    );
    system.edit("platform.yaml", loopback, &format!("{loopback}{more}"));
    let port = system.sip.port();
    let listeners = ["circuit", "six"].map(|network| {
        format!("  - {{name: {network}-udp, transport: UDP, port: {port}, network: {network}}}\n")
    });
    system.edit("platform.yaml", "  media:\n", &(listeners.concat() + "  media:\n"));
    for (trunk, network) in [("second", "six"), ("small", "circuit")] {
        let trunk =
            format!("metadata: {{name: {trunk}, namespace: platform}}\nspec:\n  clusterRef: {{name: c14}}\n");
        system.edit(
            "platform.yaml",
            &format!("{trunk}  network: loopback\n"),
            &format!("{trunk}  network: {network}\n"),
        );
    }
    let small = "trunkRef: {namespace: platform, name: small}\n  flowRef: ";
    system.edit("numbers.yaml", &format!("{small}{{name: long}}"), &format!("{small}{{name: greet}}"));
    system.edit("platform.yaml", "  - {cidr: 127.0.0.3/32}\n", "  - {cidr: \"::1/128\"}\n");
}

#[test]
fn a_description_has_the_address_of_its_own_network_and_audio_comes_by_it() {
    with_prepared(&Setup::default(), prepare, |system| {
        let port = system.sip.port();
        let rows: [(IpAddr, IpAddr, &str, IpAddr); 3] = [
            (
                Ipv4Addr::LOCALHOST.into(),
                Ipv4Addr::LOCALHOST.into(),
                "+18005550100",
                Ipv4Addr::LOCALHOST.into(),
            ),
            (Ipv4Addr::new(127, 0, 0, 4).into(), CIRCUIT.into(), "+18005550111", TOLD.into()),
            (
                Ipv6Addr::LOCALHOST.into(),
                Ipv6Addr::LOCALHOST.into(),
                "+18005550110",
                Ipv6Addr::LOCALHOST.into(),
            ),
        ];
        for (from, edge, number, told) in rows {
            let wire = Datagrams::new(from, SocketAddr::new(edge, port));
            let mut phone = Phone::by(system, Box::new(wire), number);
            let answer = phone.call("0 101");
            assert_eq!(answer.audio().ip(), told, "{}", answer.body());
            phone.wait_for_bye();
            let found = likeness(&system.prompt("welcome"), &phone.rtp.samples());
            assert!(found > 0.97, "{told}: {found:.3}");
        }
    });
}
