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
CREATE INDEX assets_stem_idx ON assets (owner_id, lower(regexp_replace(file_name, '\.[^.]*$', '')), captured_local);
CREATE INDEX assets_primary_idx ON assets (primary_id) WHERE primary_id IS NOT NULL;

-- Listings show primaries.
DROP INDEX assets_captured_idx, assets_created_idx, assets_kind_captured_idx, assets_kind_created_idx;
CREATE INDEX assets_captured_idx ON assets (owner_id, captured_local, id) WHERE trashed_at IS NULL AND primary_id IS NULL;
CREATE INDEX assets_created_idx ON assets (owner_id, created_at, id) WHERE trashed_at IS NULL AND primary_id IS NULL;
CREATE INDEX assets_kind_captured_idx ON assets (owner_id, kind, captured_local, id) WHERE trashed_at IS NULL AND primary_id IS NULL;
CREATE INDEX assets_kind_created_idx ON assets (owner_id, kind, created_at, id) WHERE trashed_at IS NULL AND primary_id IS NULL;
