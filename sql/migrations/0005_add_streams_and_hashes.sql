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

-- Rows from before this: rendered again, little by little.
CREATE INDEX assets_unrendered_idx ON assets (id) WHERE state = 'ready' AND render_source IS NULL;
