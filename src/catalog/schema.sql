CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- Small numbers for names that many rows repeat. A number is never used twice.
CREATE TABLE source (number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE) STRICT;

-- `body` is the volume as JSON; the other columns repeat what is looked up.
CREATE TABLE volume (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    volser TEXT NOT NULL,
    status TEXT NOT NULL,
    pool TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX volume_volser ON volume (volser) WHERE status <> 'destroyed';

CREATE TABLE segment (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    set_id BLOB NOT NULL,
    created INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    blocks INTEGER NOT NULL,
    block_size INTEGER NOT NULL,
    digest BLOB NOT NULL,
    manifest_offset INTEGER NOT NULL,
    manifest_bytes INTEGER NOT NULL,
    manifest_digest BLOB NOT NULL,
    members INTEGER NOT NULL,
    staged INTEGER NOT NULL,
    -- Whether its members are here, too.
    listed INTEGER NOT NULL
) STRICT;

CREATE TABLE copy (
    segment INTEGER NOT NULL REFERENCES segment,
    volume INTEGER NOT NULL REFERENCES volume,
    object INTEGER NOT NULL,
    file INTEGER NOT NULL,
    session BLOB NOT NULL,
    state TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (segment, volume)
) STRICT, WITHOUT ROWID;
CREATE INDEX copy_volume ON copy (volume, object);

CREATE TABLE bad_member (
    segment INTEGER NOT NULL,
    volume INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    PRIMARY KEY (segment, volume, ordinal),
    FOREIGN KEY (segment, volume) REFERENCES copy ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE intent (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    volume INTEGER NOT NULL REFERENCES volume,
    segment INTEGER NOT NULL REFERENCES segment,
    object INTEGER NOT NULL,
    file INTEGER NOT NULL
) STRICT;

CREATE TABLE session (
    id BLOB PRIMARY KEY,
    volume INTEGER NOT NULL REFERENCES volume,
    started INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX session_volume ON session (volume, started);

CREATE TABLE evidence (
    volume INTEGER NOT NULL REFERENCES volume,
    at INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (volume, at)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    volume BLOB,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX event_at ON event (at);

-- Members in the order of their manifest: up to 512 of one source of one segment. `keys` comes
-- before `facts`, so that a search reads no more than it needs.
CREATE TABLE pack (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    segment INTEGER NOT NULL REFERENCES segment,
    source INTEGER NOT NULL REFERENCES source,
    first INTEGER NOT NULL,
    members INTEGER NOT NULL,
    -- Bounds of what is in it: times of modification in seconds, and sizes.
    oldest INTEGER NOT NULL,
    newest INTEGER NOT NULL,
    smallest INTEGER NOT NULL,
    largest INTEGER NOT NULL,
    first_key BLOB NOT NULL,
    keys BLOB NOT NULL,
    facts BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX pack_first ON pack (segment, first);
CREATE INDEX pack_key ON pack (segment, source, first_key);

-- Which groups of 64 members have a trigram in their keys: for stretches of up to 512 packs, lists
-- of groups. `number` is the first pack's, times 2^24, and the first trigram on the page.
CREATE TABLE trigram_page (number INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;

-- The digests of a segment: sorted pairs of the first 32 bits and a bucket of 64 manifest lines.
CREATE TABLE digest_page (
    number INTEGER PRIMARY KEY,
    segment INTEGER NOT NULL REFERENCES segment,
    first INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE INDEX digest_first ON digest_page (segment, first);

-- `base` is the run of which the blocks are changes; NULL when they are the whole.
CREATE TABLE run (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    source INTEGER NOT NULL REFERENCES source,
    base BLOB,
    started INTEGER NOT NULL,
    ended INTEGER,
    complete INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    missing INTEGER NOT NULL,
    -- Segments with a greater number became known after the run; NULL when it was read from tape.
    covers INTEGER
) STRICT;
CREATE INDEX run_source ON run (source, ended);

-- Changes sorted by item, a few hundred a block. `first` sorts as the first item in the block does.
CREATE TABLE run_block (
    run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    first BLOB NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX run_block_first ON run_block (run, first);

-- Which runs stand in a volume index of which volumes.
CREATE TABLE run_copy (
    run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    volume INTEGER NOT NULL REFERENCES volume,
    PRIMARY KEY (run, volume)
) STRICT, WITHOUT ROWID;
