//! SQLite and PostgreSQL, which say the same in almost the same words.

use std::{collections::BTreeMap, fmt, path::Path, time::Duration};

use futures::future::BoxFuture;
use sqlx::{
    ConnectOptions, PgPool, QueryBuilder, Row as _, SqlSafeStr, SqlitePool,
    migrate::{Migration, MigrationType, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::OnceCell;

use super::{Found, LOST, PAGE_MAX, Records, RecordsError, Row, Wanted, bound, once, with_dispositions};

/// Connections at once: one writes, the others read.
const CONNECTIONS_MAX: u32 = 4;
/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Longest wait for all that is done at once.
const CALL_MAX: Duration = Duration::from_secs(30);
/// Names that are written with one statement: SQLite takes 32,766 values with one.
const NAMES_MAX: usize = 5_000;
/// Rows that are written with one statement.
const ROWS_MAX: usize = 500;

/// A file of this machine.
#[derive(Debug)]
pub struct Sqlite {
    pool: SqlitePool,
    ready: OnceCell<()>,
}

/// A server.
#[derive(Debug)]
pub struct Postgres {
    pool: PgPool,
    ready: OnceCell<()>,
}

/// How a PostgreSQL server is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresConfig {
    /// Its host's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Name of the database, which must be there.
    pub database: String,
    /// Who we are there.
    pub user: String,
    /// Our password.
    pub password: String,
    /// Whether TLS is spoken, and the server proves that it is the one of that name. False: neither.
    pub tls: bool,
    /// Authorities that its certificate may be of (PEM). None: the public ones.
    pub ca: Option<Vec<u8>>,
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, database, user, tls, .. } = self;
        write!(f, "PostgresConfig({user}@{host}:{port}/{database}, tls: {tls}, password: [redacted])")
    }
}

impl Sqlite {
    /// The file is made once something is written or asked; within an asynchronous runtime.
    #[must_use]
    pub fn new(file: &Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // What is written is taken out of the spool: it must outlive a power failure.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(CONNECT_MAX)
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(CONNECT_MAX)
            .connect_lazy_with(options);
        Self { pool, ready: OnceCell::new() }
    }
}

impl Postgres {
    /// Connects once something is written or asked; within an asynchronous runtime.
    #[must_use]
    pub fn new(config: PostgresConfig) -> Self {
        let PostgresConfig { host, port, database, user, password, tls, ca } = config;
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&host)
            .port(port)
            .database(&database)
            .username(&user)
            .password(&password)
            .application_name("switchboard")
            .ssl_mode(if tls { PgSslMode::VerifyFull } else { PgSslMode::Disable })
            .disable_statement_logging();
        if let Some(ca) = ca {
            options = options.ssl_root_cert_from_pem(ca);
        }
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(CONNECT_MAX)
            .connect_lazy_with(options);
        Self { pool, ready: OnceCell::new() }
    }
}

fn migrations(all: [(&'static str, &'static str); 2]) -> Migrator {
    let numbered = all.into_iter().zip(1..);
    let migration = |((name, text), number): ((&'static str, &'static str), i64)| {
        Migration::new(number, name.into(), MigrationType::Simple, text.into_sql_str(), false)
    };
    Migrator::with_migrations(numbered.map(migration).collect())
}

/// Bounded in time, and in our words.
async fn bounded<T>(what: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, RecordsError> {
    match tokio::time::timeout(CALL_MAX, what).await {
        Ok(done) => done.map_err(told),
        Err(_) => {
            Err(RecordsError::Away(format!("the database has not answered for {} s", CALL_MAX.as_secs())))
        }
    }
}

fn told(error: sqlx::Error) -> RecordsError {
    let text = error.to_string();
    // Classes of SQLSTATE: 22 is data that is none, 23 a constraint. SQLite's codes are shorter, and a constraint is 19.
    let refused = error.as_database_error().and_then(|error| error.code()).is_some_and(|code| {
        let of_sqlite = code.len() < 5 && code.parse::<u32>().is_ok_and(|code| code & 0xff == 19);
        of_sqlite || code.len() == 5 && (code.starts_with("22") || code.starts_with("23"))
    });
    if refused { RecordsError::Refused(text) } else { RecordsError::Away(text) }
}

/// PostgreSQL takes no NUL in a text.
fn text(value: &str) -> String {
    if value.contains('\0') { value.replace('\0', "") } else { value.to_owned() }
}

macro_rules! records {
    ($store:ty, $database:ty, $interactions:literal, $dispositions:literal, $as_json:literal) => {
        impl $store {
            async fn ready(&self) -> Result<(), RecordsError> {
                let migrate = async {
                    let interactions = ("interactions", include_str!($interactions));
                    let dispositions = ("dispositions", include_str!($dispositions));
                    let migrator = migrations([interactions, dispositions]);
                    let run = async { migrator.run(&self.pool).await.map_err(sqlx::Error::from) };
                    bounded(run).await
                };
                // One at a time, and until it has gone well.
                self.ready.get_or_try_init(|| migrate).await.copied()
            }

            async fn write_all(&self, rows: &[Row]) -> Result<(), sqlx::Error> {
                let (all, rows) = (rows, once(rows));
                let said: Vec<_> =
                    all.iter().filter_map(|row| Some((row, row.said.as_ref()?))).collect();
                let mut transaction = self.pool.begin().await?;
                for rows in rows.chunks(ROWS_MAX) {
                    let mut query = QueryBuilder::<$database>::new(
                        "INSERT INTO interactions (id, tenant, owner, instance, started_ms, ended_ms, ended_by, body) ",
                    );
                    query.push_values(rows, |mut values, row| {
                        values
                            .push_bind(row.id.clone())
                            .push_bind(text(&row.tenant))
                            .push_bind(row.owner.clone())
                            .push_bind(row.instance.clone())
                            .push_bind(row.started_ms)
                            .push_bind(row.ended_ms)
                            .push_bind(row.ended_by.clone())
                            .push_bind(row.body.clone())
                            .push_unseparated($as_json);
                    });
                    query
                        .push(
                            " ON CONFLICT (id) DO UPDATE SET ended_ms = excluded.ended_ms, ended_by = excluded.ended_by, \
                             tenant = excluded.tenant, body = excluded.body \
                             WHERE excluded.ended_ms IS NOT NULL AND (interactions.ended_ms IS NULL OR (interactions.ended_by = ",
                        )
                        .push_bind(LOST)
                        .push(" AND excluded.ended_by <> ")
                        .push_bind(LOST)
                        .push("))");
                    query.build().execute(&mut *transaction).await?;
                }
                for said in said.chunks(ROWS_MAX) {
                    let mut query = QueryBuilder::<$database>::new(
                        "INSERT INTO interaction_dispositions (id, at_ms, agent, body) ",
                    );
                    query.push_values(said, |mut values, (row, said)| {
                        values
                            .push_bind(row.id.clone())
                            .push_bind(said.at_ms)
                            .push_bind(text(&said.agent))
                            .push_bind(row.body.clone())
                            .push_unseparated($as_json);
                    });
                    query.push(" ON CONFLICT DO NOTHING");
                    query.build().execute(&mut *transaction).await?;
                }
                let with_names = rows.iter().copied().chain(said.iter().map(|(row, _)| *row));
                let names: Vec<_> = with_names
                    .flat_map(|row| row.names.iter().map(move |(kind, name)| (&row.id, *kind, name)))
                    .collect();
                for names in names.chunks(NAMES_MAX) {
                    let mut query =
                        QueryBuilder::<$database>::new("INSERT INTO interaction_names (id, kind, name) ");
                    query.push_values(names, |mut values, (id, kind, name)| {
                        values.push_bind((*id).clone()).push_bind(kind.as_str()).push_bind(text(name));
                    });
                    query.push(" ON CONFLICT DO NOTHING");
                    query.build().execute(&mut *transaction).await?;
                }
                transaction.commit().await
            }

            async fn read_page(&self, wanted: &Wanted, most: usize) -> Result<Vec<Found>, sqlx::Error> {
                let mut query = QueryBuilder::<$database>::new(
                    "SELECT i.id, i.tenant, CAST(i.body AS TEXT) AS body FROM interactions i WHERE i.id >= ",
                );
                query.push_bind(bound(wanted.from_ms.unwrap_or(0)));
                if let Some(to) = wanted.to_ms {
                    query.push(" AND i.id < ").push_bind(bound(to));
                }
                if let Some(after) = &wanted.after {
                    query.push(" AND i.id < ").push_bind(after.clone());
                }
                if let Some(tenant) = &wanted.tenant {
                    query.push(" AND i.tenant = ").push_bind(text(tenant));
                }
                if let Some(by) = &wanted.ended_by {
                    query.push(" AND i.ended_by = ").push_bind(text(by));
                }
                if !wanted.open {
                    query.push(" AND i.ended_ms IS NOT NULL");
                }
                for (kind, name) in &wanted.names {
                    query
                        .push(" AND EXISTS (SELECT 1 FROM interaction_names n WHERE n.id = i.id AND n.kind = ")
                        .push_bind(kind.as_str())
                        .push(" AND n.name = ")
                        .push_bind(text(name))
                        .push(")");
                }
                query.push(" ORDER BY i.id DESC LIMIT ").push_bind(most.min(PAGE_MAX) as i64);
                let rows = query.build().fetch_all(&self.pool).await?;
                let found: Result<Vec<Found>, sqlx::Error> = rows
                    .iter()
                    .map(|row| {
                        Ok(Found {
                            id: row.try_get("id")?,
                            tenant: row.try_get("tenant")?,
                            body: row.try_get("body")?,
                        })
                    })
                    .collect();
                self.with_said(found?).await
            }

            /// Adds what agents have said of each.
            async fn with_said(&self, mut all: Vec<Found>) -> Result<Vec<Found>, sqlx::Error> {
                if all.is_empty() {
                    return Ok(all);
                }
                let mut query = QueryBuilder::<$database>::new(
                    "SELECT id, CAST(body AS TEXT) AS body FROM interaction_dispositions WHERE id IN (",
                );
                let mut ids = query.separated(", ");
                for found in &all {
                    ids.push_bind(found.id.clone());
                }
                query.push(") ORDER BY id, at_ms, agent");
                let mut said: BTreeMap<String, Vec<String>> = BTreeMap::new();
                for row in query.build().fetch_all(&self.pool).await? {
                    said.entry(row.try_get("id")?).or_default().push(row.try_get("body")?);
                }
                for found in &mut all {
                    let said = said.remove(&found.id).unwrap_or_default();
                    found.body = with_dispositions(std::mem::take(&mut found.body), &said);
                }
                Ok(all)
            }

            async fn read_one(&self, id: &str) -> Result<Option<Found>, sqlx::Error> {
                let mut query = QueryBuilder::<$database>::new(
                    "SELECT i.id, i.tenant, CAST(i.body AS TEXT) AS body FROM interactions i WHERE i.id = ",
                );
                query.push_bind(id.to_owned());
                let Some(row) = query.build().fetch_optional(&self.pool).await? else { return Ok(None) };
                let found = Found {
                    id: row.try_get("id")?,
                    tenant: row.try_get("tenant")?,
                    body: row.try_get("body")?,
                };
                Ok(self.with_said(vec![found]).await?.pop())
            }

            async fn read_orphans(
                &self,
                owner: &str,
                instance: &str,
                before_ms: i64,
            ) -> Result<Vec<Row>, sqlx::Error> {
                let mut query = QueryBuilder::<$database>::new(
                    "SELECT id, tenant, owner, instance, started_ms, CAST(body AS TEXT) AS body FROM interactions \
                     WHERE ended_ms IS NULL AND ((owner = ",
                );
                query
                    .push_bind(owner.to_owned())
                    .push(" AND instance <> ")
                    .push_bind(instance.to_owned())
                    .push(") OR id < ")
                    .push_bind(bound(before_ms))
                    .push(") ORDER BY id LIMIT ")
                    .push_bind(PAGE_MAX as i64);
                let rows = query.build().fetch_all(&self.pool).await?;
                rows.iter()
                    .map(|row| {
                        Ok(Row {
                            id: row.try_get("id")?,
                            tenant: row.try_get("tenant")?,
                            owner: row.try_get("owner")?,
                            instance: row.try_get("instance")?,
                            started_ms: row.try_get("started_ms")?,
                            ended_ms: None,
                            ended_by: None,
                            names: Vec::new(),
                            said: None,
                            body: row.try_get("body")?,
                        })
                    })
                    .collect()
            }

            async fn delete_some(&self, tenant: &str, before_ms: i64) -> Result<u64, sqlx::Error> {
                let mut query = QueryBuilder::<$database>::new(
                    "DELETE FROM interactions WHERE id IN (SELECT id FROM interactions WHERE tenant = ",
                );
                query
                    .push_bind(text(tenant))
                    .push(" AND id < ")
                    .push_bind(bound(before_ms))
                    .push(" ORDER BY id LIMIT ")
                    .push_bind(PAGE_MAX as i64)
                    .push(")");
                Ok(query.build().execute(&self.pool).await?.rows_affected())
            }
        }

        impl Records for $store {
            fn write<'a>(&'a self, rows: &'a [Row]) -> BoxFuture<'a, Result<(), RecordsError>> {
                Box::pin(async move {
                    self.ready().await?;
                    bounded(self.write_all(rows)).await
                })
            }

            fn page<'a>(
                &'a self,
                wanted: &'a Wanted,
                most: usize,
            ) -> BoxFuture<'a, Result<Vec<Found>, RecordsError>> {
                Box::pin(async move {
                    self.ready().await?;
                    bounded(self.read_page(wanted, most)).await
                })
            }

            fn find<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Found>, RecordsError>> {
                Box::pin(async move {
                    self.ready().await?;
                    bounded(self.read_one(id)).await
                })
            }

            fn orphans<'a>(
                &'a self,
                owner: &'a str,
                instance: &'a str,
                before_ms: i64,
            ) -> BoxFuture<'a, Result<Vec<Row>, RecordsError>> {
                Box::pin(async move {
                    self.ready().await?;
                    bounded(self.read_orphans(owner, instance, before_ms)).await
                })
            }

            fn delete<'a>(
                &'a self,
                tenant: &'a str,
                before_ms: i64,
            ) -> BoxFuture<'a, Result<u64, RecordsError>> {
                Box::pin(async move {
                    self.ready().await?;
                    bounded(self.delete_some(tenant, before_ms)).await
                })
            }
        }
    };
}

records!(
    Sqlite,
    sqlx::Sqlite,
    "../migrations/sqlite/0001_interactions.sql",
    "../migrations/sqlite/0002_dispositions.sql",
    ""
);
records!(
    Postgres,
    sqlx::Postgres,
    "../migrations/postgres/0001_interactions.sql",
    "../migrations/postgres/0002_dispositions.sql",
    "::json"
);
