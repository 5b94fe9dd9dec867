-- What processors find out: streams, what the picture was made of, hashes.
ALTER TABLE assets
    ADD COLUMN container text,
    ADD COLUMN video_codec text,
    ADD COLUMN audio_codec text,
    ADD COLUMN frame_rate double precision,
    ADD COLUMN bit_rate bigint,
    ADD COLUMN rotation smallint,
    ADD COLUMN hdr boolean,
    ADD COLUMN sample_rate integer,
    ADD COLUMN channels smallint,
    ADD COLUMN playback text CHECK (playback IN ('direct', 'remux', 'transcode')),
    ADD COLUMN render_source text,
    ADD COLUMN perceptual_hash bigint,
    ADD COLUMN thumbhash bytea CHECK (octet_length(thumbhash) <= 64);
COMMENT ON COLUMN assets.bit_rate IS 'bits a second of the whole file';
COMMENT ON COLUMN assets.rotation IS 'degrees clockwise that a player turns the frames by';
COMMENT ON COLUMN assets.playback IS 'what a browser needs: nothing, another container, other codecs';
COMMENT ON COLUMN assets.perceptual_hash IS '64-bit DCT hash as a signed integer';

-- What the file and its sidecars tell people.
ALTER TABLE assets
    ADD COLUMN title text,
    ADD COLUMN description text,
    ADD COLUMN rating smallint CHECK (rating BETWEEN -1 AND 5),
    ADD COLUMN people jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN music jsonb,
    ADD COLUMN country_code text,
    ADD COLUMN country text,
    ADD COLUMN region text,
    ADD COLUMN city text;
COMMENT ON COLUMN assets.rating IS '-1 rejected, 0 unrated, 1 to 5 stars';
ALTER TABLE asset_tags DROP CONSTRAINT asset_tags_source_check;
ALTER TABLE asset_tags ADD CHECK (source IN ('user', 'file', 'system', 'inferred'));

-- When: how sure, and the instant beside the wall clock.
ALTER TABLE assets
    ADD COLUMN captured_zone text,
    ADD COLUMN captured_offset_source text,
    ADD COLUMN captured_confidence text NOT NULL DEFAULT 'low' CHECK (captured_confidence IN ('high', 'medium', 'low')),
    ADD COLUMN captured_utc timestamptz GENERATED ALWAYS AS (
        (captured_local - make_interval(secs => captured_offset)) AT TIME ZONE 'UTC'
    ) STORED;
COMMENT ON COLUMN assets.captured_zone IS 'IANA time zone of the place';
COMMENT ON COLUMN assets.captured_utc IS 'null while the offset is unknown';
CREATE INDEX assets_captured_utc_idx ON assets (owner_id, captured_utc, id) WHERE trashed_at IS NULL;

-- One shot in several files: the primary is listed, its companions hang on it.
ALTER TABLE assets
    ADD COLUMN content_identifier text,
    ADD COLUMN motion_offset bigint CHECK (motion_offset > 0),
    ADD COLUMN motion_bytes bigint CHECK (motion_bytes > 0),
    ADD COLUMN primary_id uuid REFERENCES assets,
    ADD COLUMN companion_role text CHECK (companion_role IN ('raw', 'live_video')),
    ADD CHECK ((primary_id IS NULL) = (companion_role IS NULL)),
    ADD CHECK (primary_id <> id),
    ADD CHECK ((motion_offset IS NULL) = (motion_bytes IS NULL));
COMMENT ON COLUMN assets.content_identifier IS 'Apple''s, the same in both files of a Live Photo';
COMMENT ON COLUMN assets.motion_offset IS 'where the video begins that a motion photo carries within its own file';
CREATE INDEX assets_content_identifier_idx ON assets (owner_id, content_identifier) WHERE content_identifier IS NOT NULL;
CREATE INDEX assets_stem_idx ON assets (owner_id, lower(regexp_replace(file_name, '\.[^.]*$', '')));
CREATE INDEX assets_primary_idx ON assets (primary_id) WHERE primary_id IS NOT NULL;

-- Listings show primaries.
DROP INDEX assets_captured_idx, assets_created_idx, assets_kind_captured_idx, assets_kind_created_idx;
CREATE INDEX assets_captured_idx ON assets (owner_id, captured_local, id) WHERE trashed_at IS NULL AND primary_id IS NULL;
CREATE INDEX assets_created_idx ON assets (owner_id, created_at, id) WHERE trashed_at IS NULL AND primary_id IS NULL;
CREATE INDEX assets_kind_captured_idx ON assets (owner_id, kind, captured_local, id) WHERE trashed_at IS NULL AND primary_id IS NULL;
CREATE INDEX assets_kind_created_idx ON assets (owner_id, kind, created_at, id) WHERE trashed_at IS NULL AND primary_id IS NULL;

-- What browsers play where they cannot play the original.
CREATE TABLE web_versions (
    asset_id      uuid PRIMARY KEY REFERENCES assets,
    repository_id uuid NOT NULL REFERENCES repositories,
    mime          text NOT NULL,
    made_by       text NOT NULL CHECK (made_by IN ('remux', 'transcode')),
    encoder       text,
    width         integer,
    height        integer,
    bytes         bigint NOT NULL CHECK (bytes > 0),
    created_at    timestamptz NOT NULL DEFAULT now()
);

-- What other programs wrote beside a file: kept whole, and read again when the rules of reading change.
CREATE TABLE sidecars (
    asset_id   uuid NOT NULL REFERENCES assets,
    kind       text NOT NULL CHECK (kind IN ('xmp', 'takeout')),
    file_name  text NOT NULL,
    content    bytea NOT NULL CHECK (octet_length(content) <= 4194304),
    tags       jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (asset_id, kind)
);

-- Bulk changes of capture times: where each stands, so that a crash repeats nothing.
CREATE TABLE time_changes (
    id         uuid PRIMARY KEY DEFAULT new_id(),
    owner_id   uuid NOT NULL REFERENCES users,
    seconds    bigint,
    selection  jsonb NOT NULL,
    done_up_to uuid,
    changed    bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz
);
COMMENT ON COLUMN time_changes.seconds IS 'how far to shift; null: read the times out of the facts again';

-- Problems: what failed with which tool, how often, and whether anybody wants to hear of it.
ALTER TABLE problems
    ADD COLUMN tool text,
    ADD COLUMN tool_version text,
    ADD COLUMN attempts integer NOT NULL DEFAULT 1 CHECK (attempts > 0),
    ADD COLUMN ignored_at timestamptz,
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX problems_updated_idx ON problems (updated_at, asset_id, step);
CREATE INDEX problems_tool_idx ON problems (tool, tool_version) WHERE ignored_at IS NULL;
