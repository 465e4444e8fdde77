-- The store of libdss in a PostgreSQL database.
--
-- libdss makes it by itself at the first dss_init, where its role may create a schema. Elsewhere an administrator runs this file
-- once (psql -1 -f schema.sql) and then lets the role in:
--
--   GRANT USAGE ON SCHEMA dss TO app;
--   GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA dss TO app;
--   GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA dss TO app;
--   GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA dss TO app;
--
-- For a schema of another name (schema=NAME in the connection string) replace "dss." by "NAME." and the name in the first line.
-- Times with _us are microseconds since 1970 on this server's clock.

CREATE SCHEMA dss;

-- The version of this layout, and the highest timeline that tokens were minted on.
CREATE TABLE dss.store (version int4 NOT NULL, timeline int8 NOT NULL);
INSERT INTO dss.store VALUES (1, 0);

-- A lock that is held, or, where owner is NULL, the trace of one that ended badly (ending: 1 expired, 2 forced).
CREATE TABLE dss.lock (
    token int8 NOT NULL,
    taken_us int8 NOT NULL,
    refreshed_us int8 NOT NULL,
    leased_us int8 NOT NULL,
    ttl_ms int8 NOT NULL,            -- 0: it never expires
    ending int2 NOT NULL,            -- of an entry: how the grant before it ended; of a trace: how it ended
    lock_id bytea PRIMARY KEY,
    owner bytea,
    attempt bytea NOT NULL,
    client bytea NOT NULL,
    note bytea NOT NULL
) WITH (fillfactor = 70);

-- Values under keys, as they came: to make one smaller takes longer than to write it.
CREATE TABLE dss.state (
    version int8 NOT NULL,
    key bytea PRIMARY KEY,
    value bytea NOT NULL
) WITH (fillfactor = 70);
ALTER TABLE dss.state ALTER COLUMN value SET STORAGE EXTERNAL;

-- Tokens, and versions of values. Their high bits are the timeline of the server, so that a standby that was promoted, and may not
-- have all that its former primary had, does not give one twice. Where a timeline is lower than one before (a dump that was restored elsewhere,
-- pg_upgrade), dss.keep_rising() makes up for it by the sequence.
CREATE SEQUENCE dss.token AS int8;

-- A process that has the store open: what its last batch was answered. A batch whose epoch is not the row's is void.
CREATE TABLE dss.session (
    epoch int8 NOT NULL,
    batch int8 NOT NULL,
    seen_us int8 NOT NULL,
    session_id bytea PRIMARY KEY,
    answer text NOT NULL
) WITH (fillfactor = 20);

-- Who waits for which locks, in the order of the tickets. Nothing rests on it but who is served first.
CREATE UNLOGGED TABLE dss.waiter (
    ticket int8 NOT NULL,
    until_us int8 NOT NULL,          -- without a sign of life until then it is gone
    keeps bool NOT NULL,             -- younger ones leave the lock to it
    woken bool NOT NULL,
    lock_id bytea NOT NULL,
    name bytea NOT NULL,
    PRIMARY KEY (lock_id, name)
);
CREATE SEQUENCE dss.ticket AS int8;

-- A double holds microseconds exactly until the year 2255, and is counted with faster than a numeric.
CREATE FUNCTION dss.now_us() RETURNS int8 LANGUAGE sql VOLATILE AS
    $$ SELECT (date_part('epoch', clock_timestamp()) * 1000000)::int8 $$;

-- The first eight of the 24 digits of the log file's name: a cast to fewer bits cuts the others off.
CREATE FUNCTION dss.timeline() RETURNS int8 LANGUAGE sql VOLATILE AS
    $$ SELECT ('x' || pg_walfile_name(pg_current_wal_insert_lsn()))::bit(32)::int8 $$;

-- A token or a version greater than all that were given before. To be called when the row is won.
CREATE FUNCTION dss.mint() RETURNS int8 LANGUAGE sql VOLATILE AS
    $$ SELECT (dss.timeline() << 43) + nextval('dss.token') $$;

-- To be called when a process opens the store.
CREATE FUNCTION dss.keep_rising() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_highest int8;
BEGIN
    IF (SELECT timeline FROM dss.store) <> dss.timeline() THEN
        SELECT timeline INTO v_highest FROM dss.store FOR UPDATE;
        IF v_highest > dss.timeline() THEN
            PERFORM setval('dss.token', nextval('dss.token') + ((v_highest - dss.timeline() + 1) << 43));
        END IF;
        UPDATE dss.store SET timeline = dss.timeline();
    END IF;
END $$;

-- An entry as it is told to a client: names as hexadecimal digits.
CREATE FUNCTION dss.told(e dss.lock) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN concat_ws(',', encode(e.owner, 'hex'), e.token, e.taken_us, e.refreshed_us, e.leased_us, e.ttl_ms, e.ending,
        encode(e.client, 'hex'), encode(e.note, 'hex'));
END $$;

-- Tells the one who waits longest for the lock that it is free.
CREATE FUNCTION dss.wake(p_id bytea, p_now_us int8) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_name bytea;
BEGIN
    SELECT w.name INTO v_name FROM dss.waiter w
        WHERE w.lock_id = p_id AND w.until_us > p_now_us AND NOT w.woken ORDER BY w.ticket LIMIT 1;
    IF FOUND THEN
        UPDATE dss.waiter SET woken = true WHERE lock_id = p_id AND name = v_name;
        PERFORM pg_notify('dss.released', encode(v_name, 'hex'));
    END IF;
END $$;

-- Whether others wait for the lock who go before this one. Without a name, all of them do.
CREATE FUNCTION dss.others_first(p_id bytea, p_name bytea, p_now_us int8) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
    RETURN EXISTS (SELECT FROM dss.waiter w WHERE w.lock_id = p_id AND w.until_us > p_now_us AND w.keeps
        AND (p_name IS NULL OR w.ticket < (SELECT m.ticket FROM dss.waiter m WHERE m.lock_id = p_id AND m.name = p_name)));
END $$;

-- Takes locks: all of them, or with p_any one. Flags: 1 any, 2 resume, 4 behind those who wait, 8 in turn among them.
-- p_is_locked: the rows are this transaction's already. Answers g;place,token,ending,ttl_ms;... or h;place,entry;... where a place
-- without an entry is one that others wait for.
CREATE FUNCTION dss.take(p_ids bytea[], p_owner bytea, p_attempt bytea, p_ttl_ms int8, p_note bytea, p_client bytea,
    p_flags int4, p_name bytea, p_is_locked bool) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_locked bool := p_is_locked;
    v_any bool := p_flags & 1 <> 0;
    v_rank int4;              -- 1 this attempt's own, 2 the same owner's, 3 free, 4 in the way
    v_best int4;
    v_best_place int4;
    v_exists bool;
    v_row dss.lock;
    v_now_us int8;
    v_in_the_way text;
    v_token int8;
    v_answer text := 'g';
    v_ending int2;
    v_is_new bool;
    v_count int4;
BEGIN
    -- Locks of which there is no trace, as nearly always. Who waits gives up its place below.
    IF p_name IS NOT NULL THEN
        v_is_new := false;
    ELSIF cardinality(p_ids) = 1 THEN
        v_is_new := p_flags & 12 = 0 OR NOT EXISTS (SELECT FROM dss.waiter w WHERE w.lock_id = p_ids[1]);
    ELSE
        v_is_new := NOT v_any AND p_flags & 12 = 0 AND NOT EXISTS (SELECT FROM dss.lock WHERE lock_id = ANY (p_ids));
    END IF;
    IF v_is_new THEN
        v_now_us := dss.now_us();
        v_token := dss.mint();
        IF cardinality(p_ids) = 1 THEN
            INSERT INTO dss.lock VALUES (v_token, v_now_us, v_now_us, v_now_us, p_ttl_ms, 0, p_ids[1], p_owner, p_attempt,
                p_client, p_note) ON CONFLICT DO NOTHING;
        ELSE
            INSERT INTO dss.lock SELECT v_token, v_now_us, v_now_us, v_now_us, p_ttl_ms, 0, id, p_owner, p_attempt, p_client,
                p_note FROM unnest(p_ids) AS u (id) ON CONFLICT DO NOTHING;
        END IF;
        GET DIAGNOSTICS v_count = ROW_COUNT;
        IF v_count = cardinality(p_ids) THEN
            -- Somebody who is none of us may have kept a place meanwhile: the lease begins, and the token is minted, when the row
            -- is won.
            IF dss.now_us() - v_now_us > 50000 THEN
                v_token := dss.mint();
                UPDATE dss.lock SET token = v_token, leased_us = dss.now_us() WHERE lock_id = ANY (p_ids);
            END IF;
            IF v_count = 1 THEN
                RETURN 'g;0,' || v_token || ',0,' || p_ttl_ms;
            END IF;
            SELECT 'g' || string_agg(';' || place || ',' || v_token || ',0,' || p_ttl_ms, '') INTO v_answer
                FROM generate_series(0, v_count - 1) AS s (place);
            RETURN v_answer;
        ELSIF v_count > 0 THEN
            DELETE FROM dss.lock WHERE lock_id = ANY (p_ids) AND attempt = p_attempt;
        END IF;
    END IF;
    LOOP
        v_now_us := dss.now_us();
        v_best := 4;
        v_exists := false;
        v_in_the_way := '';
        FOR i IN 1 .. cardinality(p_ids) LOOP
            SELECT * INTO v_row FROM dss.lock WHERE lock_id = p_ids[i];
            v_rank := 3;
            IF FOUND THEN
                v_exists := true;
                IF v_row.owner IS NOT NULL AND (v_row.ttl_ms = 0 OR v_row.leased_us + v_row.ttl_ms * 1000 > v_now_us) THEN
                    v_rank := CASE WHEN v_row.attempt = p_attempt THEN 1
                        WHEN p_flags & 2 <> 0 AND v_row.owner = p_owner THEN 2 ELSE 4 END;
                END IF;
            END IF;
            IF v_rank = 4 THEN
                v_in_the_way := v_in_the_way || ';' || i - 1 || ',' || dss.told(v_row);
            ELSIF v_rank = 3 AND p_flags & 12 <> 0
                AND dss.others_first(p_ids[i], CASE WHEN p_flags & 8 <> 0 THEN p_name END, v_now_us) THEN
                v_rank := 4;
                v_in_the_way := v_in_the_way || ';' || i - 1;
            END IF;
            IF v_rank < v_best THEN
                v_best := v_rank;
                v_best_place := i;
            END IF;
        END LOOP;
        IF v_best = 4 OR (NOT v_any AND v_in_the_way <> '') THEN
            IF p_name IS NOT NULL THEN
                -- It was woken and somebody else was faster: the next release is to wake it again.
                UPDATE dss.waiter SET woken = false WHERE lock_id = ANY (p_ids) AND name = p_name AND woken;
            END IF;
            RETURN 'h' || v_in_the_way;
        END IF;
        EXIT WHEN v_locked OR NOT v_exists;
        PERFORM FROM dss.lock WHERE lock_id = ANY (p_ids) ORDER BY lock_id FOR UPDATE;
        v_locked := true;
    END LOOP;
    FOR i IN 1 .. cardinality(p_ids) LOOP
        CONTINUE WHEN v_any AND i <> v_best_place;
        v_row := NULL;
        IF v_exists THEN
            SELECT * INTO v_row FROM dss.lock WHERE lock_id = p_ids[i];
        END IF;
        IF v_row.attempt = p_attempt AND v_row.owner IS NOT NULL THEN
            v_answer := concat(v_answer, ';', i - 1, ',', v_row.token, ',', v_row.ending, ',', v_row.ttl_ms);
            CONTINUE;
        END IF;
        v_ending := CASE WHEN v_row.token IS NULL THEN 0 WHEN v_row.owner IS NULL THEN v_row.ending
            WHEN v_row.ttl_ms <> 0 AND v_row.leased_us + v_row.ttl_ms * 1000 <= v_now_us THEN 1 ELSE 4 END;
        v_token := dss.mint();
        INSERT INTO dss.lock VALUES (v_token, v_now_us,
                CASE WHEN v_ending = 4 THEN greatest(v_now_us, v_row.refreshed_us + 1) ELSE v_now_us END,
                v_now_us, p_ttl_ms, v_ending, p_ids[i], p_owner, p_attempt, p_client, p_note)
            ON CONFLICT (lock_id) DO UPDATE SET token = excluded.token, taken_us = excluded.taken_us,
                refreshed_us = excluded.refreshed_us, leased_us = excluded.leased_us, ttl_ms = excluded.ttl_ms,
                ending = excluded.ending, owner = excluded.owner, attempt = excluded.attempt, client = excluded.client,
                note = excluded.note;
        -- As above.
        IF dss.now_us() - v_now_us > 50000 THEN
            v_token := dss.mint();
            UPDATE dss.lock SET token = v_token, leased_us = dss.now_us() WHERE lock_id = p_ids[i];
        END IF;
        v_answer := concat(v_answer, ';', i - 1, ',', v_token, ',', v_ending, ',', p_ttl_ms);
    END LOOP;
    IF p_name IS NOT NULL THEN
        DELETE FROM dss.waiter WHERE lock_id = ANY (p_ids) AND name = p_name;
    END IF;
    RETURN v_answer;
END $$;

-- Refreshes (p_kind 2), unlocks (3) or transfers (4) one lock, or takes an attempt back (5). Without an owner: whoever holds
-- it. A token of 0 is not compared; p_seen_us >= 0 lets only a lock that was not refreshed since then be unlocked. Answers
-- o,token,ending,ttl_ms, with O where others may wait for what is free now; n,ending (no such lock); or d (another's), s (another
-- token), r (refreshed since) with the entry.
CREATE FUNCTION dss.change(p_kind int4, p_id bytea, p_owner bytea, p_token int8, p_seen_us int8, p_attempt bytea, p_to bytea,
    p_client bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_row dss.lock;
    v_now_us int8;
    v_waited_for bool;
BEGIN
    -- The owner's unlock, as nearly always.
    IF p_kind = 3 AND p_owner IS NOT NULL AND p_seen_us < 0 THEN
        v_now_us := dss.now_us();
        DELETE FROM dss.lock WHERE lock_id = p_id AND owner = p_owner AND (p_token = 0 OR token = p_token)
            AND (ttl_ms = 0 OR leased_us + ttl_ms * 1000 > v_now_us)
            RETURNING token, ending, ttl_ms, (SELECT true FROM dss.waiter w WHERE w.lock_id = p_id LIMIT 1)
            INTO v_row.token, v_row.ending, v_row.ttl_ms, v_waited_for;
        IF FOUND THEN
            RETURN CASE WHEN v_waited_for THEN 'O,' ELSE 'o,' END || v_row.token || ',' || v_row.ending || ',' || v_row.ttl_ms;
        END IF;
    END IF;
    SELECT * INTO v_row FROM dss.lock WHERE lock_id = p_id FOR UPDATE;
    v_now_us := dss.now_us();
    IF p_kind = 5 THEN
        IF v_row.owner IS NULL OR v_row.attempt <> p_attempt THEN
            RETURN 'n,0';
        ELSIF v_row.ending IN (0, 3) THEN
            DELETE FROM dss.lock WHERE lock_id = p_id;
        ELSE
            UPDATE dss.lock SET owner = NULL, ending = CASE WHEN ending = 4 THEN 2 ELSE ending END WHERE lock_id = p_id;
        END IF;
        RETURN 'O,0,0,0';
    END IF;
    IF v_row.token IS NULL THEN
        RETURN 'n,0';
    ELSIF v_row.owner IS NULL THEN
        RETURN 'n,' || v_row.ending;
    ELSIF v_row.ttl_ms <> 0 AND v_row.leased_us + v_row.ttl_ms * 1000 <= v_now_us THEN
        RETURN 'n,1';
    ELSIF p_kind = 4 AND v_row.attempt = p_attempt THEN
        RETURN concat('o,', v_row.token, ',', v_row.ending, ',', v_row.ttl_ms);
    ELSIF v_row.owner <> p_owner THEN
        RETURN 'd,' || dss.told(v_row);
    ELSIF p_token <> 0 AND v_row.token <> p_token THEN
        RETURN 's,' || dss.told(v_row);
    ELSIF p_kind = 3 AND p_seen_us >= 0 AND v_row.refreshed_us <> p_seen_us THEN
        RETURN 'r,' || dss.told(v_row);
    END IF;
    IF p_kind = 2 THEN
        UPDATE dss.lock SET leased_us = v_now_us, refreshed_us = greatest(v_now_us, refreshed_us + 1) WHERE lock_id = p_id;
    ELSIF p_kind = 3 AND p_owner IS NOT NULL THEN
        DELETE FROM dss.lock WHERE lock_id = p_id;
    ELSIF p_kind = 3 THEN
        UPDATE dss.lock SET owner = NULL, ending = 2 WHERE lock_id = p_id;
    ELSE
        v_row.token := dss.mint();
        v_row.ending := 3;
        UPDATE dss.lock SET owner = p_to, token = v_row.token, attempt = p_attempt, client = p_client, ending = 3,
            taken_us = v_now_us, leased_us = v_now_us, refreshed_us = greatest(v_now_us, refreshed_us + 1)
            WHERE lock_id = p_id;
    END IF;
    RETURN concat(CASE WHEN p_kind = 3 THEN 'O,' ELSE 'o,' END, v_row.token, ',', v_row.ending, ',', v_row.ttl_ms);
END $$;

-- Does a batch of requests in one transaction, and answers each: now_us|answer|answer... . What is to be locked is locked first, in
-- the order of its keys and ids, so that no two batches wait for each other. p_keys: a number for each lock that may be changed,
-- since a row that is not there can't be locked. p_rows: the ids whose rows are to be locked, where there is more than one.
-- The database has one table of such numbers, so each is combined with a hash of the schema's name:
-- stores do not wait for each other. All clients of a store agree on it because it is computed here.
CREATE FUNCTION dss.apply(p_session bytea, p_epoch int8, p_batch int8, p_patience_ms int4, p_client bytea, p_keys int8[],
    p_rows bytea[], p_kinds int4[], p_counts int4[], p_flags int4[], p_ttls int8[], p_owners bytea[], p_others bytea[],
    p_attempts bytea[], p_names bytea[], p_ids bytea[], p_tokens int8[], p_seen int8[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_answer text;
    v_one text;
    v_changed bool := false;
    v_first int4 := 0;
    v_now_us int8;
    v_locked bool;
    v_free bytea[] := '{}';
    v_id bytea;
BEGIN
    v_answer := set_config('lock_timeout', p_patience_ms::text, true);
    -- A plan that was made while the table was small would read all of it when it is large. (As expressions, these take a tenth of
    -- the time of a PERFORM.)
    v_answer := set_config('enable_seqscan', 'off', true);
    -- And one that knew how many ids there are would be made anew each time.
    v_answer := set_config('plan_cache_mode', 'force_generic_plan', true);
    FOR i IN 1 .. cardinality(p_keys) LOOP
        v_locked := pg_advisory_xact_lock(p_keys[i] # hashtextextended('dss.lock', 0)) IS NULL;
    END LOOP;
    IF cardinality(p_rows) > 0 THEN
        PERFORM FROM dss.lock WHERE lock_id = ANY (p_rows) ORDER BY lock_id FOR UPDATE;
    END IF;
    v_now_us := dss.now_us();
    v_answer := v_now_us;
    FOR r IN 1 .. cardinality(p_kinds) LOOP
        IF p_kinds[r] = 1 THEN
            v_one := dss.take(p_ids[v_first + 1 : v_first + p_counts[r]], p_owners[r], p_attempts[r], p_ttls[r], p_others[r],
                p_client, p_flags[r], p_names[r], cardinality(p_rows) > 0);
            v_changed := v_changed OR left(v_one, 1) = 'g';
            v_answer := v_answer || '|' || v_one;
        ELSE
            v_answer := v_answer || '|e';
            FOR i IN v_first + 1 .. v_first + p_counts[r] LOOP
                v_one := dss.change(p_kinds[r], p_ids[i], p_owners[r], p_tokens[i], p_seen[i], p_attempts[r], p_others[r],
                    p_client);
                IF left(v_one, 1) = 'O' THEN
                    v_one := 'o' || substr(v_one, 2);
                    v_free := v_free || p_ids[i];
                END IF;
                v_changed := v_changed OR left(v_one, 1) = 'o';
                v_answer := v_answer || ';' || v_one;
            END LOOP;
        END IF;
        v_first := v_first + p_counts[r];
    END LOOP;
    -- In the order in which those who wait lock their places: else they and this transaction could wait for each other.
    IF cardinality(v_free) > 0 THEN
        FOR v_id IN SELECT DISTINCT id FROM unnest(v_free) AS u (id) ORDER BY id LOOP
            PERFORM dss.wake(v_id, dss.now_us());
        END LOOP;
    END IF;
    IF v_changed THEN
        UPDATE dss.session SET batch = p_batch, answer = v_answer, seen_us = v_now_us
            WHERE session_id = p_session AND epoch = p_epoch AND batch < p_batch;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'this batch is void' USING ERRCODE = 'DSS01';
        END IF;
    END IF;
    RETURN v_answer;
END $$;

-- Shorter ways for what is asked nearly always. PostgreSQL prepares each expression, each function in it and each statement anew in
-- every transaction, so there are few of them here. (Statements joined by WITH would need more.) If all is as it is expected, the
-- answer is *token;token... with the token of all that was taken, or 0, and those of what was unlocked; else it is that of dss.apply.

-- Takes one lock of which there is no trace, without regard to those who wait.
CREATE FUNCTION dss.take_one(p_session bytea, p_epoch int8, p_batch int8, p_patience_ms int4, p_client bytea, p_key int8,
    p_id bytea, p_owner bytea, p_attempt bytea, p_ttl_ms int8, p_note bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_now_us int8;
    v_token int8;
    v_answer text;
    v_locked bool;
BEGIN
    v_answer := set_config('lock_timeout', p_patience_ms::text, true);
    v_locked := pg_advisory_xact_lock(p_key # hashtextextended('dss.lock', 0)) IS NULL;
    v_now_us := dss.now_us();
    v_token := dss.mint();
    INSERT INTO dss.lock VALUES (v_token, v_now_us, v_now_us, v_now_us, p_ttl_ms, 0, p_id, p_owner, p_attempt, p_client, p_note)
        ON CONFLICT DO NOTHING;
    IF FOUND THEN
        -- As in dss.take. That the wait for the advisory lock counts here, too, does no harm.
        IF clock_timestamp() - statement_timestamp() > interval '50 ms' THEN
            v_token := dss.mint();
            UPDATE dss.lock SET token = v_token, leased_us = dss.now_us() WHERE lock_id = p_id;
        END IF;
        v_answer := '*' || v_token;
        UPDATE dss.session SET batch = p_batch, answer = v_answer, seen_us = v_now_us
            WHERE session_id = p_session AND epoch = p_epoch AND batch < p_batch;
        IF FOUND THEN
            RETURN v_answer;
        END IF;
        RAISE EXCEPTION 'this batch is void' USING ERRCODE = 'DSS01';
    END IF;
    RETURN dss.apply(p_session, p_epoch, p_batch, p_patience_ms, p_client, ARRAY[p_key], '{}', '{1}', '{1}', '{0}',
        ARRAY[p_ttl_ms], ARRAY[p_owner], ARRAY[p_note], ARRAY[p_attempt], ARRAY[NULL::bytea], ARRAY[p_id], '{0}', '{-1}');
END $$;

-- The owner's unlock of one lock.
CREATE FUNCTION dss.unlock_one(p_session bytea, p_epoch int8, p_batch int8, p_patience_ms int4, p_key int8, p_id bytea,
    p_owner bytea, p_token int8) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_now_us int8;
    v_answer text;
    v_locked bool;
    v_waited_for bool;
BEGIN
    v_answer := set_config('lock_timeout', p_patience_ms::text, true) || set_config('enable_seqscan', 'off', true);
    v_locked := pg_advisory_xact_lock(p_key # hashtextextended('dss.lock', 0)) IS NULL;
    v_now_us := dss.now_us();
    DELETE FROM dss.lock WHERE lock_id = p_id AND owner = p_owner AND (p_token = 0 OR token = p_token)
        AND (ttl_ms = 0 OR leased_us + ttl_ms * 1000 > v_now_us)
        RETURNING '*0;' || token, EXISTS (SELECT FROM dss.waiter w WHERE w.lock_id = p_id)
        INTO v_answer, v_waited_for;
    IF FOUND THEN
        IF v_waited_for THEN
            PERFORM dss.wake(p_id, v_now_us);
        END IF;
        UPDATE dss.session SET batch = p_batch, answer = v_answer, seen_us = v_now_us
            WHERE session_id = p_session AND epoch = p_epoch AND batch < p_batch;
        IF FOUND THEN
            RETURN v_answer;
        END IF;
        RAISE EXCEPTION 'this batch is void' USING ERRCODE = 'DSS01';
    END IF;
    RETURN dss.apply(p_session, p_epoch, p_batch, p_patience_ms, '', ARRAY[p_key], '{}', '{3}', '{1}', '{0}', '{0}',
        ARRAY[p_owner], ARRAY[''::bytea], ARRAY[''::bytea], ARRAY[NULL::bytea], ARRAY[p_id], ARRAY[p_token], '{-1}');
END $$;

-- Many of both, no two of them of the same lock: those that take locks first.
CREATE FUNCTION dss.many(p_session bytea, p_epoch int8, p_batch int8, p_patience_ms int4, p_client bytea, p_keys int8[],
    p_ids bytea[], p_owners bytea[], p_attempts bytea[], p_ttls int8[], p_notes bytea[],
    p_unlock_ids bytea[], p_unlock_owners bytea[], p_unlock_tokens int8[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_now_us int8;
    v_token int8;
    v_answer text;
    v_tokens text := '';
    v_locked bool;
    v_takes int4 := cardinality(p_ids);
    v_unlocks int4 := cardinality(p_unlock_ids);
    v_places tid[];
    v_count int4;
    v_id bytea;
BEGIN
    v_answer := set_config('lock_timeout', p_patience_ms::text, true) || set_config('enable_seqscan', 'off', true)
        || set_config('plan_cache_mode', 'force_generic_plan', true);
    FOR i IN 1 .. cardinality(p_keys) LOOP
        v_locked := pg_advisory_xact_lock(p_keys[i] # hashtextextended('dss.lock', 0)) IS NULL;
    END LOOP;
    v_now_us := dss.now_us();
    IF v_unlocks > 0 THEN
        -- In the order in which they come, which is that of their ids, as where rows are locked elsewhere: a refresh locks no keys.
        SELECT array_agg(l.ctid), string_agg(';' || l.token, '' ORDER BY u.place) INTO v_places, v_tokens
            FROM unnest(p_unlock_ids, p_unlock_owners, p_unlock_tokens) WITH ORDINALITY AS u (id, owner, token, place)
            CROSS JOIN LATERAL (SELECT ctid, token FROM dss.lock WHERE lock_id = u.id AND owner = u.owner
                AND (u.token = 0 OR token = u.token) AND (ttl_ms = 0 OR leased_us + ttl_ms * 1000 > v_now_us) FOR UPDATE) AS l;
    END IF;
    IF v_unlocks = 0 OR cardinality(v_places) = v_unlocks THEN
        v_token := dss.mint();
        INSERT INTO dss.lock SELECT v_token, v_now_us, v_now_us, v_now_us, ttl_ms, 0, id, owner, attempt, p_client, note
            FROM unnest(p_ids, p_owners, p_attempts, p_ttls, p_notes) AS u (id, owner, attempt, ttl_ms, note)
            ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS v_count = ROW_COUNT;
        IF v_count > 0 AND dss.now_us() - v_now_us > 50000 THEN
            v_token := dss.mint();
            UPDATE dss.lock SET token = v_token, leased_us = dss.now_us() WHERE lock_id = ANY (p_ids) AND attempt = ANY (p_attempts);
        END IF;
        IF v_count = v_takes AND v_unlocks > 0 THEN
            DELETE FROM dss.lock WHERE ctid = ANY (v_places);
            IF EXISTS (SELECT FROM dss.waiter w WHERE w.lock_id = ANY (p_unlock_ids)) THEN
                -- In this order, as in dss.apply.
                FOR v_id IN SELECT id FROM unnest(p_unlock_ids) AS u (id) ORDER BY id LOOP
                    PERFORM dss.wake(v_id, dss.now_us());
                END LOOP;
            END IF;
        END IF;
        IF v_count = v_takes THEN
            v_answer := '*' || v_token || v_tokens;
            UPDATE dss.session SET batch = p_batch, answer = v_answer, seen_us = v_now_us
                WHERE session_id = p_session AND epoch = p_epoch AND batch < p_batch;
            IF FOUND THEN
                RETURN v_answer;
            END IF;
            RAISE EXCEPTION 'this batch is void' USING ERRCODE = 'DSS01';
        END IF;
    END IF;
    -- What was taken by now dss.apply finds to be taken by the same attempt.
    v_count := v_takes + v_unlocks;
    RETURN dss.apply(p_session, p_epoch, p_batch, p_patience_ms, p_client, p_keys, p_ids || p_unlock_ids,
        array_fill(1, ARRAY[v_takes]) || array_fill(3, ARRAY[v_unlocks]), array_fill(1, ARRAY[v_count]),
        array_fill(0, ARRAY[v_count]), p_ttls || array_fill(0::int8, ARRAY[v_unlocks]), p_owners || p_unlock_owners,
        p_notes || array_fill(''::bytea, ARRAY[v_unlocks]), p_attempts || array_fill(''::bytea, ARRAY[v_unlocks]),
        array_fill(NULL::bytea, ARRAY[v_count]), p_ids || p_unlock_ids, array_fill(0::int8, ARRAY[v_takes]) || p_unlock_tokens,
        array_fill(-1::int8, ARRAY[v_count]));
END $$;

-- The locks that there are of these, and the clock: read before the locks, so that no lease that is refreshed in between is taken for
-- over. One row has the clock alone.
CREATE FUNCTION dss.look(p_ids bytea[], OUT r_now_us int8, OUT r_lock dss.lock) RETURNS SETOF record LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
BEGIN
    r_now_us := dss.now_us();
    RETURN NEXT;
    FOR r_lock IN SELECT * FROM dss.lock WHERE lock_id = ANY (p_ids) LOOP
        RETURN NEXT;
    END LOOP;
END $$;

-- Makes all batches of the session void that have not been done by now, and gives the number and the answer of the last one that
-- was. Begins the session where there is none.
CREATE FUNCTION dss.resolve(p_session bytea, p_epoch int8, OUT r_batch int8, OUT r_answer text) LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        -- One that was asked for late does not bring back an epoch that is over.
        UPDATE dss.session SET epoch = greatest(epoch, p_epoch) WHERE session_id = p_session RETURNING batch, answer INTO r_batch, r_answer;
        EXIT WHEN FOUND;
        r_batch := 0;
        r_answer := '';
        INSERT INTO dss.session VALUES (p_epoch, 0, dss.now_us(), p_session, '') ON CONFLICT DO NOTHING;
        EXIT WHEN FOUND;
    END LOOP;
END $$;

-- Takes or keeps places in the queue: one for each name and lock.
CREATE FUNCTION dss.stand(p_ids bytea[], p_names bytea[], p_keeps bool[], p_for_us int8) RETURNS void LANGUAGE sql AS $$
    INSERT INTO dss.waiter
        SELECT nextval('dss.ticket'), dss.now_us() + p_for_us, s.keeps, false, s.id, s.name
        FROM (SELECT * FROM unnest(p_ids, p_names, p_keeps) AS u (id, name, keeps) ORDER BY id, name) AS s
        ON CONFLICT (lock_id, name) DO UPDATE SET until_us = excluded.until_us, keeps = excluded.keeps, woken = false;
$$;

-- Writes the value of one key, or with NULL deletes it, if what it rests on is so: its version (0: there is none; NULL: that does not
-- matter), and that a lock is held with this token. Numbers are locked in the order in which everybody does: that of the lock, which
-- keeps others from taking or releasing it until this is done, and then that of the key, which has two halves, as no lock's has.
-- Answers now_us|v;version when it is done, with 0 for what is deleted; w;version where another one stands there, or nothing; or
-- f; and what became of the lock, as dss.change. Without a session or numbers it leaves that to its caller.
CREATE FUNCTION dss.set_one(p_session bytea, p_epoch int8, p_batch int8, p_patience_ms int4, p_lock int8, p_lock_id bytea,
    p_token int8, p_high int4, p_low int4, p_key bytea, p_version int8, p_value bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_now_us int8;
    v_version int8;
    v_answer text;
    v_locked bool;
    v_lock dss.lock;
BEGIN
    v_answer := set_config('lock_timeout', p_patience_ms::text, true) || set_config('enable_seqscan', 'off', true);
    -- Without a number these do nothing.
    v_locked := pg_advisory_xact_lock_shared(p_lock # hashtextextended('dss.lock', 0)) IS NULL;
    v_locked := pg_advisory_xact_lock(p_high # hashtext('dss.state'), p_low) IS NULL;
    v_now_us := dss.now_us();
    IF p_lock_id IS NOT NULL THEN
        PERFORM FROM dss.lock WHERE lock_id = p_lock_id AND token = p_token AND owner IS NOT NULL
            AND (ttl_ms = 0 OR leased_us + ttl_ms * 1000 > v_now_us);
        -- A refresh that came in time may still be under way. And with another isolation level, to which a pooler may lead us, that
        -- was the lock as it stood before the wait: one that has changed since can't be locked then.
        IF NOT FOUND OR current_setting('transaction_isolation') <> 'read committed' THEN
            SELECT * INTO v_lock FROM dss.lock WHERE lock_id = p_lock_id FOR SHARE;
            v_now_us := dss.now_us();
            v_answer := CASE WHEN v_lock.token IS NULL THEN 'n,0' WHEN v_lock.owner IS NULL THEN 'n,' || v_lock.ending
                WHEN v_lock.ttl_ms <> 0 AND v_lock.leased_us + v_lock.ttl_ms * 1000 <= v_now_us THEN 'n,1'
                WHEN v_lock.token <> p_token THEN 's,' || dss.told(v_lock) END;
            IF v_answer IS NOT NULL THEN
                RETURN v_now_us || '|f;' || v_answer;
            END IF;
        END IF;
    END IF;
    IF p_value IS NULL THEN
        DELETE FROM dss.state WHERE key = p_key AND (p_version IS NULL OR version = p_version) RETURNING 0 INTO v_version;
    ELSIF p_version IS NULL THEN
        INSERT INTO dss.state VALUES (dss.mint(), p_key, p_value)
            ON CONFLICT (key) DO UPDATE SET version = excluded.version, value = excluded.value
            RETURNING version INTO v_version;
    ELSIF p_version = 0 THEN
        INSERT INTO dss.state VALUES (dss.mint(), p_key, p_value) ON CONFLICT DO NOTHING RETURNING version INTO v_version;
    ELSE
        UPDATE dss.state SET version = dss.mint(), value = p_value WHERE key = p_key AND version = p_version
            RETURNING version INTO v_version;
    END IF;
    IF NOT FOUND THEN
        SELECT version INTO v_version FROM dss.state WHERE key = p_key;
        RETURN v_now_us || '|w;' || coalesce(v_version, 0);
    END IF;
    v_answer := v_now_us || '|v;' || v_version;
    UPDATE dss.session SET batch = p_batch, answer = v_answer, seen_us = v_now_us
        WHERE session_id = p_session AND epoch = p_epoch AND batch < p_batch;
    IF FOUND OR p_session IS NULL THEN
        RETURN v_answer;
    END IF;
    RAISE EXCEPTION 'this batch is void' USING ERRCODE = 'DSS01';
END $$;

-- Several writes, in their order, as dss.set_one does each: now_us|answer|answer... . Numbers are those of all locks and of all keys, in
-- their order.
CREATE FUNCTION dss.set_many(p_session bytea, p_epoch int8, p_batch int8, p_patience_ms int4, p_locks int8[], p_highs int4[],
    p_lows int4[], p_lock_ids bytea[], p_tokens int8[], p_keys bytea[], p_versions int8[], p_values bytea[])
    RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_now_us int8;
    v_one text;
    v_answer text;
    v_changed bool := false;
    v_locked bool;
BEGIN
    v_answer := set_config('lock_timeout', p_patience_ms::text, true) || set_config('plan_cache_mode', 'force_generic_plan', true);
    FOR i IN 1 .. cardinality(p_locks) LOOP
        v_locked := pg_advisory_xact_lock_shared(p_locks[i] # hashtextextended('dss.lock', 0)) IS NULL;
    END LOOP;
    FOR i IN 1 .. cardinality(p_highs) LOOP
        v_locked := pg_advisory_xact_lock(p_highs[i] # hashtext('dss.state'), p_lows[i]) IS NULL;
    END LOOP;
    v_now_us := dss.now_us();
    v_answer := v_now_us;
    FOR i IN 1 .. cardinality(p_keys) LOOP
        v_one := split_part(dss.set_one(NULL, NULL, NULL, p_patience_ms, NULL, p_lock_ids[i], p_tokens[i], NULL, NULL, p_keys[i],
            p_versions[i], p_values[i]), '|', 2);
        v_changed := v_changed OR left(v_one, 1) = 'v';
        v_answer := v_answer || '|' || v_one;
    END LOOP;
    IF v_changed THEN
        UPDATE dss.session SET batch = p_batch, answer = v_answer, seen_us = v_now_us
            WHERE session_id = p_session AND epoch = p_epoch AND batch < p_batch;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'this batch is void' USING ERRCODE = 'DSS01';
        END IF;
    END IF;
    RETURN v_answer;
END $$;

-- What stands under these keys, in their order: without a version, nothing does. The list ends before its time when it has more
-- bytes than that.
CREATE FUNCTION dss.look_up(p_keys bytea[], p_bytes int8, OUT r_version int8, OUT r_value bytea) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SET enable_seqscan = off AS $$
DECLARE
    v_left int8 := p_bytes;
BEGIN
    FOR i IN 1 .. cardinality(p_keys) LOOP
        SELECT version, value INTO r_version, r_value FROM dss.state WHERE key = p_keys[i];
        RETURN NEXT;
        v_left := v_left - coalesce(octet_length(r_value), 0);
        EXIT WHEN v_left < 0;
    END LOOP;
END $$;
