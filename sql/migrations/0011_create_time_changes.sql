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
