-- What all migrations make of an empty database. Written by `python -m tests.schema_dump`; do not edit.

CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;

CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;

CREATE FUNCTION public.append_job_error(errors jsonb, attempt smallint, code text, message text) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN (CASE WHEN (jsonb_array_length(errors) >= 20) THEN (errors - 0) ELSE errors END || jsonb_build_object('attempt', attempt, 'at', now(), 'code', code, 'message', message));

CREATE FUNCTION public.instant(local timestamp without time zone, seconds_east integer) RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT (local - make_interval(secs => seconds_east)) AT TIME ZONE 'UTC' $$;

CREATE FUNCTION public.new_id() RETURNS uuid
    LANGUAGE sql PARALLEL SAFE
    AS $$
    SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')
            || '7' || substr(random_hex, 14, 3) || substr(random_hex, 17))::uuid
    FROM (SELECT replace(gen_random_uuid()::text, '-', '') AS random_hex) AS r
$$;

CREATE TABLE public.album_assets (
    album_id uuid NOT NULL,
    asset_id uuid NOT NULL,
    "position" double precision DEFAULT 0 NOT NULL,
    added_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.albums (
    id uuid DEFAULT public.new_id() NOT NULL,
    owner_id uuid NOT NULL,
    title text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    cover_asset_id uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.finished_jobs (
    id bigint NOT NULL,
    kind text NOT NULL,
    queue text NOT NULL,
    key text,
    args jsonb NOT NULL,
    state text NOT NULL,
    priority smallint NOT NULL,
    attempt smallint NOT NULL,
    max_attempts smallint NOT NULL,
    run_at timestamp with time zone NOT NULL,
    owner_id uuid,
    claimed_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone DEFAULT now() NOT NULL,
    result jsonb,
    errors jsonb NOT NULL,
    CONSTRAINT finished_jobs_result_check CHECK (((result IS NULL) OR (state = 'completed'::text))),
    CONSTRAINT finished_jobs_state_check CHECK ((state = ANY (ARRAY['completed'::text, 'cancelled'::text, 'discarded'::text])))
)
WITH (autovacuum_vacuum_scale_factor='0.05', autovacuum_vacuum_insert_scale_factor='0.05', autovacuum_analyze_scale_factor='0.05');

COMMENT ON TABLE public.finished_jobs IS 'jobs that are over, until their retention is; an id is here or in jobs, never in both';

CREATE TABLE public.jobs (
    id bigint NOT NULL,
    kind text NOT NULL,
    queue text NOT NULL,
    key text,
    args jsonb NOT NULL,
    state text NOT NULL,
    priority smallint DEFAULT 1 NOT NULL,
    attempt smallint DEFAULT 0 NOT NULL,
    max_attempts smallint NOT NULL,
    run_at timestamp with time zone DEFAULT now() NOT NULL,
    owner_id uuid,
    worker_id integer,
    claimed_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    errors jsonb DEFAULT '[]'::jsonb NOT NULL,
    cancel_requested_at timestamp with time zone,
    progress real,
    progress_message text,
    CONSTRAINT jobs_attempt_check CHECK (((attempt >= 0) AND (attempt <= max_attempts))),
    CONSTRAINT jobs_attempt_left_check CHECK (((state = 'running'::text) OR (attempt < max_attempts))),
    CONSTRAINT jobs_cancel_check CHECK (((cancel_requested_at IS NULL) OR (state = 'running'::text))),
    CONSTRAINT jobs_claimed_check CHECK (((state <> 'running'::text) OR ((attempt >= 1) AND (claimed_at IS NOT NULL)))),
    CONSTRAINT jobs_errors_check CHECK ((jsonb_typeof(errors) = 'array'::text)),
    CONSTRAINT jobs_kind_check CHECK ((kind <> ''::text)),
    CONSTRAINT jobs_max_attempts_check CHECK ((max_attempts >= 1)),
    CONSTRAINT jobs_priority_check CHECK (((priority >= 0) AND (priority <= 3))),
    CONSTRAINT jobs_progress_check CHECK (((progress >= (0)::double precision) AND (progress <= (1)::double precision))),
    CONSTRAINT jobs_queue_check CHECK ((queue <> ''::text)),
    CONSTRAINT jobs_state_check CHECK ((state = ANY (ARRAY['available'::text, 'scheduled'::text, 'running'::text, 'retryable'::text]))),
    CONSTRAINT jobs_worker_check CHECK (((state = 'running'::text) = (worker_id IS NOT NULL)))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.01', autovacuum_vacuum_insert_scale_factor='0.05', autovacuum_analyze_scale_factor='0.02');

COMMENT ON COLUMN public.jobs.queue IS 'the pool of slots that the job runs in';

COMMENT ON COLUMN public.jobs.key IS 'at most one job of a kind and key is not final; null: any number';

COMMENT ON COLUMN public.jobs.priority IS '0 interactive, 1 normal, 2 background, 3 idle; lower runs first';

COMMENT ON COLUMN public.jobs.attempt IS 'claims that count: snoozed and interrupted ones are given back';

COMMENT ON COLUMN public.jobs.worker_id IS 'who runs it; that process holds the advisory lock of this number while it lives';

COMMENT ON COLUMN public.jobs.errors IS 'the last 20 failed attempts: attempt, at, code, message';

COMMENT ON COLUMN public.jobs.progress IS 'share of the work that is done, from 0 to 1';

CREATE VIEW public.all_jobs AS
 SELECT jobs.id,
    jobs.kind,
    jobs.queue,
    jobs.key,
    jobs.args,
    jobs.state,
    jobs.priority,
    jobs.attempt,
    jobs.max_attempts,
    jobs.run_at,
    jobs.owner_id,
    jobs.created_at,
    jobs.claimed_at,
    NULL::timestamp with time zone AS finished_at,
    NULL::jsonb AS result,
    jobs.errors,
    jobs.progress,
    jobs.progress_message,
    (jobs.cancel_requested_at IS NOT NULL) AS cancel_requested
   FROM public.jobs
UNION ALL
 SELECT finished_jobs.id,
    finished_jobs.kind,
    finished_jobs.queue,
    finished_jobs.key,
    finished_jobs.args,
    finished_jobs.state,
    finished_jobs.priority,
    finished_jobs.attempt,
    finished_jobs.max_attempts,
    finished_jobs.run_at,
    finished_jobs.owner_id,
    finished_jobs.created_at,
    finished_jobs.claimed_at,
    finished_jobs.finished_at,
    finished_jobs.result,
    finished_jobs.errors,
    NULL::real AS progress,
    NULL::text AS progress_message,
    false AS cancel_requested
   FROM public.finished_jobs;

COMMENT ON VIEW public.all_jobs IS 'what people see: a state that only one of the tables can have is looked for in that one';

CREATE TABLE public.asset_tags (
    asset_id uuid NOT NULL,
    tag_id uuid NOT NULL,
    source text NOT NULL,
    confidence real,
    CONSTRAINT asset_tags_confidence_check CHECK (((confidence >= (0)::double precision) AND (confidence <= (1)::double precision))),
    CONSTRAINT asset_tags_source_check CHECK ((source = ANY (ARRAY['user'::text, 'file'::text, 'system'::text, 'inferred'::text])))
);

CREATE TABLE public.assets (
    id uuid DEFAULT public.new_id() NOT NULL,
    owner_id uuid NOT NULL,
    content_hash bytea NOT NULL,
    file_name text NOT NULL,
    size bigint NOT NULL,
    kind text NOT NULL,
    format text NOT NULL,
    mime text NOT NULL,
    state text NOT NULL,
    width integer,
    height integer,
    orientation smallint,
    make text,
    model text,
    lens text,
    iso integer,
    f_number double precision,
    exposure_time double precision,
    focal_length double precision,
    duration double precision,
    captured_local timestamp without time zone NOT NULL,
    captured_offset integer,
    captured_source text NOT NULL,
    latitude double precision,
    longitude double precision,
    altitude double precision,
    exif jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    trashed_at timestamp with time zone,
    container text,
    video_codec text,
    audio_codec text,
    frame_rate double precision,
    bit_rate bigint,
    rotation smallint,
    hdr boolean,
    sample_rate integer,
    channels smallint,
    playback text,
    render_source text,
    perceptual_hash bigint,
    thumbhash bytea,
    title text,
    description text,
    rating smallint,
    people jsonb DEFAULT '[]'::jsonb NOT NULL,
    music jsonb,
    country_code text,
    country text,
    region text,
    city text,
    captured_zone text,
    captured_offset_source text,
    captured_confidence text DEFAULT 'low'::text NOT NULL,
    content_identifier text,
    motion_offset bigint,
    motion_bytes bigint,
    primary_id uuid,
    companion_role text,
    CONSTRAINT assets_captured_confidence_check CHECK ((captured_confidence = ANY (ARRAY['high'::text, 'medium'::text, 'low'::text]))),
    CONSTRAINT assets_captured_offset_check CHECK ((abs(captured_offset) < 86400)),
    CONSTRAINT assets_check CHECK (((latitude IS NULL) = (longitude IS NULL))),
    CONSTRAINT assets_check1 CHECK (((primary_id IS NULL) = (companion_role IS NULL))),
    CONSTRAINT assets_check2 CHECK ((primary_id <> id)),
    CONSTRAINT assets_check3 CHECK (((motion_offset IS NULL) = (motion_bytes IS NULL))),
    CONSTRAINT assets_companion_role_check CHECK ((companion_role = ANY (ARRAY['raw'::text, 'live_video'::text]))),
    CONSTRAINT assets_content_hash_check CHECK ((octet_length(content_hash) = 32)),
    CONSTRAINT assets_height_check CHECK ((height > 0)),
    CONSTRAINT assets_kind_check CHECK ((kind = ANY (ARRAY['photo'::text, 'video'::text, 'audio'::text]))),
    CONSTRAINT assets_latitude_check CHECK ((abs(latitude) <= (90)::double precision)),
    CONSTRAINT assets_longitude_check CHECK ((abs(longitude) <= (180)::double precision)),
    CONSTRAINT assets_motion_bytes_check CHECK ((motion_bytes > 0)),
    CONSTRAINT assets_motion_offset_check CHECK ((motion_offset > 0)),
    CONSTRAINT assets_playback_check CHECK ((playback = ANY (ARRAY['direct'::text, 'remux'::text, 'transcode'::text]))),
    CONSTRAINT assets_rating_check CHECK (((rating >= '-1'::integer) AND (rating <= 5))),
    CONSTRAINT assets_size_check CHECK ((size >= 0)),
    CONSTRAINT assets_state_check CHECK ((state = ANY (ARRAY['stored'::text, 'ready'::text, 'unsupported'::text, 'problem'::text]))),
    CONSTRAINT assets_thumbhash_check CHECK ((octet_length(thumbhash) <= 64)),
    CONSTRAINT assets_width_check CHECK ((width > 0))
);

COMMENT ON COLUMN public.assets.content_hash IS 'BLAKE3 of the original bytes';

COMMENT ON COLUMN public.assets.exposure_time IS 'seconds';

COMMENT ON COLUMN public.assets.focal_length IS 'millimetres';

COMMENT ON COLUMN public.assets.captured_local IS 'wall clock at the place of recording';

COMMENT ON COLUMN public.assets.captured_offset IS 'seconds east of UTC; null while the zone is unknown';

COMMENT ON COLUMN public.assets.bit_rate IS 'bits a second of the whole file';

COMMENT ON COLUMN public.assets.rotation IS 'degrees clockwise that a player turns the frames by';

COMMENT ON COLUMN public.assets.playback IS 'what a browser needs: nothing, another container, other codecs';

COMMENT ON COLUMN public.assets.perceptual_hash IS '64-bit DCT hash as a signed integer';

COMMENT ON COLUMN public.assets.rating IS '-1 rejected, 0 unrated, 1 to 5 stars';

COMMENT ON COLUMN public.assets.captured_zone IS 'IANA time zone of the place';

COMMENT ON COLUMN public.assets.content_identifier IS 'Apple''s, the same in both files of a Live Photo';

COMMENT ON COLUMN public.assets.motion_offset IS 'where the video begins that a motion photo carries within its own file';

CREATE TABLE public.embeddings (
    asset_id uuid NOT NULL,
    space text NOT NULL,
    embedding public.halfvec NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.file_records (
    repository_id uuid NOT NULL,
    path text NOT NULL,
    size bigint NOT NULL,
    mtime_ns bigint NOT NULL,
    device bigint NOT NULL,
    inode bigint NOT NULL,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE public.file_records IS 'what stat said of a file when it was last looked at; reconcile compares against it';

CREATE TABLE public.job_queues (
    name text NOT NULL,
    paused_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE public.job_queues IS 'queues that are paused: nothing of them is claimed';

CREATE TABLE public.job_schedules (
    name text NOT NULL,
    expression text NOT NULL,
    next_run_at timestamp with time zone NOT NULL,
    last_run_at timestamp with time zone
);

COMMENT ON TABLE public.job_schedules IS 'when each periodic job is due next: the row that lets only one process enqueue it';

CREATE VIEW public.job_sessions AS
 SELECT
        CASE locks.classid
            WHEN 1819635049 THEN 'worker'::text
            ELSE 'leader'::text
        END AS role,
    (locks.objid)::bigint AS worker_id,
    locks.pid,
    activity.application_name AS name,
    activity.state_change AS seen_at
   FROM (pg_locks locks
     JOIN pg_stat_activity activity ON ((activity.pid = locks.pid)))
  WHERE ((locks.locktype = 'advisory'::text) AND locks.granted AND (locks.database = ( SELECT pg_database.oid
           FROM pg_database
          WHERE (pg_database.datname = current_database()))) AND (locks.classid = ANY (ARRAY[(1819635049)::oid, (1819635050)::oid])) AND (locks.objsubid = 2));

COMMENT ON VIEW public.job_sessions IS 'seen_at is when the session last did something; null where the role may not see it';

ALTER TABLE public.jobs ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.jobs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.locations (
    id uuid DEFAULT public.new_id() NOT NULL,
    asset_id uuid NOT NULL,
    repository_id uuid NOT NULL,
    path text NOT NULL,
    state text DEFAULT 'present'::text NOT NULL,
    trashed_at timestamp with time zone,
    trash_path text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT locations_check CHECK (((state = 'trashed'::text) = (trashed_at IS NOT NULL))),
    CONSTRAINT locations_check1 CHECK (((state = 'trashed'::text) = (trash_path IS NOT NULL))),
    CONSTRAINT locations_path_check CHECK ((path <> ''::text)),
    CONSTRAINT locations_state_check CHECK ((state = ANY (ARRAY['present'::text, 'trashed'::text])))
);

CREATE TABLE public.problems (
    asset_id uuid NOT NULL,
    step text NOT NULL,
    code text NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    tool text,
    tool_version text,
    attempts integer DEFAULT 1 NOT NULL,
    ignored_at timestamp with time zone,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT problems_attempts_check CHECK ((attempts > 0))
);

CREATE TABLE public.refresh_tokens (
    token_hash bytea NOT NULL,
    user_id uuid NOT NULL,
    family_id uuid NOT NULL,
    issued_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    replaced_at timestamp with time zone,
    CONSTRAINT refresh_tokens_token_hash_check CHECK ((octet_length(token_hash) = 32))
);

CREATE TABLE public.repositories (
    id uuid NOT NULL,
    owner_id uuid NOT NULL,
    name text NOT NULL,
    root text NOT NULL,
    is_default boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.sidecars (
    asset_id uuid NOT NULL,
    kind text NOT NULL,
    file_name text NOT NULL,
    content bytea NOT NULL,
    tags jsonb NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT sidecars_content_check CHECK ((octet_length(content) <= 4194304)),
    CONSTRAINT sidecars_kind_check CHECK ((kind = ANY (ARRAY['xmp'::text, 'takeout'::text])))
);

CREATE TABLE public.species_predictions (
    asset_id uuid NOT NULL,
    space text NOT NULL,
    label text NOT NULL,
    scientific_name text,
    confidence real NOT NULL,
    CONSTRAINT species_predictions_confidence_check CHECK (((confidence >= (0)::double precision) AND (confidence <= (1)::double precision)))
);

CREATE TABLE public.sync_operations (
    id uuid DEFAULT public.new_id() NOT NULL,
    repository_id uuid NOT NULL,
    kind text NOT NULL,
    subtree text DEFAULT ''::text NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    added integer DEFAULT 0 NOT NULL,
    updated integer DEFAULT 0 NOT NULL,
    moved integer DEFAULT 0 NOT NULL,
    removed integer DEFAULT 0 NOT NULL,
    unchanged integer DEFAULT 0 NOT NULL,
    problems integer DEFAULT 0 NOT NULL,
    CONSTRAINT sync_operations_kind_check CHECK ((kind = ANY (ARRAY['realtime'::text, 'reconciliation'::text, 'startup'::text, 'manual'::text])))
);

CREATE TABLE public.tags (
    id uuid DEFAULT public.new_id() NOT NULL,
    owner_id uuid NOT NULL,
    name text NOT NULL,
    CONSTRAINT tags_name_check CHECK ((name <> ''::text))
);

CREATE TABLE public.thumbnails (
    asset_id uuid NOT NULL,
    size integer NOT NULL,
    repository_id uuid NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    bytes integer NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT thumbnails_bytes_check CHECK ((bytes > 0))
);

CREATE TABLE public.time_changes (
    id uuid DEFAULT public.new_id() NOT NULL,
    owner_id uuid NOT NULL,
    seconds bigint,
    selection jsonb NOT NULL,
    done_up_to uuid,
    changed bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone
);

COMMENT ON COLUMN public.time_changes.seconds IS 'how far to shift; null: read the times out of the facts again';

CREATE TABLE public.users (
    id uuid DEFAULT public.new_id() NOT NULL,
    username text NOT NULL,
    password_hash text NOT NULL,
    role text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    disabled_at timestamp with time zone,
    CONSTRAINT users_role_check CHECK ((role = ANY (ARRAY['admin'::text, 'user'::text, 'guest'::text]))),
    CONSTRAINT users_username_check CHECK ((username <> ''::text))
);

CREATE TABLE public.web_versions (
    asset_id uuid NOT NULL,
    repository_id uuid NOT NULL,
    mime text NOT NULL,
    made_by text NOT NULL,
    encoder text,
    width integer,
    height integer,
    bytes bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT web_versions_bytes_check CHECK ((bytes > 0)),
    CONSTRAINT web_versions_made_by_check CHECK ((made_by = ANY (ARRAY['remux'::text, 'transcode'::text])))
);

ALTER TABLE ONLY public.album_assets
    ADD CONSTRAINT album_assets_pkey PRIMARY KEY (album_id, asset_id);

ALTER TABLE ONLY public.albums
    ADD CONSTRAINT albums_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.asset_tags
    ADD CONSTRAINT asset_tags_pkey PRIMARY KEY (asset_id, tag_id);

ALTER TABLE ONLY public.assets
    ADD CONSTRAINT assets_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.embeddings
    ADD CONSTRAINT embeddings_pkey PRIMARY KEY (asset_id, space);

ALTER TABLE ONLY public.file_records
    ADD CONSTRAINT file_records_pkey PRIMARY KEY (repository_id, path);

ALTER TABLE ONLY public.finished_jobs
    ADD CONSTRAINT finished_jobs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.job_queues
    ADD CONSTRAINT job_queues_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.job_schedules
    ADD CONSTRAINT job_schedules_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.locations
    ADD CONSTRAINT locations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.problems
    ADD CONSTRAINT problems_pkey PRIMARY KEY (asset_id, step);

ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT refresh_tokens_pkey PRIMARY KEY (token_hash);

ALTER TABLE ONLY public.repositories
    ADD CONSTRAINT repositories_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.repositories
    ADD CONSTRAINT repositories_root_key UNIQUE (root);

ALTER TABLE ONLY public.sidecars
    ADD CONSTRAINT sidecars_pkey PRIMARY KEY (asset_id, kind);

ALTER TABLE ONLY public.species_predictions
    ADD CONSTRAINT species_predictions_pkey PRIMARY KEY (asset_id, space, label);

ALTER TABLE ONLY public.sync_operations
    ADD CONSTRAINT sync_operations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.tags
    ADD CONSTRAINT tags_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.thumbnails
    ADD CONSTRAINT thumbnails_pkey PRIMARY KEY (asset_id, size);

ALTER TABLE ONLY public.time_changes
    ADD CONSTRAINT time_changes_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.web_versions
    ADD CONSTRAINT web_versions_pkey PRIMARY KEY (asset_id);

CREATE INDEX album_assets_asset_idx ON public.album_assets USING btree (asset_id);

CREATE INDEX albums_owner_idx ON public.albums USING btree (owner_id, title);

CREATE INDEX asset_tags_tag_idx ON public.asset_tags USING btree (tag_id);

CREATE INDEX assets_captured_idx ON public.assets USING btree (owner_id, captured_local, id) WHERE ((trashed_at IS NULL) AND (primary_id IS NULL));

CREATE INDEX assets_content_identifier_idx ON public.assets USING btree (owner_id, content_identifier) WHERE (content_identifier IS NOT NULL);

CREATE UNIQUE INDEX assets_content_key ON public.assets USING btree (owner_id, content_hash);

CREATE INDEX assets_created_idx ON public.assets USING btree (owner_id, created_at, id) WHERE ((trashed_at IS NULL) AND (primary_id IS NULL));

CREATE INDEX assets_instant_idx ON public.assets USING btree (owner_id, public.instant(captured_local, captured_offset), id) WHERE (trashed_at IS NULL);

CREATE INDEX assets_kind_captured_idx ON public.assets USING btree (owner_id, kind, captured_local, id) WHERE ((trashed_at IS NULL) AND (primary_id IS NULL));

CREATE INDEX assets_kind_created_idx ON public.assets USING btree (owner_id, kind, created_at, id) WHERE ((trashed_at IS NULL) AND (primary_id IS NULL));

CREATE INDEX assets_primary_idx ON public.assets USING btree (primary_id) WHERE (primary_id IS NOT NULL);

CREATE INDEX assets_stem_idx ON public.assets USING btree (owner_id, lower(regexp_replace(file_name, '\.[^.]*$'::text, ''::text)), captured_local);

CREATE INDEX assets_unrendered_idx ON public.assets USING btree (id) WHERE ((state = 'ready'::text) AND (render_source IS NULL));

CREATE INDEX file_records_inode_idx ON public.file_records USING btree (device, inode);

CREATE INDEX finished_jobs_completed_idx ON public.finished_jobs USING btree (finished_at, id) WHERE (state = 'completed'::text);

CREATE INDEX finished_jobs_failed_id_idx ON public.finished_jobs USING btree (id) WHERE (state <> 'completed'::text);

CREATE INDEX finished_jobs_failed_idx ON public.finished_jobs USING btree (finished_at, id) WHERE (state <> 'completed'::text);

CREATE INDEX finished_jobs_owner_idx ON public.finished_jobs USING btree (owner_id, id) WHERE (owner_id IS NOT NULL);

CREATE INDEX jobs_claim_idx ON public.jobs USING btree (queue, priority, run_at, id) WHERE (state = 'available'::text);

CREATE INDEX jobs_due_idx ON public.jobs USING btree (run_at) WHERE (state = ANY (ARRAY['scheduled'::text, 'retryable'::text]));

CREATE UNIQUE INDEX jobs_key_key ON public.jobs USING btree (kind, key) WHERE (key IS NOT NULL);

CREATE INDEX jobs_owner_idx ON public.jobs USING btree (owner_id, id) WHERE (owner_id IS NOT NULL);

CREATE INDEX jobs_running_idx ON public.jobs USING btree (worker_id) WHERE (state = 'running'::text);

CREATE INDEX locations_asset_idx ON public.locations USING btree (asset_id);

CREATE UNIQUE INDEX locations_path_key ON public.locations USING btree (repository_id, path) WHERE (state = 'present'::text);

CREATE INDEX problems_code_idx ON public.problems USING btree (code);

CREATE INDEX problems_tool_idx ON public.problems USING btree (COALESCE(tool, 'lumilio'::text), tool_version) WHERE (ignored_at IS NULL);

CREATE INDEX problems_updated_idx ON public.problems USING btree (updated_at, asset_id, step);

CREATE INDEX refresh_tokens_family_idx ON public.refresh_tokens USING btree (family_id);

CREATE INDEX refresh_tokens_user_idx ON public.refresh_tokens USING btree (user_id);

CREATE UNIQUE INDEX repositories_default_key ON public.repositories USING btree (owner_id) WHERE is_default;

CREATE INDEX sync_operations_repository_idx ON public.sync_operations USING btree (repository_id, started_at);

CREATE UNIQUE INDEX tags_name_key ON public.tags USING btree (owner_id, lower(name));

CREATE UNIQUE INDEX users_username_key ON public.users USING btree (lower(username));

ALTER TABLE ONLY public.album_assets
    ADD CONSTRAINT album_assets_album_id_fkey FOREIGN KEY (album_id) REFERENCES public.albums(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.album_assets
    ADD CONSTRAINT album_assets_asset_id_fkey FOREIGN KEY (asset_id) REFERENCES public.assets(id);

ALTER TABLE ONLY public.albums
    ADD CONSTRAINT albums_cover_asset_id_fkey FOREIGN KEY (cover_asset_id) REFERENCES public.assets(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.albums
    ADD CONSTRAINT albums_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.asset_tags
    ADD CONSTRAINT asset_tags_asset_id_fkey FOREIGN KEY (asset_id) REFERENCES public.assets(id);

ALTER TABLE ONLY public.asset_tags
    ADD CONSTRAINT asset_tags_tag_id_fkey FOREIGN KEY (tag_id) REFERENCES public.tags(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.assets
    ADD CONSTRAINT assets_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.assets
    ADD CONSTRAINT assets_primary_id_fkey FOREIGN KEY (primary_id) REFERENCES public.assets(id);

ALTER TABLE ONLY public.embeddings
    ADD CONSTRAINT embeddings_asset_id_fkey FOREIGN KEY (asset_id) REFERENCES public.assets(id);

ALTER TABLE ONLY public.file_records
    ADD CONSTRAINT file_records_repository_id_fkey FOREIGN KEY (repository_id) REFERENCES public.repositories(id);

ALTER TABLE ONLY public.locations
    ADD CONSTRAINT locations_asset_id_fkey FOREIGN KEY (asset_id) REFERENCES public.assets(id);

ALTER TABLE ONLY public.locations
    ADD CONSTRAINT locations_repository_id_fkey FOREIGN KEY (repository_id) REFERENCES public.repositories(id);

ALTER TABLE ONLY public.problems
    ADD CONSTRAINT problems_asset_id_fkey FOREIGN KEY (asset_id) REFERENCES public.assets(id);

ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT refresh_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.repositories
    ADD CONSTRAINT repositories_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.sidecars
    ADD CONSTRAINT sidecars_asset_id_fkey FOREIGN KEY (asset_id) REFERENCES public.assets(id);

ALTER TABLE ONLY public.species_predictions
    ADD CONSTRAINT species_predictions_asset_id_fkey FOREIGN KEY (asset_id) REFERENCES public.assets(id);

ALTER TABLE ONLY public.sync_operations
    ADD CONSTRAINT sync_operations_repository_id_fkey FOREIGN KEY (repository_id) REFERENCES public.repositories(id);

ALTER TABLE ONLY public.tags
    ADD CONSTRAINT tags_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.thumbnails
    ADD CONSTRAINT thumbnails_asset_id_fkey FOREIGN KEY (asset_id) REFERENCES public.assets(id);

ALTER TABLE ONLY public.thumbnails
    ADD CONSTRAINT thumbnails_repository_id_fkey FOREIGN KEY (repository_id) REFERENCES public.repositories(id);

ALTER TABLE ONLY public.time_changes
    ADD CONSTRAINT time_changes_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.web_versions
    ADD CONSTRAINT web_versions_asset_id_fkey FOREIGN KEY (asset_id) REFERENCES public.assets(id);

ALTER TABLE ONLY public.web_versions
    ADD CONSTRAINT web_versions_repository_id_fkey FOREIGN KEY (repository_id) REFERENCES public.repositories(id);
