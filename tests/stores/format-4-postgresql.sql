SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA dbos;
CREATE FUNCTION dbos.enqueue_workflow(workflow_name text, queue_name text, positional_args json[] DEFAULT ARRAY[]::json[], named_args json DEFAULT '{}'::json, class_name text DEFAULT NULL::text, config_name text DEFAULT NULL::text, workflow_id text DEFAULT NULL::text, app_version text DEFAULT NULL::text, timeout_ms bigint DEFAULT NULL::bigint, deadline_epoch_ms bigint DEFAULT NULL::bigint, deduplication_id text DEFAULT NULL::text, priority integer DEFAULT NULL::integer, queue_partition_key text DEFAULT NULL::text, authenticated_user text DEFAULT NULL::text, authenticated_roles text DEFAULT NULL::text, delay_until_epoch_ms bigint DEFAULT NULL::bigint, application_name text DEFAULT NULL::text) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_workflow_id TEXT;
    v_serialized_inputs TEXT;
    v_owner_xid TEXT;
    v_now BIGINT;
    v_recovery_attempts INT4 := 0;
    v_priority INT4;
    v_status TEXT;
BEGIN
    -- Validate required parameters
    IF workflow_name IS NULL OR workflow_name = '' THEN
        RAISE EXCEPTION 'Workflow name cannot be null or empty';
    END IF;
    IF queue_name IS NULL OR queue_name = '' THEN
        RAISE EXCEPTION 'Queue name cannot be null or empty';
    END IF;
    IF named_args IS NOT NULL AND jsonb_typeof(named_args::jsonb) != 'object' THEN
        RAISE EXCEPTION 'Named args must be a JSON object';
    END IF;
    IF workflow_id IS NOT NULL AND workflow_id = '' THEN
        RAISE EXCEPTION 'Workflow ID cannot be an empty string if provided.';
    END IF;
    IF delay_until_epoch_ms IS NOT NULL AND delay_until_epoch_ms < 0 THEN
        RAISE EXCEPTION 'delay_until_epoch_ms must be >= 0';
    END IF;
    v_workflow_id := COALESCE(workflow_id, gen_random_uuid()::TEXT);
    v_owner_xid := gen_random_uuid()::TEXT;
    v_priority := COALESCE(priority, 0);
    v_serialized_inputs := json_build_object(
        'positionalArgs', positional_args,
        'namedArgs', named_args
    )::TEXT;
    v_now := EXTRACT(epoch FROM now()) * 1000;
    v_status := CASE WHEN delay_until_epoch_ms IS NULL THEN 'ENQUEUED' ELSE 'DELAYED' END;
    INSERT INTO "dbos".workflow_status (
        workflow_uuid, status,
        name, class_name, config_name,
        queue_name, deduplication_id, priority, queue_partition_key,
        application_version,
        created_at, updated_at, recovery_attempts,
        workflow_timeout_ms, workflow_deadline_epoch_ms,
        parent_workflow_id, owner_xid, serialization,
        authenticated_user, authenticated_roles,
        delay_until_epoch_ms, application_name
    ) VALUES (
        v_workflow_id, v_status,
        workflow_name, class_name, config_name,
        queue_name, deduplication_id, v_priority, queue_partition_key,
        app_version,
        v_now, v_now, v_recovery_attempts,
        timeout_ms, deadline_epoch_ms,
        NULL, v_owner_xid, 'portable_json',
        authenticated_user, authenticated_roles,
        delay_until_epoch_ms, application_name
    )
    ON CONFLICT (workflow_uuid)
    DO UPDATE SET
        updated_at = EXCLUDED.updated_at;
    INSERT INTO "dbos".workflow_input (
        workflow_uuid, inputs, retention_timestamp
    ) VALUES (
        v_workflow_id, v_serialized_inputs, v_now
    )
    ON CONFLICT (workflow_uuid) DO NOTHING;
    RETURN v_workflow_id;
EXCEPTION
    WHEN unique_violation THEN
        RAISE EXCEPTION 'DBOS queue duplicated'
            USING DETAIL = format('Workflow %s with queue %s and deduplication ID %s already exists', v_workflow_id, queue_name, deduplication_id),
                ERRCODE = 'unique_violation';
END;
$$;
CREATE FUNCTION dbos.notifications_function() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    payload text := NEW.destination_uuid || '::' || NEW.topic;
BEGIN
    PERFORM pg_notify('dbos_notifications_channel', payload);
    RETURN NEW;
END;
$$;
CREATE FUNCTION dbos.send_message(destination_id text, message json, topic text DEFAULT NULL::text, message_id text DEFAULT NULL::text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_topic TEXT := COALESCE(topic, '__null__topic__');
    v_message_id TEXT := COALESCE(message_id, gen_random_uuid()::TEXT);
BEGIN
    INSERT INTO "dbos".notifications (
        destination_uuid, topic, message, message_uuid, serialization
    ) VALUES (
        destination_id, v_topic, message, v_message_id, 'portable_json'
    )
    ON CONFLICT (message_uuid) DO NOTHING;
EXCEPTION
    WHEN foreign_key_violation THEN
        RAISE EXCEPTION 'DBOS non-existent workflow'
            USING DETAIL = format('Destination workflow %s does not exist', destination_id),
                ERRCODE = 'foreign_key_violation';
END;
$$;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE dbos.application_versions (
    version_id text NOT NULL,
    version_name text NOT NULL,
    version_timestamp bigint DEFAULT ((EXTRACT(epoch FROM now()) * 1000.0))::bigint NOT NULL,
    created_at bigint DEFAULT ((EXTRACT(epoch FROM now()) * 1000.0))::bigint NOT NULL,
    application_name text
);
CREATE TABLE dbos.dbos_migrations (
    version bigint NOT NULL
);
CREATE TABLE dbos.event_dispatch_kv (
    service_name text NOT NULL,
    workflow_fn_name text NOT NULL,
    key text NOT NULL,
    value text,
    update_seq numeric(38,0),
    update_time numeric(38,15)
);
CREATE TABLE dbos.notifications (
    message_uuid text DEFAULT gen_random_uuid() NOT NULL,
    destination_uuid text NOT NULL,
    topic text,
    message text NOT NULL,
    created_at_epoch_ms bigint DEFAULT ((EXTRACT(epoch FROM now()) * 1000.0))::bigint NOT NULL,
    serialization text,
    consumed boolean DEFAULT false NOT NULL,
    consumed_by_function_id integer
);
CREATE TABLE dbos.operation_outputs (
    workflow_uuid text NOT NULL,
    function_id integer NOT NULL,
    function_name text DEFAULT ''::text NOT NULL,
    output text,
    error text,
    child_workflow_id text,
    started_at_epoch_ms bigint,
    completed_at_epoch_ms bigint,
    serialization text,
    application_name text,
    retention_timestamp bigint DEFAULT ((EXTRACT(epoch FROM now()) * 1000.0))::bigint NOT NULL
);
CREATE TABLE dbos.queues (
    queue_id text DEFAULT (gen_random_uuid())::text NOT NULL,
    name text NOT NULL,
    concurrency integer,
    worker_concurrency integer,
    rate_limit_max integer,
    rate_limit_period_sec double precision,
    priority_enabled boolean DEFAULT false NOT NULL,
    partition_queue boolean DEFAULT false NOT NULL,
    polling_interval_sec double precision DEFAULT 1.0 NOT NULL,
    created_at bigint DEFAULT ((EXTRACT(epoch FROM now()) * 1000.0))::bigint NOT NULL,
    updated_at bigint DEFAULT ((EXTRACT(epoch FROM now()) * 1000.0))::bigint NOT NULL,
    application_name text,
    partition_concurrency integer,
    partition_worker_concurrency integer,
    partition_rate_limit_max integer,
    partition_rate_limit_period_sec double precision
);
CREATE TABLE dbos.streams (
    workflow_uuid text NOT NULL,
    key text NOT NULL,
    value text NOT NULL,
    "offset" integer NOT NULL,
    function_id integer DEFAULT 0 NOT NULL,
    serialization text
);
CREATE TABLE dbos.workflow_events (
    workflow_uuid text NOT NULL,
    key text NOT NULL,
    value text NOT NULL,
    serialization text
);
CREATE TABLE dbos.workflow_events_history (
    workflow_uuid text NOT NULL,
    function_id integer NOT NULL,
    key text NOT NULL,
    value text NOT NULL,
    serialization text
);
CREATE TABLE dbos.workflow_input (
    workflow_uuid text NOT NULL,
    inputs text,
    retention_timestamp bigint DEFAULT ((EXTRACT(epoch FROM now()) * 1000.0))::bigint NOT NULL
);
CREATE TABLE dbos.workflow_output (
    workflow_uuid text NOT NULL,
    output text,
    error text,
    retention_timestamp bigint DEFAULT ((EXTRACT(epoch FROM now()) * 1000.0))::bigint NOT NULL
);
CREATE TABLE dbos.workflow_schedules (
    schedule_id text NOT NULL,
    schedule_name text NOT NULL,
    workflow_name text NOT NULL,
    workflow_class_name text,
    schedule text NOT NULL,
    status text DEFAULT 'ACTIVE'::text NOT NULL,
    context text NOT NULL,
    last_fired_at text,
    automatic_backfill boolean DEFAULT false NOT NULL,
    cron_timezone text,
    queue_name text,
    application_name text
);
CREATE TABLE dbos.workflow_status (
    workflow_uuid text NOT NULL,
    status text,
    name text,
    authenticated_user text,
    assumed_role text,
    authenticated_roles text,
    request text,
    output text,
    error text,
    executor_id text,
    created_at bigint DEFAULT ((EXTRACT(epoch FROM now()) * 1000.0))::bigint NOT NULL,
    updated_at bigint DEFAULT ((EXTRACT(epoch FROM now()) * 1000.0))::bigint NOT NULL,
    application_version text,
    application_id text,
    class_name character varying(255) DEFAULT NULL::character varying,
    config_name character varying(255) DEFAULT NULL::character varying,
    recovery_attempts bigint DEFAULT 0,
    queue_name text,
    workflow_timeout_ms bigint,
    workflow_deadline_epoch_ms bigint,
    inputs text,
    started_at_epoch_ms bigint,
    deduplication_id text,
    priority integer DEFAULT 0 NOT NULL,
    queue_partition_key text,
    forked_from text,
    owner_xid text,
    parent_workflow_id text,
    serialization text,
    delay_until_epoch_ms bigint,
    was_forked_from boolean DEFAULT false NOT NULL,
    rate_limited boolean DEFAULT false NOT NULL,
    completed_at bigint,
    attributes jsonb,
    schedule_name text,
    debounce_deadline_epoch_ms bigint,
    is_debounced boolean DEFAULT false NOT NULL,
    application_name text,
    creator_xid text
);
CREATE TABLE public.akool_accounts (
    account text CONSTRAINT akool_ends_account_not_null NOT NULL,
    ended_number bigint CONSTRAINT akool_ends_number_not_null NOT NULL,
    last_lease bigint DEFAULT 0 NOT NULL,
    learned text
);
CREATE TABLE public.akool_budgets (
    account text NOT NULL,
    budget text NOT NULL,
    max_credits double precision NOT NULL,
    spent double precision NOT NULL,
    reserved double precision NOT NULL
);
CREATE TABLE public.akool_format (
    format integer NOT NULL
);
CREATE SEQUENCE public.akool_format_format_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.akool_format_format_seq OWNED BY public.akool_format.format;
CREATE TABLE public.akool_jobs (
    job text NOT NULL,
    account text NOT NULL,
    image_id text NOT NULL,
    button text NOT NULL,
    state text NOT NULL,
    submitted_at bigint NOT NULL,
    ended_at bigint,
    in_doubt boolean NOT NULL,
    correlation_id text CONSTRAINT akool_jobs_word_not_null NOT NULL,
    operation_id text,
    reported_id text,
    webhook_status integer,
    outcome text,
    search_time bigint,
    ended_number bigint,
    charged boolean,
    credits double precision,
    estimate double precision,
    batch text,
    lease bigint,
    claimed_at bigint,
    reserved double precision,
    budget text,
    day text,
    claimed boolean DEFAULT false NOT NULL,
    goes_alone boolean DEFAULT false NOT NULL,
    over_budget boolean DEFAULT false NOT NULL
);
CREATE TABLE public.akool_leases (
    account text NOT NULL,
    number bigint NOT NULL,
    worker text NOT NULL,
    beats bigint NOT NULL
);
CREATE TABLE public.akool_prices (
    account text CONSTRAINT akool_prices_account_not_null1 NOT NULL,
    kind text CONSTRAINT akool_prices_kind_not_null1 NOT NULL,
    credits double precision,
    largest double precision NOT NULL
);
ALTER TABLE ONLY public.akool_format ALTER COLUMN format SET DEFAULT nextval('public.akool_format_format_seq'::regclass);
INSERT INTO dbos.application_versions VALUES ('90482610-004e-4433-b3a5-9e0fe6d32d7f', '1', 1795827008204, 1795827008204, 'akool_async');
INSERT INTO dbos.dbos_migrations VALUES (125);
INSERT INTO dbos.queues VALUES ('185fc622-9071-453c-9af5-02534306594a', 'akool:acme:upscale', 1, NULL, NULL, NULL, true, true, 0.05, 1795827008175, 1795827011936, 'akool_async', NULL, 1, NULL, NULL);
INSERT INTO dbos.queues VALUES ('ad1a1380-7f52-4792-8811-63a6910b1ea8', 'akool:acme:variation', NULL, 256, NULL, NULL, true, false, 0.05, 1795827008187, 1795827011951, 'akool_async', NULL, NULL, NULL, NULL);
INSERT INTO dbos.workflow_input VALUES ('4b661734d2534a58aeafb64215ffdaf4', '{"namedArgs":{},"positionalArgs":["4b661734d2534a58aeafb64215ffdaf4"]}', 1795844914936);
INSERT INTO dbos.workflow_status VALUES ('4b661734d2534a58aeafb64215ffdaf4', 'ENQUEUED', 'akool_batch', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1795844914936, 1795844914936, '2', NULL, NULL, NULL, 0, 'akool_async:acme:left', NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, 'portable_json', NULL, false, false, NULL, 'null', NULL, NULL, false, 'akool_async', '515dbd69-d41e-4261-9c3f-7b64ba7b159a');
INSERT INTO public.akool_accounts VALUES ('acme', 3, 0, NULL);
INSERT INTO public.akool_format VALUES (3);
INSERT INTO public.akool_format VALUES (4);
INSERT INTO public.akool_jobs VALUES ('acme:SOURCE_OF_UNKNOWN:U1', 'acme', 'SOURCE_OF_UNKNOWN', 'U1', 'unknown', 1795827008156867, 1795827008478373, true, 'R7D2jRZ4Xe7n9Waj56mwtA', NULL, NULL, NULL, '{"id":null,"image":null,"error":{"type":"OutcomeUnknownError","message":"the reply was lost, and the button is used: its new id is not known (Create By Button: the connection broke ([Errno 104] Connection reset by peer) [button U1 of image SOURCE_OF_UNKNOWN])","fields":{"charged":true,"operation_id":null}}}', 106103, 1, true, NULL, 2, NULL, NULL, NULL, NULL, NULL, NULL, false, false, false);
INSERT INTO public.akool_jobs VALUES ('acme:SOURCE_OF_DONE:U1', 'acme', 'SOURCE_OF_DONE', 'U1', 'done', 1795827008537012, 1795827010059930, false, 'a4WdKgwsFiT8Y_p3eDrOwA', 'DONE_OPERATION', NULL, NULL, '{"id":"DONE_OPERATION","image":{"id":"DONE_OPERATION","status":3,"image":"http://127.0.0.1:39901/1795827010025-6b0a2540-ca89-88c5-96b6-fe7548268673-8010.jpeg","source_image_id":"SOURCE_OF_DONE","op_button":"U1","op_button_message_id":"6b0a2540ca8988c596b6","created_at":"2026-11-28T00:50:08.713000+00:00","deduction_credit":3,"faceswap_quality":2,"type":3,"from_":1,"uid":378337,"raw":{"faceswap_quality":2,"deduction_credit":3,"buttons":[],"used_buttons":[],"upscaled_urls":[],"_id":"DONE_OPERATION","create_time":1795827008713,"uid":378337,"type":3,"from":1,"image_status":3,"image_content_model_id":"SOURCE_OF_DONE","op_button":"U1","op_buttonMessageId":"6b0a2540ca8988c596b6","image":"http://127.0.0.1:39901/1795827010025-6b0a2540-ca89-88c5-96b6-fe7548268673-8010.jpeg"}},"error":null}', NULL, 2, true, 3, 2, NULL, NULL, NULL, NULL, NULL, NULL, false, false, false);
INSERT INTO public.akool_jobs VALUES ('acme:SOURCE_OF_REFUSED:U1', 'acme', 'SOURCE_OF_REFUSED', 'U1', 'failed', 1795827010222762, 1795827010448117, false, 'BhobARldhSPXdWBQmRl_yw', NULL, NULL, NULL, '{"id":null,"image":null,"error":{"type":"NotPermittedError","message":"Create By Button: AKOOL answered 1009 ''refused on command'' (HTTP 200): the account may not do this","fields":{"code":1009,"msg":"refused on command","http_status":200,"retry_after":null,"operation_id":null}}}', NULL, 3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, false, false);
INSERT INTO public.akool_jobs VALUES ('acme:SOURCE_OF_WAITING:V1', 'acme', 'SOURCE_OF_WAITING', 'V1', 'open', 1795827012163295, NULL, false, 'AJ9TZDk81iVWnz_3jZTApg', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '4b661734d2534a58aeafb64215ffdaf4', NULL, NULL, NULL, NULL, NULL, false, false, false);
INSERT INTO public.akool_jobs VALUES ('acme:SOURCE_OF_WAITING:U1', 'acme', 'SOURCE_OF_WAITING', 'U1', 'open', 1795827012163403, NULL, false, 'B1uy8vhBRSZRq2UAlojVPw', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '4b661734d2534a58aeafb64215ffdaf4', NULL, NULL, NULL, NULL, NULL, false, false, false);
INSERT INTO public.akool_jobs VALUES ('acme:SOURCE_OF_RUNNING:V2', 'acme', 'SOURCE_OF_RUNNING', 'V2', 'open', 1795827010509144, NULL, false, 'Jwv68RyqnaAtcXsaSUP1AA', 'RUNNING_OPERATION', NULL, NULL, NULL, NULL, NULL, true, 2, 2, '4b661734d2534a58aeafb64215ffdaf4', NULL, NULL, NULL, NULL, NULL, true, false, false);
INSERT INTO public.akool_jobs VALUES ('acme:SOURCE_IN_DOUBT:U3', 'acme', 'SOURCE_IN_DOUBT', 'U3', 'open', 1795827011821120, NULL, true, 'LCYc-8sYVGWc4LaDlJvo_Q', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 3, '4b661734d2534a58aeafb64215ffdaf4', NULL, NULL, NULL, NULL, NULL, true, false, false);
INSERT INTO public.akool_prices VALUES ('acme', 'upscale', 3, 3);
SELECT pg_catalog.setval('public.akool_format_format_seq', 1, false);
ALTER TABLE ONLY dbos.application_versions
    ADD CONSTRAINT application_versions_pkey PRIMARY KEY (version_id);
ALTER TABLE ONLY dbos.application_versions
    ADD CONSTRAINT application_versions_version_name_key UNIQUE (version_name);
ALTER TABLE ONLY dbos.dbos_migrations
    ADD CONSTRAINT dbos_migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY dbos.event_dispatch_kv
    ADD CONSTRAINT event_dispatch_kv_pkey PRIMARY KEY (service_name, workflow_fn_name, key);
ALTER TABLE ONLY dbos.notifications
    ADD CONSTRAINT notifications_pkey PRIMARY KEY (message_uuid);
ALTER TABLE ONLY dbos.operation_outputs
    ADD CONSTRAINT operation_outputs_pkey PRIMARY KEY (workflow_uuid, function_id);
ALTER TABLE ONLY dbos.queues
    ADD CONSTRAINT queues_name_key UNIQUE (name);
ALTER TABLE ONLY dbos.queues
    ADD CONSTRAINT queues_pkey PRIMARY KEY (queue_id);
ALTER TABLE ONLY dbos.streams
    ADD CONSTRAINT streams_pkey PRIMARY KEY (workflow_uuid, key, "offset");
ALTER TABLE ONLY dbos.workflow_events_history
    ADD CONSTRAINT workflow_events_history_pkey PRIMARY KEY (workflow_uuid, function_id, key);
ALTER TABLE ONLY dbos.workflow_events
    ADD CONSTRAINT workflow_events_pkey PRIMARY KEY (workflow_uuid, key);
ALTER TABLE ONLY dbos.workflow_input
    ADD CONSTRAINT workflow_input_pkey PRIMARY KEY (workflow_uuid);
ALTER TABLE ONLY dbos.workflow_output
    ADD CONSTRAINT workflow_output_pkey PRIMARY KEY (workflow_uuid);
ALTER TABLE ONLY dbos.workflow_schedules
    ADD CONSTRAINT workflow_schedules_pkey PRIMARY KEY (schedule_id);
ALTER TABLE ONLY dbos.workflow_schedules
    ADD CONSTRAINT workflow_schedules_schedule_name_key UNIQUE (schedule_name);
ALTER TABLE ONLY dbos.workflow_status
    ADD CONSTRAINT workflow_status_pkey PRIMARY KEY (workflow_uuid);
ALTER TABLE ONLY public.akool_budgets
    ADD CONSTRAINT akool_budgets_pkey PRIMARY KEY (account, budget);
ALTER TABLE ONLY public.akool_accounts
    ADD CONSTRAINT akool_ends_pkey PRIMARY KEY (account);
ALTER TABLE ONLY public.akool_format
    ADD CONSTRAINT akool_format_pkey PRIMARY KEY (format);
ALTER TABLE ONLY public.akool_jobs
    ADD CONSTRAINT akool_jobs_pkey PRIMARY KEY (job);
ALTER TABLE ONLY public.akool_jobs
    ADD CONSTRAINT akool_jobs_word_key UNIQUE (correlation_id);
ALTER TABLE ONLY public.akool_leases
    ADD CONSTRAINT akool_leases_pkey PRIMARY KEY (account, number);
ALTER TABLE ONLY public.akool_prices
    ADD CONSTRAINT akool_prices_pkey1 PRIMARY KEY (account, kind);
CREATE INDEX idx_application_versions_owner_timestamp ON dbos.application_versions USING btree (application_name, version_timestamp DESC);
CREATE INDEX idx_application_versions_timestamp ON dbos.application_versions USING btree (version_timestamp DESC);
CREATE INDEX idx_operation_outputs_completed_at_function_name_v2 ON dbos.operation_outputs USING btree (completed_at_epoch_ms, function_name) INCLUDE (application_name);
CREATE INDEX idx_operation_outputs_retention ON dbos.operation_outputs USING btree (retention_timestamp);
CREATE INDEX idx_workflow_input_retention ON dbos.workflow_input USING btree (retention_timestamp);
CREATE INDEX idx_workflow_output_retention ON dbos.workflow_output USING btree (retention_timestamp);
CREATE INDEX idx_workflow_status_attributes ON dbos.workflow_status USING gin (attributes) WHERE (attributes IS NOT NULL);
CREATE INDEX idx_workflow_status_completed_at ON dbos.workflow_status USING btree (completed_at) WHERE (completed_at IS NOT NULL);
CREATE INDEX idx_workflow_status_deadline ON dbos.workflow_status USING btree (workflow_deadline_epoch_ms) WHERE ((status = ANY (ARRAY['ENQUEUED'::text, 'PENDING'::text, 'DELAYED'::text])) AND (workflow_deadline_epoch_ms IS NOT NULL));
CREATE INDEX idx_workflow_status_delayed ON dbos.workflow_status USING btree (delay_until_epoch_ms) WHERE (status = 'DELAYED'::text);
CREATE INDEX idx_workflow_status_failed ON dbos.workflow_status USING btree (status, created_at) WHERE (status = ANY (ARRAY['ERROR'::text, 'CANCELLED'::text, 'MAX_RECOVERY_ATTEMPTS_EXCEEDED'::text]));
CREATE INDEX idx_workflow_status_forked_from ON dbos.workflow_status USING btree (forked_from) WHERE (forked_from IS NOT NULL);
CREATE INDEX idx_workflow_status_in_flight_v2 ON dbos.workflow_status USING btree (queue_name, status, priority, created_at) INCLUDE (application_name) WHERE (status = ANY (ARRAY['ENQUEUED'::text, 'PENDING'::text]));
CREATE INDEX idx_workflow_status_parent_workflow_id ON dbos.workflow_status USING btree (parent_workflow_id) WHERE (parent_workflow_id IS NOT NULL);
CREATE INDEX idx_workflow_status_partition_dequeue_v3 ON dbos.workflow_status USING btree (queue_name, status, queue_partition_key, priority, created_at, workflow_uuid) INCLUDE (application_name) WHERE ((status = ANY (ARRAY['ENQUEUED'::text, 'PENDING'::text])) AND (queue_partition_key IS NOT NULL));
CREATE INDEX idx_workflow_status_pending ON dbos.workflow_status USING btree (created_at) WHERE (status = 'PENDING'::text);
CREATE INDEX idx_workflow_status_rate_limited ON dbos.workflow_status USING btree (queue_name, started_at_epoch_ms) WHERE (rate_limited = true);
CREATE INDEX idx_workflow_status_schedule_name ON dbos.workflow_status USING btree (schedule_name) WHERE (schedule_name IS NOT NULL);
CREATE INDEX idx_workflow_status_started_at ON dbos.workflow_status USING btree (started_at_epoch_ms) WHERE (started_at_epoch_ms IS NOT NULL);
CREATE INDEX idx_workflow_topic ON dbos.notifications USING btree (destination_uuid, topic);
CREATE UNIQUE INDEX uq_application_versions_owner_version ON dbos.application_versions USING btree (application_name, version_name) WHERE (application_name IS NOT NULL);
CREATE UNIQUE INDEX uq_application_versions_unclaimed_version ON dbos.application_versions USING btree (version_name) WHERE (application_name IS NULL);
CREATE UNIQUE INDEX uq_workflow_status_dedup_id ON dbos.workflow_status USING btree (queue_name, deduplication_id) WHERE (deduplication_id IS NOT NULL);
CREATE INDEX workflow_status_created_at_index ON dbos.workflow_status USING btree (created_at);
CREATE INDEX akool_jobs_by_batch ON public.akool_jobs USING btree (batch);
CREATE INDEX akool_jobs_by_credits ON public.akool_jobs USING btree (account, credits) WHERE (credits IS NOT NULL);
CREATE INDEX akool_jobs_by_end ON public.akool_jobs USING btree (account, ended_at, job);
CREATE INDEX akool_jobs_by_estimate ON public.akool_jobs USING btree (account, charged, estimate, operation_id, reported_id, credits) WHERE ((estimate IS NOT NULL) AND (credits IS NULL));
CREATE INDEX akool_jobs_by_lease ON public.akool_jobs USING btree (account, lease) WHERE (lease IS NOT NULL);
CREATE INDEX akool_jobs_by_number ON public.akool_jobs USING btree (account, ended_number);
CREATE INDEX akool_jobs_by_state ON public.akool_jobs USING btree (account, state, job);
CREATE INDEX akool_jobs_claimed ON public.akool_jobs USING btree (account, button) WHERE (claimed IS TRUE);
CREATE INDEX ix_akool_jobs_operation_id ON public.akool_jobs USING btree (operation_id);
CREATE TRIGGER dbos_notifications_trigger AFTER INSERT ON dbos.notifications FOR EACH ROW EXECUTE FUNCTION dbos.notifications_function();
ALTER TABLE ONLY dbos.notifications
    ADD CONSTRAINT notifications_destination_uuid_fkey FOREIGN KEY (destination_uuid) REFERENCES dbos.workflow_status(workflow_uuid) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE ONLY dbos.streams
    ADD CONSTRAINT streams_workflow_uuid_fkey FOREIGN KEY (workflow_uuid) REFERENCES dbos.workflow_status(workflow_uuid) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE ONLY dbos.workflow_events_history
    ADD CONSTRAINT workflow_events_history_workflow_uuid_fkey FOREIGN KEY (workflow_uuid) REFERENCES dbos.workflow_status(workflow_uuid) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE ONLY dbos.workflow_events
    ADD CONSTRAINT workflow_events_workflow_uuid_fkey FOREIGN KEY (workflow_uuid) REFERENCES dbos.workflow_status(workflow_uuid) ON UPDATE CASCADE ON DELETE CASCADE;
