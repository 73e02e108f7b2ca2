BEGIN TRANSACTION;
CREATE TABLE "akool_accounts" (
	account TEXT NOT NULL, 
	ended_number BIGINT NOT NULL, last_lease BIGINT NOT NULL DEFAULT 0, learned TEXT, 
	PRIMARY KEY (account)
);
INSERT INTO "akool_accounts" VALUES('acme',3,0,NULL);
CREATE TABLE akool_budgets (
	account TEXT NOT NULL, 
	budget TEXT NOT NULL, 
	max_credits DOUBLE NOT NULL, 
	spent DOUBLE NOT NULL, 
	reserved DOUBLE NOT NULL, 
	PRIMARY KEY (account, budget)
);
CREATE TABLE akool_format (
	format INTEGER NOT NULL, 
	PRIMARY KEY (format)
);
INSERT INTO "akool_format" VALUES(3);
INSERT INTO "akool_format" VALUES(4);
CREATE TABLE akool_jobs (
	job TEXT NOT NULL, 
	account TEXT NOT NULL, 
	image_id TEXT NOT NULL, 
	button TEXT NOT NULL, 
	state TEXT NOT NULL, 
	submitted_at BIGINT NOT NULL, 
	ended_at BIGINT, 
	in_doubt BOOLEAN NOT NULL, 
	correlation_id TEXT NOT NULL, 
	operation_id TEXT, 
	reported_id TEXT, 
	webhook_status INTEGER, 
	outcome TEXT, 
	search_time BIGINT, 
	ended_number BIGINT, 
	charged BOOLEAN, 
	credits DOUBLE, 
	estimate DOUBLE, batch TEXT, lease BIGINT, claimed_at BIGINT, reserved DOUBLE PRECISION, budget TEXT, day TEXT, claimed BOOLEAN NOT NULL DEFAULT false, goes_alone BOOLEAN NOT NULL DEFAULT false, over_budget BOOLEAN NOT NULL DEFAULT false, 
	PRIMARY KEY (job), 
	UNIQUE (correlation_id)
);
INSERT INTO "akool_jobs" VALUES('acme:SOURCE_OF_UNKNOWN:U1','acme','SOURCE_OF_UNKNOWN','U1','unknown',1795826970808746,1795826971063959,1,'7F3MwvMxCQgGhU0GVLv4_Q',NULL,NULL,NULL,'{"id":null,"image":null,"error":{"type":"OutcomeUnknownError","message":"the reply was lost, and the button is used: its new id is not known (Create By Button: the connection broke ([Errno 104] Connection reset by peer) [button U1 of image SOURCE_OF_UNKNOWN])","fields":{"charged":true,"operation_id":null}}}',105491,1,1,NULL,2.0,NULL,NULL,NULL,NULL,NULL,NULL,0,0,0);
INSERT INTO "akool_jobs" VALUES('acme:SOURCE_OF_DONE:U1','acme','SOURCE_OF_DONE','U1','done',1795826971159933,1795826972613323,0,'f7ItoOY7l_NwdoQsWtbAmg','DONE_OPERATION',NULL,NULL,'{"id":"DONE_OPERATION","image":{"id":"DONE_OPERATION","status":3,"image":"http://127.0.0.1:44131/1795826972600-6b0a251b-6d5f-6e18-e5b0-cd8d48268673-8010.jpeg","source_image_id":"SOURCE_OF_DONE","op_button":"U1","op_button_message_id":"6b0a251b6d5f6e18e5b0","created_at":"2026-11-28T00:49:31.288000+00:00","deduction_credit":3,"faceswap_quality":2,"type":3,"from_":1,"uid":378337,"raw":{"faceswap_quality":2,"deduction_credit":3,"buttons":[],"used_buttons":[],"upscaled_urls":[],"_id":"DONE_OPERATION","create_time":1795826971288,"uid":378337,"type":3,"from":1,"image_status":3,"image_content_model_id":"SOURCE_OF_DONE","op_button":"U1","op_buttonMessageId":"6b0a251b6d5f6e18e5b0","image":"http://127.0.0.1:44131/1795826972600-6b0a251b-6d5f-6e18-e5b0-cd8d48268673-8010.jpeg"}},"error":null}',NULL,2,1,3.0,2.0,NULL,NULL,NULL,NULL,NULL,NULL,0,0,0);
INSERT INTO "akool_jobs" VALUES('acme:SOURCE_OF_REFUSED:U1','acme','SOURCE_OF_REFUSED','U1','failed',1795826972705511,1795826972819465,0,'a-bYcwl24N7MvSIwr0W7lw',NULL,NULL,NULL,'{"id":null,"image":null,"error":{"type":"NotPermittedError","message":"Create By Button: AKOOL answered 1009 ''refused on command'' (HTTP 200): the account may not do this","fields":{"code":1009,"msg":"refused on command","http_status":200,"retry_after":null,"operation_id":null}}}',NULL,3,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,0);
INSERT INTO "akool_jobs" VALUES('acme:SOURCE_OF_RUNNING:V2','acme','SOURCE_OF_RUNNING','V2','open',1795826972936360,NULL,0,'Oxm_S9-qHxmi8ogC6I2jmQ','RUNNING_OPERATION',NULL,NULL,NULL,NULL,NULL,1,2.0,2.0,'c9a137660d1846e595345b8f4ccef9ff',NULL,NULL,NULL,NULL,NULL,1,0,0);
INSERT INTO "akool_jobs" VALUES('acme:SOURCE_IN_DOUBT:U3','acme','SOURCE_IN_DOUBT','U3','open',1795826974119213,NULL,1,'AzJJ55hyEawss7xPq1T0SQ',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,3.0,'c9a137660d1846e595345b8f4ccef9ff',NULL,NULL,NULL,NULL,NULL,1,0,0);
INSERT INTO "akool_jobs" VALUES('acme:SOURCE_OF_WAITING:V1','acme','SOURCE_OF_WAITING','V1','open',1795826974304985,NULL,0,'Pz2WluCZb_sOEsCi9pO3xA',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'c9a137660d1846e595345b8f4ccef9ff',NULL,NULL,NULL,NULL,NULL,0,0,0);
INSERT INTO "akool_jobs" VALUES('acme:SOURCE_OF_WAITING:U1','acme','SOURCE_OF_WAITING','U1','open',1795826974304993,NULL,0,'WxFwqcPXDorXstmhuHnOvg',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'c9a137660d1846e595345b8f4ccef9ff',NULL,NULL,NULL,NULL,NULL,0,0,0);
CREATE TABLE akool_leases (
	account TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	worker TEXT NOT NULL, 
	beats BIGINT NOT NULL, 
	PRIMARY KEY (account, number)
);
CREATE TABLE akool_prices (
            account TEXT NOT NULL, kind TEXT NOT NULL, credits DOUBLE PRECISION, largest DOUBLE PRECISION NOT NULL,
            PRIMARY KEY (account, kind)
        );
INSERT INTO "akool_prices" VALUES('acme','upscale',3.0,3.0);
CREATE TABLE application_versions (
    version_id TEXT NOT NULL PRIMARY KEY,
    version_name TEXT NOT NULL UNIQUE,
    version_timestamp INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000),
    created_at INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000)
, "application_name" TEXT DEFAULT NULL);
INSERT INTO "application_versions" VALUES('66672672-a504-4c0c-8ce3-c64d46b5c12b','1',1795826970000,1795826970000,'akool_async');
CREATE TABLE dbos_migrations (version INTEGER NOT NULL PRIMARY KEY);
INSERT INTO "dbos_migrations" VALUES(125);
CREATE TABLE notifications (
    message_uuid TEXT NOT NULL DEFAULT (hex(randomblob(16))) PRIMARY KEY,
    destination_uuid TEXT NOT NULL,
    topic TEXT,
    message TEXT NOT NULL,
    created_at_epoch_ms INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000), "serialization" TEXT DEFAULT NULL, "consumed" BOOLEAN NOT NULL DEFAULT FALSE, consumed_by_function_id INTEGER,
    FOREIGN KEY (destination_uuid) REFERENCES workflow_status(workflow_uuid) 
        ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE TABLE "operation_outputs" (
    workflow_uuid TEXT NOT NULL,
    function_id INTEGER NOT NULL,
    function_name TEXT NOT NULL DEFAULT '',
    output TEXT,
    error TEXT,
    child_workflow_id TEXT,
    started_at_epoch_ms INTEGER,
    completed_at_epoch_ms INTEGER,
    serialization TEXT,
    application_name TEXT DEFAULT NULL,
    retention_timestamp INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000),
    PRIMARY KEY (workflow_uuid, function_id)
);
CREATE TABLE queues (
    queue_id TEXT PRIMARY KEY DEFAULT (hex(randomblob(16))),
    name TEXT NOT NULL UNIQUE,
    concurrency INTEGER,
    worker_concurrency INTEGER,
    rate_limit_max INTEGER,
    rate_limit_period_sec REAL,
    priority_enabled BOOLEAN NOT NULL DEFAULT FALSE,
    partition_queue BOOLEAN NOT NULL DEFAULT FALSE,
    polling_interval_sec REAL NOT NULL DEFAULT 1.0,
    created_at INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000),
    updated_at INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000)
, "application_name" TEXT DEFAULT NULL, "partition_concurrency" INTEGER DEFAULT NULL, "partition_worker_concurrency" INTEGER DEFAULT NULL, "partition_rate_limit_max" INTEGER DEFAULT NULL, "partition_rate_limit_period_sec" REAL DEFAULT NULL);
INSERT INTO "queues" VALUES('181C49E02DBFBC0150F4DC0578EF734A','akool:acme:upscale',1,NULL,NULL,NULL,1,1,0.05,1795826970000,1795826974170,'akool_async',NULL,1,NULL,NULL);
INSERT INTO "queues" VALUES('58FEED345050EABE4B9F333E8796D5DF','akool:acme:variation',NULL,256,NULL,NULL,1,0,0.05,1795826970000,1795826974180,'akool_async',NULL,NULL,NULL,NULL);
CREATE TABLE streams (
    workflow_uuid TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    "offset" INTEGER NOT NULL, function_id INTEGER NOT NULL DEFAULT 0, "serialization" TEXT DEFAULT NULL,
    PRIMARY KEY (workflow_uuid, key, "offset"),
    FOREIGN KEY (workflow_uuid) REFERENCES workflow_status(workflow_uuid) 
        ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE TABLE workflow_events (
    workflow_uuid TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL, "serialization" TEXT DEFAULT NULL,
    PRIMARY KEY (workflow_uuid, key),
    FOREIGN KEY (workflow_uuid) REFERENCES workflow_status(workflow_uuid) 
        ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE TABLE workflow_events_history (
    workflow_uuid TEXT NOT NULL,
    function_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL, "serialization" TEXT DEFAULT NULL,
    PRIMARY KEY (workflow_uuid, function_id, key),
    FOREIGN KEY (workflow_uuid) REFERENCES workflow_status(workflow_uuid)
        ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE TABLE workflow_input (
    workflow_uuid TEXT NOT NULL PRIMARY KEY,
    inputs TEXT,
    retention_timestamp INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000)
);
INSERT INTO "workflow_input" VALUES('c9a137660d1846e595345b8f4ccef9ff','{"namedArgs":{},"positionalArgs":["c9a137660d1846e595345b8f4ccef9ff"]}',1795844899000);
CREATE TABLE workflow_output (
    workflow_uuid TEXT NOT NULL PRIMARY KEY,
    output TEXT,
    error TEXT,
    retention_timestamp INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000)
);
CREATE TABLE workflow_schedules (
    schedule_id TEXT PRIMARY KEY,
    schedule_name TEXT NOT NULL UNIQUE,
    workflow_name TEXT NOT NULL,
    workflow_class_name TEXT,
    schedule TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'ACTIVE',
    context TEXT NOT NULL
, "last_fired_at" TEXT DEFAULT NULL, "automatic_backfill" BOOLEAN NOT NULL DEFAULT FALSE, "cron_timezone" TEXT DEFAULT NULL, "queue_name" TEXT DEFAULT NULL, "application_name" TEXT DEFAULT NULL);
CREATE TABLE workflow_status (
    workflow_uuid TEXT PRIMARY KEY,
    status TEXT,
    name TEXT,
    authenticated_user TEXT,
    assumed_role TEXT,
    authenticated_roles TEXT,
    request TEXT,
    output TEXT,
    error TEXT,
    executor_id TEXT,
    created_at INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000),
    updated_at INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000),
    application_version TEXT,
    application_id TEXT,
    class_name TEXT DEFAULT NULL,
    config_name TEXT DEFAULT NULL,
    recovery_attempts INTEGER DEFAULT 0,
    queue_name TEXT,
    workflow_timeout_ms INTEGER,
    workflow_deadline_epoch_ms INTEGER,
    inputs TEXT,
    started_at_epoch_ms INTEGER,
    deduplication_id TEXT,
    priority INTEGER NOT NULL DEFAULT 0
, queue_partition_key TEXT, forked_from TEXT, "owner_xid" TEXT DEFAULT NULL, "parent_workflow_id" TEXT DEFAULT NULL, "serialization" TEXT DEFAULT NULL, "delay_until_epoch_ms" BIGINT DEFAULT NULL, "was_forked_from" BOOLEAN NOT NULL DEFAULT FALSE, "rate_limited" BOOLEAN NOT NULL DEFAULT FALSE, "completed_at" BIGINT, "attributes" TEXT, "schedule_name" TEXT, "debounce_deadline_epoch_ms" BIGINT DEFAULT NULL, "is_debounced" BOOLEAN NOT NULL DEFAULT FALSE, "application_name" TEXT DEFAULT NULL, "creator_xid" TEXT DEFAULT NULL);
INSERT INTO "workflow_status" VALUES('c9a137660d1846e595345b8f4ccef9ff','ENQUEUED','akool_batch',NULL,NULL,NULL,NULL,NULL,NULL,NULL,1795844899000,1795844899000,'2',NULL,NULL,NULL,0,'akool_async:acme:left',NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,'portable_json',NULL,0,0,NULL,'null',NULL,NULL,0,'akool_async','3ec70b1f-4289-4197-830a-9cbeea678175');
CREATE INDEX akool_jobs_by_state ON akool_jobs (account, state, job);
CREATE INDEX akool_jobs_by_end ON akool_jobs (account, ended_at, job);
CREATE INDEX ix_akool_jobs_operation_id ON akool_jobs (operation_id);
CREATE INDEX akool_jobs_by_credits ON akool_jobs (account, credits) WHERE credits IS NOT NULL;
CREATE INDEX akool_jobs_by_number ON akool_jobs (account, ended_number);
CREATE INDEX workflow_status_created_at_index ON workflow_status (created_at);
CREATE INDEX idx_workflow_topic ON notifications (destination_uuid, topic);
CREATE INDEX "idx_workflow_status_delayed" ON "workflow_status" ("delay_until_epoch_ms") WHERE status = 'DELAYED';
CREATE INDEX "idx_workflow_status_forked_from" ON "workflow_status" ("forked_from") WHERE "forked_from" IS NOT NULL;
CREATE INDEX "idx_workflow_status_parent_workflow_id" ON "workflow_status" ("parent_workflow_id") WHERE "parent_workflow_id" IS NOT NULL;
CREATE UNIQUE INDEX "uq_workflow_status_dedup_id" ON "workflow_status" ("queue_name", "deduplication_id") WHERE "deduplication_id" IS NOT NULL;
CREATE INDEX "idx_workflow_status_pending" ON "workflow_status" ("created_at") WHERE "status" = 'PENDING';
CREATE INDEX "idx_workflow_status_failed" ON "workflow_status" ("status", "created_at") WHERE "status" IN ('ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED');
CREATE INDEX "idx_workflow_status_rate_limited" ON "workflow_status" ("queue_name", "started_at_epoch_ms") WHERE "rate_limited" = TRUE;
CREATE INDEX "idx_workflow_status_completed_at" ON "workflow_status" ("completed_at") WHERE "completed_at" IS NOT NULL;
CREATE INDEX "idx_workflow_status_started_at" ON "workflow_status" ("started_at_epoch_ms") WHERE "started_at_epoch_ms" IS NOT NULL;
CREATE INDEX "idx_workflow_status_schedule_name" ON "workflow_status" ("schedule_name") WHERE "schedule_name" IS NOT NULL;
CREATE UNIQUE INDEX "uq_application_versions_owner_version"
    ON application_versions ("application_name", "version_name")
    WHERE "application_name" IS NOT NULL;
CREATE UNIQUE INDEX "uq_application_versions_unclaimed_version"
    ON application_versions ("version_name")
    WHERE "application_name" IS NULL;
CREATE INDEX idx_workflow_input_retention
    ON workflow_input (retention_timestamp);
CREATE INDEX idx_workflow_output_retention
    ON workflow_output (retention_timestamp);
CREATE INDEX idx_operation_outputs_retention
    ON operation_outputs (retention_timestamp);
CREATE INDEX "idx_workflow_status_in_flight_v2" ON "workflow_status" ("queue_name", "status", "priority", "created_at", "application_name") WHERE "status" IN ('ENQUEUED', 'PENDING');
CREATE INDEX "idx_workflow_status_partition_dequeue_v3" ON "workflow_status" ("queue_name", "status", "queue_partition_key", "priority", "created_at", "workflow_uuid", "application_name") WHERE "status" IN ('ENQUEUED', 'PENDING') AND "queue_partition_key" IS NOT NULL;
CREATE INDEX "idx_operation_outputs_completed_at_function_name_v2" ON "operation_outputs" ("completed_at_epoch_ms", "function_name", "application_name");
CREATE INDEX "idx_workflow_status_deadline" ON "workflow_status" ("workflow_deadline_epoch_ms") WHERE "status" IN ('ENQUEUED', 'PENDING', 'DELAYED') AND "workflow_deadline_epoch_ms" IS NOT NULL;
CREATE INDEX "idx_application_versions_timestamp" ON "application_versions" ("version_timestamp" DESC);
CREATE INDEX "idx_application_versions_owner_timestamp" ON "application_versions" ("application_name", "version_timestamp" DESC);
CREATE INDEX akool_jobs_claimed ON akool_jobs (account, button) WHERE claimed IS 1;
CREATE INDEX akool_jobs_by_lease ON akool_jobs (account, lease) WHERE lease IS NOT NULL;
CREATE INDEX akool_jobs_by_estimate ON akool_jobs (account, charged, estimate, operation_id, reported_id, credits) WHERE estimate IS NOT NULL AND credits IS NULL;
CREATE INDEX akool_jobs_by_batch ON akool_jobs (batch);
COMMIT;
