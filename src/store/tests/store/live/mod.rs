//! Live state in memory and in Redis holds the same promises, and a writer loses nothing unnoticed, whatever befalls Redis.

mod failures;
mod promises;
mod servers;
mod twins;

use std::fs;

use store::live::{Memory, Redis, RedisConfig};

use self::servers::{Server, cluster, redis};
use crate::postgres::certificates;

pub fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

#[test]
fn memory_keeps_its_promises() {
    run(promises::all(&Memory::new()));
}

#[test]
fn redis_keeps_the_same_promises() {
    let server = Server::start(&[]);
    run(promises::all(&server.live()));
}

#[test]
fn a_redis_with_tls_and_a_password_keeps_them_too() {
    let folder = tempfile::TempDir::new().unwrap();
    let ca = certificates(folder.path());
    fs::write(folder.path().join("ca.crt"), &ca).unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (password, encoded) = ("p@ss/w0rd%", "p%40ss%2Fw0rd%25");
    let server = Server::start(&[
        "--tls-port",
        "PORT",
        "--tls-cert-file",
        &at("server.crt"),
        "--tls-key-file",
        &at("server.key"),
        "--tls-ca-cert-file",
        &at("ca.crt"),
        "--tls-auth-clients",
        "no",
        "--requirepass",
        password,
    ]);
    let config = |login: &str| {
        let url = format!("rediss://{login}localhost:{}", server.port);
        let mut config = RedisConfig::from_url("c14", &url).unwrap();
        config.answer = std::time::Duration::from_secs(5);
        config.ca = Some(ca.clone().into_bytes());
        config
    };
    run(async {
        promises::all(&Redis::new(config(&format!(":{encoded}@"))).unwrap()).await;

        use store::live::Live as _;
        let of_nobody = Redis::new(config("")).unwrap();
        let said = of_nobody.enter("w").await.unwrap_err().to_string();
        assert!(said.contains("NOAUTH"), "{said}");
        let guessed = Redis::new(config(":guessed-in-vain@")).unwrap();
        let said = format!("{:?} {guessed:?}", guessed.enter("w").await.unwrap_err());
        assert!(
            said.contains("Password authentication failed") && !said.contains("guessed-in-vain"),
            "{said}"
        );
        // Its certificate is of no public authority, and names no address.
        let mut public = config(&format!(":{encoded}@"));
        public.ca = None;
        let said = Redis::new(public).unwrap().enter("w").await.unwrap_err().to_string();
        assert!(
            said.contains("UnknownIssuer") && !said.contains(encoded) && !said.contains(password),
            "{said}"
        );
        let mut elsewhere = config(&format!(":{encoded}@"));
        let store::live::Mode::Single(address) = &mut elsewhere.mode else { panic!() };
        address.host = "127.0.0.1".into();
        let said = Redis::new(elsewhere).unwrap().enter("w").await.unwrap_err().to_string();
        assert!(said.contains("not valid for name"), "{said}");
    });
}

#[test]
fn a_redis_cluster_keeps_them_too() {
    let servers = cluster();
    let url = |of: &[&Server]| {
        let hosts: Vec<String> = of.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        format!("redis+cluster://{}", hosts.join(","))
    };
    run(async {
        // The first ones do not have our keys.
        let live = redis(&url(&[&servers[0], &servers[1]]));
        promises::all(&live).await;
        assert_eq!(live.connections(), 1);
    });
}
