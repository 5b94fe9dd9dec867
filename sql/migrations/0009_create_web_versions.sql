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
