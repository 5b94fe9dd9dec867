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
