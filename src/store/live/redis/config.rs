//! How a Redis is reached: one server, one behind Sentinels, or a Cluster; and what of it may be said aloud.

use std::{fmt, time::Duration};

use super::super::data;

/// Port of a Redis, where none is said.
pub const PORT: u16 = 6379;
/// Port of a Sentinel, where none is said.
pub const SENTINEL_PORT: u16 = 26_379;
/// Most servers that may be named.
pub const SERVERS_MAX: usize = 32;
/// Shortest and longest wait for an answer.
const ANSWER: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Which server of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// The one.
    Single(Address),
    /// The one that these Sentinels call the master.
    Sentinel {
        /// Sentinels; any of them may be away.
        sentinels: Vec<Address>,
        /// What they call the master. Example: `mymaster`.
        master: String,
    },
    /// Whichever of a Cluster has our keys, which are all in one slot.
    Cluster(Vec<Address>),
}

/// Who we are there. Printed without the password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// User. None: the default one.
    pub user: Option<String>,
    /// Password. None: none is asked for.
    pub password: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login([redacted])")
    }
}

/// How a Redis or a Valkey is reached, of version 6 or later. It should evict nothing (`maxmemory-policy noeviction`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// Code of the VoiceCluster, with which all keys begin: `{c14}:`. They are in one slot of a Cluster.
    pub cluster: String,
    /// Which server.
    pub mode: Mode,
    /// Who we are there.
    pub login: Login,
    /// Who we are at Sentinels.
    pub sentinel_login: Login,
    /// Which of a server's databases. A Cluster has only 0.
    pub database: u32,
    /// Whether TLS is spoken, and servers prove that they are those of the names or addresses by which they are reached: in a
    /// Cluster and behind Sentinels, those that the others tell. False: neither.
    pub tls: bool,
    /// Authorities that their certificates may be of (PEM). None: the public ones.
    pub ca: Option<Vec<u8>>,
    /// Longest wait for an answer, 50 ms to 5 s.
    pub answer: Duration,
}

/// What is wrong with how a Redis is to be reached. Names the part, and says nothing that may be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part} {wrong}")]
pub struct BadConfig {
    /// The part. Example: `the port`.
    pub part: &'static str,
    /// What is wrong, and what would be right.
    pub wrong: String,
}

fn bad<T>(part: &'static str, wrong: impl Into<String>) -> Result<T, BadConfig> {
    Err(BadConfig { part, wrong: wrong.into() })
}

/// What a scheme says: whether TLS is spoken, and of which mode it is.
const SCHEMES: [(&str, bool, Kind); 8] = [
    ("redis", false, Kind::Single),
    ("rediss", true, Kind::Single),
    ("valkey", false, Kind::Single),
    ("valkeys", true, Kind::Single),
    ("redis+sentinel", false, Kind::Sentinel),
    ("rediss+sentinel", true, Kind::Sentinel),
    ("redis+cluster", false, Kind::Cluster),
    ("rediss+cluster", true, Kind::Cluster),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Single,
    Sentinel,
    Cluster,
}

impl RedisConfig {
    /// Reads `redis://[user[:password]@]host[:port][/database]`. `rediss` speaks TLS; `redis+sentinel` and `rediss+sentinel`
    /// name Sentinels, separated by commas, and the master before the database: `/mymaster/0`; `redis+cluster` and
    /// `rediss+cluster` some servers of a Cluster. User and password are percent-encoded where they hold other than letters,
    /// digits and `-._~`.
    ///
    /// # Errors
    /// [`BadConfig`], which holds nothing of a URL with a password.
    pub fn from_url(cluster: &str, url: &str) -> Result<Self, BadConfig> {
        let Some((scheme, rest)) = url.trim().split_once("://") else {
            return bad("the URL", "has no scheme; it must begin with redis:// or rediss://");
        };
        let known = SCHEMES.iter().find(|(name, ..)| name.eq_ignore_ascii_case(scheme));
        let Some((_, tls, kind)) = known else {
            let names: Vec<_> = SCHEMES.iter().map(|(name, ..)| *name).collect();
            return bad("the URL's scheme", format!("is none of {}", names.join(", ")));
        };
        let (login, rest) = match rest.rsplit_once('@') {
            None => (Login::default(), rest),
            Some((login, rest)) => (read_login(login)?, rest),
        };
        if rest.contains(['?', '#']) {
            return bad(
                "the URL",
                "may have no query and no fragment; encode '?' and '#' of a password as %3F and %23",
            );
        }
        let (servers, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_secret = url.contains('@');
        let servers = |port| read_servers(servers, port, is_secret);
        let (mode, database) = match kind {
            Kind::Single => {
                let mut servers = servers(PORT)?;
                if servers.len() > 1 {
                    return bad(
                        "the host",
                        "is not one; several are for redis+sentinel:// and redis+cluster://",
                    );
                }
                (Mode::Single(servers.remove(0)), path)
            }
            Kind::Sentinel => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return bad("the master's name", "is missing; it comes after the Sentinels: /mymaster");
                }
                (Mode::Sentinel { sentinels: servers(SENTINEL_PORT)?, master: master.into() }, database)
            }
            Kind::Cluster => (Mode::Cluster(servers(PORT)?), path),
        };
        let database = match database.trim_end_matches('/') {
            "" => 0,
            digits => match digits.parse() {
                Ok(number) => number,
                Err(_) => return bad("the database", "is no number, such as 0"),
            },
        };
        let config = Self {
            cluster: cluster.to_owned(),
            mode,
            login,
            sentinel_login: Login::default(),
            database,
            tls: *tls,
            ca: None,
            answer: Duration::from_secs(1),
        };
        config.check()?;
        Ok(config)
    }

    /// Whether it can be one.
    ///
    /// # Errors
    /// [`BadConfig`].
    pub fn check(&self) -> Result<(), BadConfig> {
        if let Err(wrong) = data::part("the cluster's code", &self.cluster) {
            return bad("the cluster's code", wrong.wrong);
        }
        let servers = match &self.mode {
            Mode::Single(server) => std::slice::from_ref(server),
            Mode::Sentinel { sentinels, .. } => sentinels,
            Mode::Cluster(servers) => servers,
        };
        if !(1..=SERVERS_MAX).contains(&servers.len()) {
            return bad("the servers", format!("are {} and must be 1 to {SERVERS_MAX}", servers.len()));
        }
        if let Some(server) = servers.iter().find(|server| !is_host(&server.host) || server.port == 0) {
            return bad("the host", format!("is {server} and must be a name or an address with a port"));
        }
        if let Mode::Sentinel { master, .. } = &self.mode
            && let Err(wrong) = data::part("the master's name", master)
        {
            return bad("the master's name", wrong.wrong);
        }
        if matches!(self.mode, Mode::Cluster(_)) && self.database != 0 {
            return bad("the database", format!("is {} and a Cluster has only 0", self.database));
        }
        if self.login.user.is_some() && self.login.password.is_none() {
            return bad("the password", "is missing, though there is a user");
        }
        match &self.ca {
            Some(_) if !self.tls => return bad("the CA", "is given, but the URL does not say TLS (rediss)"),
            Some(pem) if !pem.windows(27).any(|part| part == b"-----BEGIN CERTIFICATE-----") => {
                return bad("the CA", "has no certificate; it must be PEM");
            }
            Some(_) | None => {}
        }
        if !(ANSWER.0..=ANSWER.1).contains(&self.answer) {
            return bad(
                "the longest wait",
                format!("is {:?} and must be {:?} to {:?}", self.answer, ANSWER.0, ANSWER.1),
            );
        }
        Ok(())
    }
}

fn is_host(host: &str) -> bool {
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    let is_name = host.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-._".contains(&octet));
    !host.is_empty() && host.len() <= data::NAME_MAX && (is_address || is_name)
}

fn read_login(text: &str) -> Result<Login, BadConfig> {
    let (user, password) = match text.split_once(':') {
        None => (text, None),
        Some((user, password)) => (user, Some(password)),
    };
    let decode = |part, text: &str| match decoded(text) {
        Some(text) => Ok(text),
        None => bad(part, "is not percent-encoded UTF-8: write each '%' of it as %25"),
    };
    let user = decode("the user", user)?;
    let password = password.map(|password| decode("the password", password)).transpose()?;
    Ok(Login {
        user: Some(user).filter(|user| !user.is_empty()),
        password: password.filter(|text| !text.is_empty()),
    })
}

fn decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'%' {
            octets.push(octet);
            continue;
        }
        let digit = |octet: Option<u8>| octet.and_then(|octet| char::from(octet).to_digit(16));
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        octets.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(octets).ok()
}

/// A part of a URL with a password might be a part of the password: it is not repeated.
fn read_servers(text: &str, port: u16, is_secret: bool) -> Result<Vec<Address>, BadConfig> {
    let said = |text: &str| if is_secret { String::new() } else { format!("{text:?} ") };
    let server = |text: &str| {
        let (host, digits) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':').or(Some("").filter(|_| rest.is_empty()))),
            None => {
                let (host, digits) = text.split_once(':').unwrap_or((text, ""));
                (host, Some(digits))
            }
        };
        if !is_host(host) {
            return bad(
                "the host",
                format!("{}is no name and no address; IPv6 stands in brackets", said(host)),
            );
        }
        let port = match digits {
            Some("") => port,
            Some(digits) => match digits.parse() {
                Ok(port) if port > 0 => port,
                Ok(_) | Err(_) => {
                    return bad("the port", format!("{}is no number of 1 to 65535", said(digits)));
                }
            },
            None => return bad("the port", "does not follow the bracket after a colon"),
        };
        Ok(Address { host: host.to_owned(), port })
    };
    text.split(',').map(server).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(host: &str, port: u16) -> Address {
        Address { host: host.into(), port }
    }

    fn wrong(url: &str) -> String {
        RedisConfig::from_url("c14", url).unwrap_err().to_string()
    }

    #[test]
    fn urls_say_where_and_who() {
        let config = RedisConfig::from_url("c14", "redis://redis.storage.svc").unwrap();
        assert_eq!(config.mode, Mode::Single(address("redis.storage.svc", 6379)));
        assert_eq!((config.tls, config.database, config.login), (false, 0, Login::default()));

        let config = RedisConfig::from_url("c14", "rediss://edge:p%40ss%2Fw%25rd@[fd00::1]:6380/3").unwrap();
        assert_eq!(config.mode, Mode::Single(address("fd00::1", 6380)));
        assert_eq!((config.tls, config.database), (true, 3));
        assert_eq!(config.login.user.as_deref(), Some("edge"));
        assert_eq!(config.login.password.as_deref(), Some("p@ss/w%rd"));

        let config =
            RedisConfig::from_url("c14", "rediss+sentinel://:secret@a,b:26380,10.0.0.3/mymaster/2").unwrap();
        let sentinels = vec![address("a", 26_379), address("b", 26_380), address("10.0.0.3", 26_379)];
        assert_eq!(config.mode, Mode::Sentinel { sentinels, master: "mymaster".into() });
        assert_eq!((config.tls, config.database, config.login.user), (true, 2, None));

        let config = RedisConfig::from_url("c14", "redis+cluster://10.0.0.1:7000,10.0.0.2:7001").unwrap();
        assert_eq!(config.mode, Mode::Cluster(vec![address("10.0.0.1", 7000), address("10.0.0.2", 7001)]));
    }

    #[test]
    fn what_is_wrong_with_a_url_is_named() {
        let table = [
            ("redis.storage.svc:6379", "the URL has no scheme; it must begin with redis:// or rediss://"),
            (
                "http://redis",
                "the URL's scheme is none of redis, rediss, valkey, valkeys, redis+sentinel, rediss+sentinel, redis+cluster, rediss+cluster",
            ),
            ("redis://", "the host \"\" is no name and no address; IPv6 stands in brackets"),
            ("redis://fd00::1", "the port \":1\" is no number of 1 to 65535"),
            ("redis://a:0", "the port \"0\" is no number of 1 to 65535"),
            ("redis://a:66000", "the port \"66000\" is no number of 1 to 65535"),
            ("redis://[fd00::1]6379", "the port does not follow the bracket after a colon"),
            ("redis://a/x", "the database is no number, such as 0"),
            ("redis://a,b", "the host is not one; several are for redis+sentinel:// and redis+cluster://"),
            ("redis+sentinel://a", "the master's name is missing; it comes after the Sentinels: /mymaster"),
            ("redis+cluster://a/1", "the database is 1 and a Cluster has only 0"),
            ("redis://user@a", "the password is missing, though there is a user"),
            ("redis://u:100%@a", "the password is not percent-encoded UTF-8: write each '%' of it as %25"),
            (
                "redis://u:p@a?x",
                "the URL may have no query and no fragment; encode '?' and '#' of a password as %3F and %23",
            ),
        ];
        for (url, said) in table {
            assert_eq!(wrong(url), said, "{url}");
        }
        let mut config = RedisConfig::from_url("c14", "redis://a").unwrap();
        config.ca = Some(b"x".to_vec());
        let said = config.check().unwrap_err().to_string();
        assert_eq!(said, "the CA is given, but the URL does not say TLS (rediss)");
        config.tls = true;
        assert_eq!(config.check().unwrap_err().to_string(), "the CA has no certificate; it must be PEM");
        let said = RedisConfig::from_url("c{14", "redis://a").unwrap_err().to_string();
        assert_eq!(said, "the cluster's code is \"c{14\" and may hold no '{'");
    }

    proptest! {
        #[test]
        fn no_error_and_no_print_says_the_password(
            user in "[a-z]{0,5}",
            password in "secret[ -~]{0,12}XYZ",
            rest in "[a-z0-9:/,?#\\[\\]]{0,16}",
            scheme in "redis(s)?(\\+sentinel|\\+cluster)?",
        ) {
            let said = match RedisConfig::from_url("c14", &format!("{scheme}://{user}:{password}@{rest}")) {
                Ok(config) => format!("{config:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!said.contains("secret") && !said.contains("XYZ"), "{said}");
        }

        #[test]
        fn passwords_are_read_as_they_were_encoded(password in "\\PC{1,16}") {
            let encoded: String = password.bytes().map(|octet| format!("%{octet:02X}")).collect();
            let config = RedisConfig::from_url("c14", &format!("redis://:{encoded}@a")).unwrap();
            prop_assert_eq!(config.login.password, Some(password));
        }
    }
}
