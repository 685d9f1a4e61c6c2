-- The newest columns are explained in additions.rs, which gives them to older files.
PRAGMA application_id = 10;

-- References to transcripts and ids of events: no content and no key. Times are milliseconds since 1970.

-- Where events go. What one server took says nothing of another one.
CREATE TABLE destination (
    id INTEGER PRIMARY KEY,
    origin TEXT NOT NULL,
    key_hash TEXT NOT NULL,
    -- Runs in a row in which the server took nothing, and why.
    attempts INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    -- Another attempt will not change the last error: the user has to do something.
    refused INTEGER NOT NULL DEFAULT 0,
    failed_at INTEGER,
    -- Not to be tried before: by our own back-off, and by what the server asked for.
    due_at INTEGER NOT NULL DEFAULT 0,
    asked_until INTEGER NOT NULL DEFAULT 0,
    delivered_at INTEGER,
    lane TEXT,
    lane_until INTEGER NOT NULL DEFAULT 0,
    over_limit INTEGER NOT NULL DEFAULT 0,
    UNIQUE (origin, key_hash)
) STRICT;

CREATE TABLE session (
    id INTEGER PRIMARY KEY,
    destination INTEGER NOT NULL REFERENCES destination,
    -- The path of the main transcript, in the platform's own bytes.
    transcript BLOB NOT NULL,
    session_id TEXT NOT NULL,
    -- How it is to be converted: its own project's settings, without the key.
    options TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    -- It runs, or was left without a word: the client's process.
    running INTEGER NOT NULL DEFAULT 0,
    client_pid INTEGER,
    client_started INTEGER,
    -- Since when something of it is to be sent. NULL: nothing is.
    owed_at INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    due_at INTEGER NOT NULL DEFAULT 0,
    -- Given up.
    failed_at INTEGER,
    delivered_at INTEGER,
    -- What its files were when all of it was delivered.
    delivered_state TEXT,
    hooked INTEGER NOT NULL DEFAULT 0,
    turn_at INTEGER,
    ends TEXT,
    since INTEGER,
    project TEXT,
    part TEXT,
    read_before TEXT,
    UNIQUE (destination, transcript)
) STRICT;

-- Events that a server answered 200 to. `session` sent them; `covered`: so was the $ai_trace over them.
CREATE TABLE accepted (
    destination INTEGER NOT NULL,
    event BLOB NOT NULL,
    session INTEGER NOT NULL,
    covered INTEGER NOT NULL,
    PRIMARY KEY (destination, event)
) STRICT, WITHOUT ROWID;
CREATE INDEX uncovered ON accepted (session) WHERE covered = 0;

-- Events that a server refused for good: never sent again.
CREATE TABLE quarantined (
    destination INTEGER NOT NULL,
    event BLOB NOT NULL,
    session INTEGER NOT NULL,
    name TEXT NOT NULL,
    status INTEGER NOT NULL,
    message TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (destination, event)
) STRICT, WITHOUT ROWID;

-- Types of lines that this version does not know.
CREATE TABLE unknown_type (name TEXT PRIMARY KEY, lines INTEGER NOT NULL, seen_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- What `status` says besides: the last hook, its failure.
CREATE TABLE note (name TEXT PRIMARY KEY, text TEXT NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
