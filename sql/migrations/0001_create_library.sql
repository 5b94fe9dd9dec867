CREATE EXTENSION IF NOT EXISTS vector;
CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- Time-ordered identifiers (RFC 9562, version 7) keep B-trees compact; uuidv7() itself exists only from PostgreSQL 18 on.
CREATE FUNCTION new_id() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')
            || '7' || substr(random_hex, 14, 3) || substr(random_hex, 17))::uuid
    FROM (SELECT replace(gen_random_uuid()::text, '-', '') AS random_hex) AS r
$$;

CREATE TABLE users (
    id            uuid PRIMARY KEY DEFAULT new_id(),
    username      text NOT NULL CHECK (username <> ''),
    password_hash text NOT NULL,
    role          text NOT NULL CHECK (role IN ('admin', 'user', 'guest')),
    created_at    timestamptz NOT NULL DEFAULT now(),
    disabled_at   timestamptz
);
-- prevents two accounts that differ only in case
CREATE UNIQUE INDEX users_username_key ON users (lower(username));

CREATE TABLE refresh_tokens (
    token_hash  bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    user_id     uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    family_id   uuid NOT NULL,
    issued_at   timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    replaced_at timestamptz
);
CREATE INDEX refresh_tokens_user_idx ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_family_idx ON refresh_tokens (family_id);

CREATE TABLE repositories (
    id         uuid PRIMARY KEY,
    owner_id   uuid NOT NULL REFERENCES users,
    name       text NOT NULL,
    root       text NOT NULL UNIQUE,
    is_default boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);
-- prevents two answers to "where does an upload go"
CREATE UNIQUE INDEX repositories_default_key ON repositories (owner_id) WHERE is_default;

CREATE TABLE assets (
    id              uuid PRIMARY KEY DEFAULT new_id(),
    owner_id        uuid NOT NULL REFERENCES users,
    content_hash    bytea NOT NULL CHECK (octet_length(content_hash) = 32),
    file_name       text NOT NULL,
    size            bigint NOT NULL CHECK (size >= 0),
    kind            text NOT NULL CHECK (kind IN ('photo', 'video', 'audio')),
    format          text NOT NULL,
    mime            text NOT NULL,
    state           text NOT NULL CHECK (state IN ('stored', 'ready', 'unsupported', 'problem')),
    width           integer CHECK (width > 0),
    height          integer CHECK (height > 0),
    orientation     smallint,
    make            text,
    model           text,
    lens            text,
    iso             integer,
    f_number        double precision,
    exposure_time   double precision,
    focal_length    double precision,
    duration        double precision,
    captured_local  timestamp NOT NULL,
    captured_offset integer CHECK (abs(captured_offset) < 86400),
    captured_source text NOT NULL,
    latitude        double precision CHECK (abs(latitude) <= 90),
    longitude       double precision CHECK (abs(longitude) <= 180),
    altitude        double precision,
    exif            jsonb NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    trashed_at      timestamptz,
    CHECK ((latitude IS NULL) = (longitude IS NULL))
);
COMMENT ON COLUMN assets.content_hash IS 'BLAKE3 of the original bytes';
COMMENT ON COLUMN assets.captured_local IS 'wall clock at the place of recording';
COMMENT ON COLUMN assets.captured_offset IS 'seconds east of UTC; null while the zone is unknown';
COMMENT ON COLUMN assets.exposure_time IS 'seconds';
COMMENT ON COLUMN assets.focal_length IS 'millimetres';
-- prevents a second asset for the same bytes of one owner
CREATE UNIQUE INDEX assets_content_key ON assets (owner_id, content_hash);
CREATE INDEX assets_captured_idx ON assets (owner_id, captured_local, id) WHERE trashed_at IS NULL;
CREATE INDEX assets_created_idx ON assets (owner_id, created_at, id) WHERE trashed_at IS NULL;
CREATE INDEX assets_kind_captured_idx ON assets (owner_id, kind, captured_local, id) WHERE trashed_at IS NULL;
CREATE INDEX assets_kind_created_idx ON assets (owner_id, kind, created_at, id) WHERE trashed_at IS NULL;

CREATE TABLE locations (
    id            uuid PRIMARY KEY DEFAULT new_id(),
    asset_id      uuid NOT NULL REFERENCES assets,
    repository_id uuid NOT NULL REFERENCES repositories,
    path          text NOT NULL CHECK (path <> ''),
    state         text NOT NULL DEFAULT 'present' CHECK (state IN ('present', 'trashed')),
    trashed_at    timestamptz,
    trash_path    text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    CHECK ((state = 'trashed') = (trashed_at IS NOT NULL)),
    CHECK ((state = 'trashed') = (trash_path IS NOT NULL))
);
-- prevents two assets that claim the same file
CREATE UNIQUE INDEX locations_path_key ON locations (repository_id, path) WHERE state = 'present';
CREATE INDEX locations_asset_idx ON locations (asset_id);

CREATE TABLE file_records (
    repository_id uuid NOT NULL REFERENCES repositories,
    path          text NOT NULL,
    size          bigint NOT NULL,
    mtime_ns      bigint NOT NULL,
    device        bigint NOT NULL,
    inode         bigint NOT NULL,
    recorded_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (repository_id, path)
);
COMMENT ON TABLE file_records IS 'what stat said of a file when it was last looked at; reconcile compares against it';
CREATE INDEX file_records_inode_idx ON file_records (device, inode);

CREATE TABLE thumbnails (
    asset_id      uuid NOT NULL REFERENCES assets,
    size          integer NOT NULL,
    repository_id uuid NOT NULL REFERENCES repositories,
    width         integer NOT NULL,
    height        integer NOT NULL,
    bytes         integer NOT NULL CHECK (bytes > 0),
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (asset_id, size)
);

CREATE TABLE problems (
    asset_id   uuid NOT NULL REFERENCES assets,
    step       text NOT NULL,
    code       text NOT NULL,
    reason     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (asset_id, step)
);
CREATE INDEX problems_code_idx ON problems (code);

CREATE TABLE embeddings (
    asset_id   uuid NOT NULL REFERENCES assets,
    space      text NOT NULL,
    embedding  halfvec NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (asset_id, space)
);

CREATE TABLE species_predictions (
    asset_id        uuid NOT NULL REFERENCES assets,
    space           text NOT NULL,
    label           text NOT NULL,
    scientific_name text,
    confidence      real NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    PRIMARY KEY (asset_id, space, label)
);

CREATE TABLE sync_operations (
    id            uuid PRIMARY KEY DEFAULT new_id(),
    repository_id uuid NOT NULL REFERENCES repositories,
    kind          text NOT NULL CHECK (kind IN ('realtime', 'reconciliation', 'startup', 'manual')),
    subtree       text NOT NULL DEFAULT '',
    started_at    timestamptz NOT NULL DEFAULT now(),
    finished_at   timestamptz,
    added         integer NOT NULL DEFAULT 0,
    updated       integer NOT NULL DEFAULT 0,
    moved         integer NOT NULL DEFAULT 0,
    removed       integer NOT NULL DEFAULT 0,
    unchanged     integer NOT NULL DEFAULT 0,
    problems      integer NOT NULL DEFAULT 0
);
CREATE INDEX sync_operations_repository_idx ON sync_operations (repository_id, started_at);

CREATE TABLE albums (
    id             uuid PRIMARY KEY DEFAULT new_id(),
    owner_id       uuid NOT NULL REFERENCES users,
    title          text NOT NULL,
    description    text NOT NULL DEFAULT '',
    cover_asset_id uuid REFERENCES assets ON DELETE SET NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX albums_owner_idx ON albums (owner_id, title);

CREATE TABLE album_assets (
    album_id uuid NOT NULL REFERENCES albums ON DELETE CASCADE,
    asset_id uuid NOT NULL REFERENCES assets,
    position double precision NOT NULL DEFAULT 0,
    added_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (album_id, asset_id)
);
CREATE INDEX album_assets_asset_idx ON album_assets (asset_id);

CREATE TABLE tags (
    id       uuid PRIMARY KEY DEFAULT new_id(),
    owner_id uuid NOT NULL REFERENCES users,
    name     text NOT NULL CHECK (name <> '')
);
-- prevents two tags of one owner that differ only in case
CREATE UNIQUE INDEX tags_name_key ON tags (owner_id, lower(name));

CREATE TABLE asset_tags (
    asset_id   uuid NOT NULL REFERENCES assets,
    tag_id     uuid NOT NULL REFERENCES tags ON DELETE CASCADE,
    source     text NOT NULL CHECK (source IN ('user', 'system', 'inferred')),
    confidence real CHECK (confidence BETWEEN 0 AND 1),
    PRIMARY KEY (asset_id, tag_id)
);
CREATE INDEX asset_tags_tag_idx ON asset_tags (tag_id);
