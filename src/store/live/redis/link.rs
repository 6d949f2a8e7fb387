//! One connection to whichever server has our keys, made again when it fails or another server has them.
//!
//! All keys of a cluster are in one slot, so a Redis Cluster is one server too: the one that the others redirect us to. Behind
//! Sentinels it is the one that they call the master; they are asked again now and then, for an old master that nobody else
//! reaches still answers us.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, FromRedisValue, IntoConnectionInfo as _,
    RedisConnectionInfo, RedisError, ServerErrorKind, TlsCertificates, Value, aio::MultiplexedConnection,
};
use tokio::{sync::Mutex, time::timeout};
use tracing::{debug, info};

use super::{
    super::LiveError,
    config::{Address, BadConfig, Login, Mode, RedisConfig},
};

/// Longest wait for a connection to whichever server it is, all attempts together.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Shortest limit for one server.
const SERVER_LEAST: Duration = Duration::from_secs(1);
/// How often Sentinels are asked whether it is still the one, and when again if none has answered.
const ASK_EVERY: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// Most redirections in a row: one more is a loop.
const REDIRECTIONS_MAX: u32 = 4;

/// The way to a server.
#[derive(Debug)]
pub struct Link {
    config: RedisConfig,
    /// A key of ours, to ask a Cluster with.
    probe: String,
    state: Mutex<State>,
    made: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    connection: Option<Connection>,
    /// Where the last redirection pointed.
    moved: Option<Address>,
}

/// A connection, and which it is: cheap to clone.
#[derive(Debug, Clone)]
pub struct Connection {
    pub number: u64,
    address: Address,
    /// When Sentinels are asked again.
    ask_at: Instant,
    to: MultiplexedConnection,
}

/// What a server says instead of an answer, of which more must be known than its words.
#[derive(Debug)]
pub enum Failed {
    /// It does not know the script.
    NoScript,
    /// Another server has our keys: nothing was done.
    Moved,
    /// All else.
    Other(LiveError),
}

impl Link {
    /// Connects when something is asked.
    ///
    /// # Errors
    /// [`BadConfig`].
    pub fn new(config: RedisConfig, probe: String) -> Result<Self, BadConfig> {
        config.check()?;
        // What is wrong with certificates shows without a server.
        let nowhere = Address { host: "localhost".into(), port: 1 };
        if let Err(error) = client(&config, &nowhere, &config.login, 0) {
            return Err(BadConfig { part: "the CA", wrong: format!("cannot be read: {error}") });
        }
        Ok(Self { config, probe, state: Mutex::default(), made: AtomicU64::new(0) })
    }

    /// How many connections there were.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// The connection, which is made if there is none.
    pub async fn connection(&self) -> Result<Connection, LiveError> {
        let attempt = async {
            let mut state = self.state.lock().await;
            self.still_master(&mut state).await;
            if let Some(connection) = &state.connection {
                return Ok(connection.clone());
            }
            let connection = self.connect(&mut state).await?;
            info!("live state: connected with {}", connection.address);
            self.made.fetch_add(1, Ordering::Relaxed);
            state.connection = Some(connection.clone());
            Ok(connection)
        };
        match timeout(CONNECT_MAX, attempt).await {
            Ok(done) => done,
            Err(_) => Err(LiveError::Away(format!("no connection within {CONNECT_MAX:?}"))),
        }
    }

    /// Sends something that is answered once.
    pub async fn ask(&self, connection: &mut Connection, command: &Cmd) -> Result<Value, Failed> {
        let asked = timeout(self.config.answer, command.query_async::<Value>(&mut connection.to)).await;
        match asked {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.failed(connection, &error).await),
            Err(_) => Err(Failed::Other(self.late(connection).await)),
        }
    }

    /// Sends several things, which are answered in order.
    pub async fn ask_all(
        &self,
        connection: &mut Connection,
        commands: &redis::Pipeline,
    ) -> Result<Vec<Value>, Failed> {
        let asked = timeout(self.config.answer, commands.query_async::<Vec<Value>>(&mut connection.to)).await;
        match asked {
            Ok(Ok(values)) => Ok(values),
            Ok(Err(error)) => Err(self.failed(connection, &error).await),
            Err(_) => Err(Failed::Other(self.late(connection).await)),
        }
    }

    /// A connection that does not answer is not used again: nobody knows whether it ever will.
    async fn late(&self, connection: &Connection) -> LiveError {
        self.forget(connection.number).await;
        LiveError::Late(format!("{} has not answered for {:?}", connection.address, self.config.answer))
    }

    async fn failed(&self, connection: &Connection, error: &RedisError) -> Failed {
        let text = format!("{}: {error}", connection.address);
        debug!("live state: {text}");
        if matches!(error.kind(), ErrorKind::Server(ServerErrorKind::NoScript)) {
            return Failed::NoScript;
        }
        // Within a script older servers wrap the code of what has failed.
        let says = |code: &str| error.to_string().contains(code);
        if says("OOM") {
            return Failed::Other(LiveError::Full(text));
        }
        if matches!(error.kind(), ErrorKind::Server(ServerErrorKind::Moved)) {
            self.forget(connection.number).await;
            let to = error.redirect_node().and_then(|(node, _)| moved_to(node, &connection.address));
            self.state.lock().await.moved = to;
            return Failed::Moved;
        }
        let is_passing = ["MISCONF", "NOREPLICAS", "READONLY", "MASTERDOWN", "LOADING"].into_iter().any(says);
        if !is_passing && (says("WRONGTYPE") || says("user_script")) {
            return Failed::Other(LiveError::Refused(text));
        }
        let is_about_a_key =
            matches!(error.kind(), ErrorKind::Server(ServerErrorKind::TryAgain | ServerErrorKind::Ask));
        if !is_about_a_key {
            self.forget(connection.number).await;
        }
        Failed::Other(LiveError::Away(text))
    }

    async fn forget(&self, number: u64) {
        let mut state = self.state.lock().await;
        if state.connection.as_ref().is_some_and(|connection| connection.number == number) {
            state.connection = None;
        }
    }

    /// Lets go of a connection to who is not the master any more.
    async fn still_master(&self, state: &mut State) {
        let Mode::Sentinel { sentinels, master } = &self.config.mode else { return };
        let Some(connection) = &mut state.connection else { return };
        if Instant::now() < connection.ask_at {
            return;
        }
        match timeout(self.server_max(), self.master(sentinels, master)).await {
            Ok(Ok(address)) if address != connection.address => {
                info!("live state: {} is the master now, in place of {}", address, connection.address);
                state.connection = None;
            }
            Ok(Ok(_)) => connection.ask_at = Instant::now() + ASK_EVERY,
            // Sentinels that are away say nothing about a master that is there, and hold up nothing again soon.
            Ok(Err(_)) | Err(_) => connection.ask_at = Instant::now() + ASK_AGAIN,
        }
    }

    fn server_max(&self) -> Duration {
        self.config.answer.max(SERVER_LEAST)
    }

    async fn connect(&self, state: &mut State) -> Result<Connection, LiveError> {
        match &self.config.mode {
            Mode::Single(address) => self.open(address).await,
            Mode::Sentinel { sentinels, master } => {
                let address = self.master(sentinels, master).await?;
                let mut connection = self.open(&address).await?;
                let role: Vec<Value> = self.answer(&mut connection, &redis::cmd("ROLE")).await?;
                match role.first().map(String::from_redis_value_ref) {
                    Some(Ok(role)) if role == "master" => Ok(connection),
                    _ => Err(LiveError::Away(format!("{address} is to be the master, and is none yet"))),
                }
            }
            Mode::Cluster(servers) => self.find(servers, state.moved.take()).await,
        }
    }

    /// The server of a Cluster that has our keys.
    async fn find(&self, servers: &[Address], moved: Option<Address>) -> Result<Connection, LiveError> {
        let mut last = LiveError::Away("no server".into());
        for server in moved.iter().chain(servers) {
            let mut address = server.clone();
            for _ in 0..=REDIRECTIONS_MAX {
                let mut connection = match self.open(&address).await {
                    Ok(connection) => connection,
                    Err(error) => {
                        last = error;
                        break;
                    }
                };
                let command = redis::cmd("EXISTS").arg(&self.probe).to_owned();
                let asked =
                    timeout(self.server_max(), command.query_async::<Value>(&mut connection.to)).await;
                match asked {
                    Ok(Ok(_)) => return Ok(connection),
                    Ok(Err(error)) => {
                        last = LiveError::Away(format!("{address}: {error}"));
                        let Some((node, _)) = error.redirect_node() else { break };
                        let Some(next) = moved_to(node, &address) else { break };
                        address = next;
                    }
                    Err(_) => {
                        last = LiveError::Late(format!(
                            "{address} has not answered for {:?}",
                            self.server_max()
                        ));
                        break;
                    }
                }
            }
        }
        Err(last)
    }

    /// Whom the first Sentinel that answers calls the master.
    async fn master(&self, sentinels: &[Address], master: &str) -> Result<Address, LiveError> {
        let mut last = LiveError::Away("no Sentinel".into());
        for sentinel in sentinels {
            let asked = async {
                let mut connection = self.open_as(sentinel, &self.config.sentinel_login, 0).await?;
                let command = redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(master).to_owned();
                self.answer::<Option<(String, u16)>>(&mut connection, &command).await
            };
            last = match asked.await {
                Ok(Some((host, port))) => return Ok(Address { host, port }),
                Ok(None) => LiveError::Away(format!("the Sentinel {sentinel} knows no master {master}")),
                Err(error) => error,
            };
        }
        Err(last)
    }

    async fn open(&self, address: &Address) -> Result<Connection, LiveError> {
        self.open_as(address, &self.config.login, self.config.database).await
    }

    async fn open_as(
        &self,
        address: &Address,
        login: &Login,
        database: u32,
    ) -> Result<Connection, LiveError> {
        let told = |error: RedisError| LiveError::Away(format!("{address}: {error}"));
        let client = client(&self.config, address, login, database).map_err(told)?;
        // All waits are ours.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        match timeout(self.server_max(), client.get_multiplexed_async_connection_with_config(&config)).await {
            Ok(Ok(to)) => {
                let number = next_number();
                let ask_at = Instant::now() + ASK_EVERY;
                Ok(Connection { number, address: address.clone(), ask_at, to })
            }
            Ok(Err(error)) => Err(told(error)),
            Err(_) => {
                Err(LiveError::Away(format!("{address}: no connection within {:?}", self.server_max())))
            }
        }
    }

    /// Asks while a connection is made.
    async fn answer<T: FromRedisValue>(
        &self,
        connection: &mut Connection,
        command: &Cmd,
    ) -> Result<T, LiveError> {
        match timeout(self.server_max(), command.query_async::<T>(&mut connection.to)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(LiveError::Away(format!("{}: {error}", connection.address))),
            Err(_) => {
                let address = &connection.address;
                Err(LiveError::Late(format!("{address} has not answered for {:?}", self.server_max())))
            }
        }
    }
}

fn next_number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

fn client(
    config: &RedisConfig,
    address: &Address,
    login: &Login,
    database: u32,
) -> Result<Client, RedisError> {
    let mut who = RedisConnectionInfo::default().set_db(i64::from(database)).set_skip_set_lib_name();
    if let Some(user) = &login.user {
        who = who.set_username(user);
    }
    if let Some(password) = &login.password {
        who = who.set_password(password);
    }
    let Address { host, port } = address.clone();
    if !config.tls {
        return Client::open(ConnectionAddr::Tcp(host, port).into_connection_info()?.set_redis_settings(who));
    }
    let address = ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None };
    let certificates = TlsCertificates { client_tls: None, root_cert: config.ca.clone() };
    Client::build_with_tls(address.into_connection_info()?.set_redis_settings(who), certificates)
}

/// Where a redirection points: `host:port`, without a host the one that redirects.
fn moved_to(node: &str, from: &Address) -> Option<Address> {
    let (host, port) = node.rsplit_once(':')?;
    let host = if host.is_empty() { from.host.clone() } else { host.trim_matches(['[', ']']).to_owned() };
    Some(Address { host, port: port.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_point_to_servers() {
        let from = Address { host: "a".into(), port: 1 };
        let to = |node: &str| moved_to(node, &from).map(|address| address.to_string());
        assert_eq!(to("10.0.0.1:7000").as_deref(), Some("10.0.0.1:7000"));
        assert_eq!(to("fd00::1:7000").as_deref(), Some("[fd00::1]:7000"));
        assert_eq!(to(":7000").as_deref(), Some("a:7000"));
        assert_eq!(to("7000"), None);
        assert_eq!(to("a:x"), None);
    }

    #[test]
    fn a_ca_that_is_none_is_refused_at_once() {
        let mut config = RedisConfig::from_url("c14", "rediss://localhost").unwrap();
        config.ca = Some(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec());
        let said = Link::new(config, "{c14}:since".into()).unwrap_err().to_string();
        assert!(said.starts_with("the CA cannot be read: "), "{said}");
    }
}
