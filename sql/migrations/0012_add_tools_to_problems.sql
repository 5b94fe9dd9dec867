-- Problems: what failed with which tool, how often, and whether anybody wants to hear of it.
ALTER TABLE problems
    ADD COLUMN tool text,
    ADD COLUMN tool_version text,
    ADD COLUMN attempts integer NOT NULL DEFAULT 1 CHECK (attempts > 0),
    ADD COLUMN ignored_at timestamptz,
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX problems_updated_idx ON problems (updated_at, asset_id, step);
CREATE INDEX problems_tool_idx ON problems (coalesce(tool, 'lumilio'), tool_version) WHERE ignored_at IS NULL;
