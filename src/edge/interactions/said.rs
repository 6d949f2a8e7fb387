//! What agents say of contacts in the work after them: `dispositions` of a record, whose time is their own.

use std::{collections::BTreeMap, sync::Arc};

use call::record::Disposed;
use store::records::{self, Kind, Row, Source};

/// As it is kept.
#[derive(Debug)]
pub struct Said {
    instance: Arc<str>,
    disposed: Disposed,
}

impl Said {
    /// Of this run of a process.
    #[must_use]
    pub const fn new(disposed: Disposed, instance: Arc<str>) -> Self {
        Self { instance, disposed }
    }

    fn id(&self) -> String {
        let Disposed { started_at, call, .. } = &self.disposed;
        records::id(started_at.as_millisecond(), &self.instance, call.0)
    }

    fn body(&self) -> String {
        // Strings always become JSON.
        serde_json::to_string(&self.disposed).unwrap_or_else(|_| "{}".into())
    }
}

impl Source for Said {
    fn row(&self) -> Row {
        let Disposed { started_at, tenant, agent, disposition, at, .. } = &self.disposed;
        Row {
            id: self.id(),
            tenant: tenant.clone(),
            owner: String::new(),
            instance: self.instance.to_string(),
            started_ms: started_at.as_millisecond(),
            ended_ms: Some(at.as_millisecond()),
            ended_by: None,
            names: vec![(Kind::Disposition, disposition.clone())],
            said: Some(records::Said { at_ms: at.as_millisecond(), agent: agent.to_string() }),
            body: self.body(),
        }
    }
}

/// What was said of late, by the id of the interaction.
pub(super) struct Sayings(BTreeMap<String, Vec<Arc<Said>>>);

impl Sayings {
    pub(super) fn of(all: Vec<Arc<Said>>) -> Self {
        let mut by_id: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for said in all {
            by_id.entry(said.id()).or_default().push(said);
        }
        Self(by_id)
    }

    /// A row with what was said of its interaction.
    pub(super) fn complete(&self, mut row: Row) -> Row {
        let said = self.0.get(&row.id).map(Vec::as_slice).unwrap_or_default();
        row.names.extend(said.iter().map(|said| (Kind::Disposition, said.disposed.disposition.clone())));
        let bodies: Vec<String> = said.iter().map(|said| said.body()).collect();
        row.body = records::with_dispositions(row.body, &bodies);
        row
    }
}
