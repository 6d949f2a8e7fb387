-- What agents have said of interactions in the work after them, each once.
CREATE TABLE interaction_dispositions (
    id TEXT COLLATE "C" NOT NULL REFERENCES interactions (id) ON DELETE CASCADE,
    -- Milliseconds since 1970.
    at_ms BIGINT NOT NULL,
    -- `namespace/name`.
    agent TEXT NOT NULL,
    -- As the API gives it out.
    body JSON NOT NULL,
    PRIMARY KEY (id, at_ms, agent)
);
