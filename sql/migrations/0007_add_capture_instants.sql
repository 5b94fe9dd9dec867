-- When: how sure, and the instant beside the wall clock.
ALTER TABLE assets
    ADD COLUMN captured_zone text,
    ADD COLUMN captured_offset_source text,
    ADD COLUMN captured_confidence text NOT NULL DEFAULT 'low' CHECK (captured_confidence IN ('high', 'medium', 'low'));
COMMENT ON COLUMN assets.captured_zone IS 'IANA time zone of the place';

-- Not a stored column: that would write a library of millions anew.
CREATE FUNCTION instant(local timestamp, seconds_east integer) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT (local - make_interval(secs => seconds_east)) AT TIME ZONE 'UTC' $$;
CREATE INDEX assets_instant_idx ON assets (owner_id, instant(captured_local, captured_offset), id) WHERE trashed_at IS NULL;
