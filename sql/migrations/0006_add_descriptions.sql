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
