-- One row for each interaction. Its id begins with the time of its INVITE, so that the order of ids is that of time.
CREATE TABLE interactions (
    id TEXT PRIMARY KEY NOT NULL,
    -- Namespace of the tenant; empty: of none.
    tenant TEXT NOT NULL,
    -- Whose disk it came from, and which run of that process it was of.
    owner TEXT NOT NULL,
    instance TEXT NOT NULL,
    -- Milliseconds since 1970. No end: it is up.
    started_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    ended_by TEXT,
    -- The whole record, as the API gives it out.
    body TEXT NOT NULL
);
CREATE INDEX interactions_by_tenant ON interactions (tenant, id);
CREATE INDEX interactions_open ON interactions (owner, id) WHERE ended_ms IS NULL;

-- Whom and what an interaction had to do with, so that it can be found by it.
CREATE TABLE interaction_names (
    id TEXT NOT NULL REFERENCES interactions (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (id, kind, name)
) WITHOUT ROWID;
CREATE INDEX interaction_names_by_name ON interaction_names (kind, name, id);
