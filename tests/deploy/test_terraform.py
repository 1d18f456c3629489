"""deploy/terraform as it is: no check finds a fault; and faults planted in a copy of it, each of which is found."""

from __future__ import annotations

import shutil

import pytest

from tests.deploy import checks, terraform
from tests.deploy import terraform_gcp as gcp

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
    (gcp.schedules, "shroff.yaml has no source apps", RUN, "sync app", "sync apps"),
    (gcp.schedules, "amplitude is due at 0 2 * * *", RUN, '"0 3 * * *"', '"0 2 * * *"'),
    (gcp.schedules, "complete 3.0 h after its end", RUN, '"0 3 * * *"', '"0 2 * * *"'),
    (gcp.schedules, "the report of the example at 05:00", RUN, '"0 5 * * *"', '"0 6 * * *"'),
    (gcp.schedules, "training-set is due at", RUN, '"30 */2 * * *"', '"30 */3 * * *"'),
    (gcp.schedules, "training is due at", RUN, '"0 1 1 * *"', '"0 1 * * 1"'),
    (gcp.schedules, "training does not run shroff train", RUN, "shroff train --promote", "shroff drift --promote"),
    (gcp.schemas, "decisions.json: it differs", "gcp/schemas/payments/decisions.json", "FLOAT", "STRING"),
    (gcp.kafka, "Kafka is not", "gcp/module/kafka.yaml", "apache/kafka:4", "apache/kafka:3"),
    (gcp.kafka, "does not listen on the port", KAFKA, "= 9092", "= 9093"),
    (gcp.kafka, "does not use the disk", KAFKA, 'device_name = "kafka"', 'device_name = "data"'),
    # closed, protected, with the least rights
    (gcp.network, "firewall.kafka: open to", KAFKA, "[google_compute_subnetwork.net.ip_cidr_range]", '["0.0.0.0/0"]'),
    (gcp.network, "and not Kafka's port alone", KAFKA, "[tostring(local.kafka_port)]", '["1-65535"]'),
    (gcp.network, "no firewall closes everything", MAIN, 'protocol = "all"', 'protocol = "udp"'),
    (
        gcp.network,
        "the machine has a public address",
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
CLOUDS = {"gcp": (gcp.CHECKS, GCP_FAULTS)}


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
        if not any(words in one for one in found):
            lost.append(f"{file}: {old!r} -> {new!r}: not found: {words}; found: {found}")

    assert not lost, "\n".join(lost)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_fault_is_planted_for_each_check(cloud):
    every, faults = CLOUDS[cloud]

    assert {check for check, *_ in faults} == set(every)
