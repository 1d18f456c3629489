"""deploy/terraform as it is: no check finds a fault; and faults planted in a copy of it, each of which is found."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from tests.deploy import checks, terraform
from tests.deploy import terraform_aws as aws
from tests.deploy import terraform_gcp as gcp
from tools.servers.kafka import Kafka
from tools.servers.process import wait_until

RUN, MAIN, DATA = "gcp/module/run.tf", "gcp/module/main.tf", "gcp/module/data.tf"
KAFKA, WATCH, ROOT = "gcp/module/kafka.tf", "gcp/module/watch.tf", "gcp/production/main.tf"
# (a check, words of what is found, a file, a text in it, what stands there instead)
GCP_FAULTS = [
    # Terraform by itself
    (
        gcp.references,
        "it is no HCL",
        RUN,
        'resource "google_cloud_scheduler_job" "job" {',
        'resource "google_cloud_scheduler_job" {{',
    ),
    (gcp.references, "var.zones is not declared", RUN, "var.zone :", "var.zones :"),
    (gcp.references, "var.zone is not used", RUN, "? var.zone :", '? "Europe/Berlin" :'),
    (gcp.references, "local.prt is not declared", RUN, "local.port)", "local.prt)"),
    (gcp.references, "google_sql_user.logs is not declared", RUN, "[google_sql_user.log,", "[google_sql_user.logs,"),
    (
        gcp.references,
        "gcp/production: variable operators of the module is not given",
        ROOT,
        "  operators        ",
        "  operator         ",
    ),
    (gcp.references, "the module has no variable operator", ROOT, "  operators        ", "  operator         "),
    (gcp.references, "the environments give different variables", ROOT, "  operators        ", "  operator         "),
    (gcp.references, "gcp/production: its state must be its own", ROOT, "shroff/production", "shroff/staging"),
    (
        gcp.references,
        "gcp/production: its environment is staging",
        ROOT,
        'environment       = "production"',
        'environment       = "staging"',
    ),
    (gcp.references, "it does not use ../module", ROOT, '"../module"', '"../modules"'),
    (gcp.references, "the module has no output uri", ROOT, "module.shroff.url", "module.shroff.uri"),
    (gcp.layout, "are not in one column", ROOT, "  region            = var.region", "  region = var.region"),
    (gcp.layout, "indentation", RUN, "  location             = var.region", "   location             = var.region"),
    (gcp.page, "no output address", "../README.md", "output -raw url", "output -raw address"),
    (gcp.page, "no var instances", "../README.md", "-var service_instances", "-var instances"),
    (gcp.page, "no target google_secret_manager_secret.secrets", "../README.md", "secret.secret\n", "secret.secrets\n"),
    # compared with the program
    (gcp.service, "port 8000, but shroff serves on 8080", MAIN, "= 8080 ", "= 8000 "),
    (gcp.service, "No such option", RUN, '"--standby"', '"--standbys"'),
    (gcp.apis, "google_service_account needs the API iam", MAIN, '"file", "iam",', '"file",'),
    (gcp.apis, "staging is meant for the US", "gcp/staging/main.tf", "us-central1", "europe-west1"),
    (gcp.service, "without --standby", RUN, ', "--standby"', ""),
    (gcp.service, "the program has no /health/lively", RUN, '"/health/live"', '"/health/lively"'),
    (gcp.service, "the program has no /healthz", WATCH, '"/health/ready"', '"/healthz"'),
    (gcp.service, "the start must wait for /health/live", RUN, "health/live", "health/ready"),
    (gcp.service, "folder /data/bank", MAIN, '"/data/project"', '"/data/bank"'),
    (gcp.service, "without a processor between requests", RUN, "cpu_idle          = false", "cpu_idle          = true"),
    (gcp.service, "a log has one writer", "gcp/module/variables.tf", "contains([0, 1], var", "contains([0, 1, 2], var"),
    (gcp.service, "the image could be latest", "gcp/module/variables.tf", '":latest"', '":newest"'),
    (gcp.service, "no command 'source_s'", RUN, "shroff sources sync", "shroff source_s sync"),
    (gcp.service, "there is no secret database-pass", RUN, '["database-password"]', '["database-pass"]'),
    (gcp.service, "busybox is not pinned", RUN, "busybox:1.37.0", "busybox"),
    (gcp.service, "no container has ${LAKE_BUCKET}", MAIN, "LAKE_BUCKET  ", "LAKE_BUCKETS "),
    (gcp.service, "nothing reads ${LAKE_BUCKETS}", MAIN, "LAKE_BUCKET  ", "LAKE_BUCKETS "),
    (gcp.service, "pubsub_pul", "gcp/shroff.yaml", "pubsub_pull:", "pubsub_pul:"),
    (gcp.service, "address of Cloud Run's proxy", "gcp/shroff.yaml", "169.254.0.0/16", "10.0.0.0/8"),
    (gcp.schedules, "shroff.yaml has no source apps", RUN, "sync app", "sync apps"),
    (gcp.schedules, "amplitude is due at 0 2 * * *", RUN, '"0 3 * * *"', '"0 2 * * *"'),
    (gcp.schedules, "complete 3.0 h after its end", RUN, '"0 3 * * *"', '"0 2 * * *"'),
    (gcp.schedules, "the report of the example at 05:00", RUN, '"0 5 * * *"', '"0 6 * * *"'),
    (gcp.schedules, "training-set is due at", RUN, '"30 */2 * * *"', '"30 */3 * * *"'),
    (gcp.schedules, "training is due at", RUN, '"0 1 1 * *"', '"0 1 * * 1"'),
    (gcp.schedules, "training does not run shroff train", RUN, "train --promote", "drift --promote"),
    (gcp.schemas, "decisions.json: it differs", "gcp/schemas/payments/decisions.json", "FLOAT", "STRING"),
    (gcp.kafka, "kafka is not apache/kafka", "gcp/module/kafka.yaml", "apache/kafka:4", "apache/kafka:3"),
    (gcp.kafka, "registry is not apicurio", "gcp/module/registry.yaml", "registry-kafkasql:", "registry-mem:"),
    (gcp.kafka, "does not listen on the ports", "gcp/module/kafka.yaml", "//:${clients_port}", "//:9093"),
    (
        gcp.kafka,
        "does not open ${registry_port},${ui_port}",
        "gcp/module/registry.yaml",
        "dports ${reg",
        "dports x${reg",
    ),
    (gcp.kafka, "two of them in sync", KAFKA, "- 1) }", "- 2) }"),
    (
        gcp.kafka,
        "two of them in sync",
        "gcp/module/kafka.yaml",
        "KAFKA_DEFAULT_REPLICATION_FACTOR=${copies}",
        "KAFKA_DEFAULT_REPLICATION_FACTOR=1",
    ),
    (gcp.kafka, "brokers share a zone", KAFKA, "local.zones[(id - 1) % length(local.zones)]", "local.zones[0]"),
    (gcp.kafka, "does not use the disk", KAFKA, 'device_name = "kafka"', 'device_name = "data"'),
    (gcp.kafka, "formats a disk", "gcp/module/kafka.yaml", "fsck.ext4 -vy", "mkfs.ext4"),
    (gcp.kafka, "the disk may be destroyed", KAFKA, "prevent_destroy = true", "prevent_destroy = false"),
    (gcp.kafka, "delete the schemas after a week", "gcp/module/registry.yaml", " --config retention.ms=-1", ""),
    (gcp.kafka, "the UI may change topics", "gcp/module/registry.yaml", "READONLY=true", "READONLY=false"),
    # closed, protected, with the least rights
    (gcp.network, "kafka_ways.ui: open to 0.0.0.0/0", KAFKA, '"35.235.240.0/20"', '"0.0.0.0/0"'),
    (gcp.network, "kafka_ways.controllers: open to", KAFKA, "from = null }", 'from = "10.20.0.0/24" }'),
    (gcp.network, "it opens more than kafka_ways", KAFKA, "[tostring(each.value.port)]", '["1-65535"]'),
    (gcp.network, "no firewall closes everything", MAIN, 'protocol = "all"', 'protocol = "udp"'),
    (
        gcp.network,
        "a machine has a public address",
        KAFKA,
        "net.id # no access_config: no public address",
        "net.id\n    access_config {}",
    ),
    (gcp.network, "the database has a public address", DATA, "ipv4_enabled    = false", "ipv4_enabled    = true"),
    (
        gcp.network,
        "the project's folder is open",
        DATA,
        "[google_compute_subnetwork.net.ip_cidr_range]",
        '["10.0.0.0/8"]',
    ),
    (gcp.protection, "connections without encryption", DATA, '"ENCRYPTED_ONLY"', '"ALLOW_UNENCRYPTED_AND_ENCRYPTED"'),
    (
        gcp.protection,
        "no backups to a point in time",
        DATA,
        "point_in_time_recovery_enabled = true",
        "point_in_time_recovery_enabled = false",
    ),
    (gcp.protection, "could become public", DATA, '"enforced"', '"inherited"'),
    (gcp.protection, "keeps no old versions", DATA, "enabled = true\n", "enabled = false\n"),
    (gcp.protection, "keeps no old versions", DATA, "noncurrent_time = 30", "noncurrent_time = 0"),
    (gcp.protection, "in another order", DATA, "ordering    = true", "ordering    = false"),
    (gcp.protection, "or their subscription end", DATA, 'ttl = "" # never', 'ttl = "86400s"'),
    (
        gcp.protection,
        "google_sql_database_instance.log can be deleted",
        DATA,
        "deletion_protection = true\n  settings",
        "deletion_protection = false\n  settings",
    ),
    (gcp.protection, "password would stand in the state", DATA, "password_wo         =", "password            ="),
    (gcp.rights, "roles/editor is too wide", RUN, '"roles/bigquery.jobUser"', '"roles/editor"'),
    (gcp.rights, "roles/storage.admin is too wide", RUN, '"roles/storage.objectUser"', '"roles/storage.admin"'),
    (gcp.rights, "it is given to allUsers", RUN, 'google_service_account.part["scheduler"].member', '"allUsers"'),
    (gcp.protection, "a right for everybody", RUN, 'google_service_account.part["scheduler"].member', '"allUsers"'),
    (
        gcp.rights,
        "parts share an account",
        RUN,
        "google_service_account.part[each.key].email",
        'google_service_account.part["service"].email',
    ),
    (gcp.alerts, "only a share of good answers", WATCH, '"COMPARISON_LT"', '"COMPARISON_GT"'),
    (gcp.alerts, "takes any certificate", WATCH, "validate_ssl = true", "validate_ssl = false"),
    (
        gcp.alerts,
        "nobody is notified of alerts",
        WATCH,
        "notification_channels = [google_monitoring",
        "notification_channels = [] # [google_monitoring",
    ),
    (
        gcp.alerts,
        "nobody is notified of the budget",
        WATCH,
        "monitoring_notification_channels = [google",
        "monitoring_notification_channels = [] # [google",
    ),
    (
        gcp.alerts,
        "needs metric.type",
        WATCH,
        'metric.type=\\"run.googleapis.com/request_count\\"',
        'type=\\"run.googleapis.com/request_count\\"',
    ),
]
ROLES, NET, TRIGGER = "aws/module/roles.tf", "aws/module/network.tf", "aws/module/trigger.tf"
AWS_RUN, AWS_MAIN, AWS_DATA, AWS_WATCH = (f"aws/module/{item}.tf" for item in ("run", "main", "data", "watch"))
HANDLER, TRAIN = "../aws/trigger/handler.py", "aws/module/train.sh"
AWS_FAULTS = [
    # Terraform by itself; what both clouds share is above
    (aws.references, "aws_kms_key.keys is not declared", AWS_DATA, "aws_kms_key.key.arn", "aws_kms_key.keys.arn"),
    (
        aws.references,
        "variable smtp_host of the module is not given",
        "aws/staging/main.tf",
        "  smtp_host  ",
        "  smtp_hosts ",
    ),
    (aws.references, "its state must be its own", "aws/staging/main.tf", "staging.tfstate", "production.tfstate"),
    (aws.page, "no output balance", "../README.md", "terraform output balancer", "terraform output balance"),
    (aws.layout, "are not in one column", AWS_DATA, "  storage_encrypted               =", "  storage_encrypted ="),
    # rights
    (aws.rights, "trigger: too wide: the action s3:*", ROLES, '"s3:GetObjectVersion"]', '"s3:*"]'),
    (aws.rights, "trigger: too wide: the resource *", ROLES, '[aws_ecs_task_definition.part["train"].arn]', '["*"]'),
    (
        aws.rights,
        "train: too wide: the resource arn:aws:s3:::*",
        ROLES,
        '${aws_s3_bucket.bucket["models"].arn}/models/*',
        "arn:aws:s3:::*",
    ),
    (
        aws.rights,
        "trigger: too wide: the resource arn:aws:iam::",
        ROLES,
        '[aws_iam_role.part["train"].arn, ',
        '["arn:aws:iam::111122223333:role/*", ',
    ),
    (aws.rights, "passed to any service", ROLES, '"iam:PassedToService"', '"aws:SourceAccount"'),
    (aws.rights, "everybody may do it", AWS_MAIN, '["arn:aws:iam::${local.account}:root"]', '["*"]'),
    (aws.rights, "key: too wide: the action kms:*", AWS_MAIN, '"kms:CancelKeyDeletion"', '"kms:*"'),
    (aws.rights, "each part has one role", ROLES, "    trail    = data", "    trial    = data"),
    (
        aws.rights,
        "share a policy",
        ROLES,
        "= data.aws_iam_policy_document.workers.json",
        "= data.aws_iam_policy_document.service.json",
    ),
    (aws.rights, "tasks share a role", AWS_RUN, "aws_iam_role.part[each.key].arn", 'aws_iam_role.part["service"].arn'),
    # compared with the program
    (aws.service, "port 8000, but shroff serves on 8080", AWS_MAIN, "= 8080 ", "= 8000 "),
    (aws.service, "user 10002, but the image runs as 10001", AWS_MAIN, "= 10001 ", "= 10002 "),
    (aws.service, "No such option", AWS_RUN, '"--watch"', '"--watches"'),
    (aws.service, "No such command 'works'", AWS_RUN, '["jobs", "work"]', '["jobs", "works"]'),
    (aws.service, "No such option", TRAIN, "--once", "--one"),
    (aws.service, "must ask /health/ready", NET, "/health/ready", "/health/live"),
    (aws.service, "the program has no /health/lives", AWS_RUN, '"live"]', '"lives"]'),
    (
        aws.service,
        "a log has one writer, so there is one",
        AWS_RUN,
        "desired_count                      = var.service_count",
        "desired_count                      = 2",
    ),
    (
        aws.service,
        "after the old one has ended",
        AWS_RUN,
        "deployment_maximum_percent         = 100",
        "deployment_maximum_percent         = 200",
    ),
    (aws.service, "only the workers", AWS_RUN, "/${aws_ecs_service.workers.name}", "/${aws_ecs_service.service.name}"),
    (aws.service, "no container has ${SNS_TOPIC}", AWS_MAIN, "SNS_TOPIC  ", "SNS_TOPICS "),
    (aws.service, "a long log would be ended", AWS_RUN, "= 1800", "= 180"),
    (aws.service, "there is no secret SMTP_PASSWORDS", AWS_RUN, '"SMTP_PASSWORD"]', '"SMTP_PASSWORDS"]'),
    (
        aws.service,
        "a container must have readonly",
        AWS_RUN,
        "readonlyRootFilesystem = true",
        "readonlyRootFilesystem = false",
    ),
    (aws.service, "the image could be latest", "aws/module/variables.tf", '":latest"', '":newest"'),
    (aws.trigger, "the function has no ALARMS", TRIGGER, "ALARMS   ", "ALARM    "),
    (aws.trigger, "does not read ALARM", TRIGGER, "ALARMS   ", "ALARM    "),
    (aws.trigger, "other events", TRIGGER, '["Object Created"]', '["Object Deleted"]'),
    (
        aws.trigger,
        "only objects of the raw bucket",
        TRIGGER,
        "object = { key = [{ prefix = local.incoming }] }",
        "object = {}",
    ),
    (aws.trigger, "it does not watch new/", TRIGGER, '= "incoming/"', '= "new/"'),
    (aws.trigger, "there is no handler.main", TRIGGER, '"handler.handler"', '"handler.main"'),
    (aws.trigger, "sends no events", AWS_DATA, "eventbridge = true", "eventbridge = false"),
    (aws.trigger, "counts as left behind", TRIGGER, "= 60\n", "= 600\n"),
    (aws.hook, "no source payment of SNS", AWS_WATCH, "/hooks/payments", "/hooks/payment"),
    (
        aws.hook,
        "messages must be signed",
        AWS_WATCH,
        '  protocol               = "https"',
        '  protocol               = "http"',
    ),
    (aws.hook, "did not take are lost", AWS_WATCH, "  redrive_policy ", "  # redrive_policy "),
    (aws.hook, "must sign with SHA-256", AWS_WATCH, "signature_version = 2", "signature_version = 1"),
    (aws.alarms, "HealthyHostCount alarms where", AWS_WATCH, '"LessThanThreshold", 1]', '"GreaterThanThreshold", 1]'),
    (aws.hook, "the load balancer's subnets", "aws/shroff.yaml", "10.30.0.0/23", "10.0.0.0/8"),
    (aws.tables, "flags.json: it differs", "aws/tables/payments/flags.json", "bigint", "string"),
    # closed, encrypted, watched
    (
        aws.network,
        "port 5432 of database is open",
        NET,
        'to = "database", from = "tasks"',
        'to = "database", from = null',
    ),
    (aws.network, "port 22 of balancer is open", NET, "from = null, port = 80 ", "from = null, port = 22 "),
    (
        aws.network,
        "not in the table of ways",
        NET,
        'resource "aws_vpc_security_group_egress_rule" "tasks"',
        'resource "aws_vpc_security_group_ingress_rule" "tasks"',
    ),
    (
        aws.network,
        "not reached on its port",
        NET,
        'from = "balancer", port = local.port',
        'from = "balancer", port = 8081',
    ),
    (
        aws.network,
        "the database has a public address",
        AWS_DATA,
        "publicly_accessible             = false",
        "publicly_accessible             = true",
    ),
    (aws.network, "not in the private subnets", AWS_RUN, "assign_public_ip = false", "assign_public_ip = true"),
    (aws.network, "would have a public address", HANDLER, '"DISABLED"', '"ENABLED"'),
    (aws.network, "must use TLS 1.2", NET, "ELBSecurityPolicy-TLS13-1-2-2021-06", "ELBSecurityPolicy-2016-08"),
    (aws.network, "there is only the redirect", NET, 'type = "redirect"', 'type = "forward"'),
    (aws.network, "/metrics can be reached", NET, '["/metrics"]', '["/metric"]'),
    (
        aws.protection,
        "aws_db_instance.log is not encrypted",
        AWS_DATA,
        "storage_encrypted               = true",
        "storage_encrypted               = false",
    ),
    (
        aws.protection,
        "aws_efs_file_system.project is not encrypted",
        AWS_DATA,
        "encrypted       = true",
        "encrypted       = false",
    ),
    (
        aws.protection,
        "aws_sns_topic.topic is not encrypted",
        AWS_WATCH,
        "  kms_master_key_id = aws_kms_key.key.arn\n  signature",
        "  signature",
    ),
    (aws.protection, "buckets are not encrypted", AWS_DATA, '"aws:kms"', '"AES256"'),
    (
        aws.protection,
        "a bucket could become public",
        AWS_DATA,
        "restrict_public_buckets = true",
        "restrict_public_buckets = false",
    ),
    (
        aws.protection,
        "keeps no old versions",
        AWS_DATA,
        'status = "Enabled"\n  }\n}\n\nresource "aws_s3_bucket_server_side_encryption_configuration" "bucket"',
        'status = "Suspended"\n  }\n}\n\nresource "aws_s3_bucket_server_side_encryption_configuration" "bucket"',
    ),
    (aws.protection, "requests without TLS", AWS_DATA, 'values   = ["false"]', 'values   = ["true"]'),
    (
        aws.protection,
        "the log can be deleted",
        AWS_DATA,
        "skip_final_snapshot             = false",
        "skip_final_snapshot             = true",
    ),
    (
        aws.protection,
        "no backups of a week",
        AWS_DATA,
        "backup_retention_period         = 14",
        "backup_retention_period         = 1",
    ),
    (aws.protection, "connections without TLS", AWS_DATA, '"rds.force_ssl"', '"rds.logical_replication"'),
    (
        aws.protection,
        "the folder is read without TLS",
        AWS_RUN,
        'transit_encryption = "ENABLED"',
        'transit_encryption = "DISABLED"',
    ),
    (
        aws.protection,
        "the key is not rotated",
        AWS_MAIN,
        "enable_key_rotation     = true",
        "enable_key_rotation     = false",
    ),
    (
        aws.protection,
        "the trail can be changed",
        AWS_WATCH,
        "enable_log_file_validation    = true",
        "enable_log_file_validation    = false",
    ),
    (
        aws.protection,
        "password would stand in the state",
        AWS_DATA,
        "password_wo                     =",
        "password                        =",
    ),
    (aws.protection, "the buckets are raw", AWS_DATA, "    archive   = ", "    archives  = "),
    (aws.alarms, "nobody is notified", AWS_WATCH, "  alarm_actions       = [aws", "  alarm_actions       = [] # [aws"),
    (aws.alarms, "nobody reads the topic", AWS_WATCH, "= var.operators", '= "nobody@bank.example"'),
    (aws.alarms, "without data", AWS_WATCH, 'minutes = 3, missing = "breaching"', 'minutes = 3, missing = "ignore"'),
    (aws.alarms, "errors: [", AWS_WATCH, '["GreaterThanThreshold", 5]', '["MoreThanThreshold", 5]'),
    (aws.alarms, "not on the dashboard", AWS_WATCH, "keys(local.alarms)", '["errors"]'),
    (aws.alarms, "a part has no log", AWS_WATCH, '["trigger", "network", "trail"]', '["trigger", "network"]'),
    (aws.alarms, "less than a year", AWS_WATCH, "retention_in_days = 365", "retention_in_days = 30"),
]
CLOUDS = {"gcp": (gcp.CHECKS, GCP_FAULTS), "aws": (aws.CHECKS, AWS_FAULTS)}


@pytest.mark.slow
@pytest.mark.parametrize("cloud", CLOUDS)
def test_no_fault_is_found(cloud):
    assert [fault for check in CLOUDS[cloud][0] for fault in check(checks.DEPLOY)] == []


@pytest.mark.slow
@pytest.mark.parametrize("cloud", CLOUDS)
def test_each_planted_fault_is_found(tmp_path, cloud):
    planted, lost = tmp_path / "deploy", []
    shutil.copytree(checks.DEPLOY, planted, ignore=shutil.ignore_patterns("secrets"))
    for check, words, file, old, new in CLOUDS[cloud][1]:
        path = planted / terraform.TERRAFORM / file
        text = path.read_text(encoding="utf-8")
        if old not in text:
            lost.append(f"{file} has no {old!r}; plant the fault in what is there now")
        path.write_text(text.replace(old, new), encoding="utf-8")
        found = check(planted)
        path.write_text(text, encoding="utf-8")
        if not any(words in item for item in found):
            lost.append(f"{file}: {old!r} -> {new!r}: not found: {words}; found: {found}")

    assert not lost, "\n".join(lost)


class OfTerraform(Kafka):
    """Three brokers with the settings of Terraform's machines, on ports of this machine."""

    def _settings(self, id_: int) -> str:
        settings = gcp.broker_settings(checks.DEPLOY)
        del settings["CLUSTER_ID"]  # it stands in the data, which is formatted before
        voters = ",".join(f"{n}@127.0.0.1:{port}" for n, port in enumerate(self._controllers, 1))
        given = {"id": id_, "zone": f"zone-{id_}", "host": "127.0.0.1", "voters": voters, "copies": 3, "in_sync": 2}
        given |= {"clients_port": self._listeners[id_ - 1], "controllers_port": self._controllers[id_ - 1]}
        settings["KAFKA_LOG_DIRS"] = str(self.data(id_))
        lines = [f"{name.removeprefix('KAFKA_').lower().replace('_', '.')}={text}" for name, text in settings.items()]
        return re.sub(r"\$\{(\w+)\}", lambda found: str(given[found[1]]), "\n".join(lines))


@pytest.mark.slow
@pytest.mark.long
def test_three_brokers_of_terraform_keep_copies_in_their_zones_and_go_on_without_one_of_them():
    with OfTerraform() as cluster:
        admin = AdminClient({"bootstrap.servers": cluster.address})
        (made,) = admin.create_topics([NewTopic("payments", 6)]).values()
        made.result()

        def copies() -> list[int]:
            parts = admin.list_topics("payments", timeout=120).topics["payments"].partitions.values()
            return [len(part.replicas) for part in parts]

        wait_until(lambda: len(copies()) == 6)
        made_copies = copies()
        (of,) = admin.describe_configs([ConfigResource("topic", "payments")]).values()
        cluster.brokers[0].kill()
        producer = Producer({"bootstrap.servers": cluster.address, "acks": "all"})
        for number in range(60):
            producer.produce("payments", b"x", key=str(number))
        left = producer.flush(120)

        assert made_copies == [3] * 6
        assert of.result()["min.insync.replicas"].value == "2"
        assert left == 0


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_fault_is_planted_for_each_check(cloud):
    every, faults = CLOUDS[cloud]

    assert {check for check, *_ in faults} == set(every)


@pytest.mark.parametrize("run", [RUN, AWS_RUN])
def test_a_release_of_files_leaves_lists_as_people_changed_them(tmp_path, run):
    (words,) = re.findall(r'"(.*/project .* && shroff check)"', (checks.DEPLOY / "terraform" / run).read_text())
    bank, image = tmp_path / "bank", tmp_path / "image"
    for folder in (bank, image):
        (folder / "lists").mkdir(parents=True)
    (image / "lists" / "blocked.csv").write_text("of Git\n")
    (image / "shroff.yaml").write_text("shroff: 1\n")
    (bank / "lists" / "blocked.csv").write_text("blocked in the service\n")
    words = words.replace("/opt", str(checks.DEPLOY / "image")).replace("shroff check", ":")
    words = words.replace(" /project ", f" {image} ")
    subprocess.run(["/bin/sh", "-euc", words], cwd=bank, check=True)

    assert (bank / "lists" / "blocked.csv").read_text() == "blocked in the service\n"
    assert (bank / "shroff.yaml").read_text() == "shroff: 1\n"
