"""Checks of deploy/terraform/gcp: each takes the folder deploy/ and gives the faults it finds."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from shroff.language.values import parse_duration
from shroff_plugins.connectors.settings import AMPLITUDE
from tests.deploy import hcl, terraform
from tests.deploy.checks import REGISTRY_IMAGE, ROOT, commands, merged
from tools.servers.kafka import KAFKA

PLACE = "terraform/gcp"
MODULE = f"{PLACE}/module"
# Which roles may be given at all. Those of the whole project are the exceptions, with their reasons.
ROLES = {
    "roles/secretmanager.secretAccessor",
    "roles/storage.objectUser",
    "roles/storage.objectViewer",
    "roles/pubsub.subscriber",
    "roles/pubsub.viewer",
    "roles/pubsub.publisher",
    "roles/bigquery.dataEditor",
    "roles/run.invoker",
}
PROJECT_ROLES = {
    "roles/bigquery.jobUser": "a load job belongs to a project, not to a dataset",
    "roles/logging.logWriter": "logs belong to a project; only the Kafka machine writes them itself",
}
APIS = {  # which API has a resource, by the beginning of its type; the longest that fits
    "artifact_registry": "artifactregistry",
    "bigquery": "bigquery",
    "billing": "billingbudgets",
    "cloud_run": "run",
    "cloud_scheduler": "cloudscheduler",
    "compute": "compute",
    "filestore": "file",
    "monitoring": "monitoring",
    "project": "cloudresourcemanager",
    "pubsub": "pubsub",
    "secret_manager": "secretmanager",
    "service_account": "iam",
    "service_networking": "servicenetworking",
    "sql": "sqladmin",
}
NO_API = {"google_project_service", "google_storage_bucket", "google_storage_bucket_iam_member"}  # of every project
IAP = "35.235.240.0/20"  # of Google's Identity-Aware Proxy, which lets in who has the role
WAYS = {  # of the firewalls that let anything in: what the table of ways says
    "direction": "INGRESS",
    "source_ranges": "${each.value.from == null ? null : [each.value.from]}",
    "source_service_accounts": '${each.value.from == null ? [google_service_account.part["kafka"].email] : null}',
    "target_service_accounts": ["${google_service_account.part[each.value.to].email}"],
    "allow": [{"protocol": "tcp", "ports": ["${tostring(each.value.port)}"]}],
}
REPLICAS = {"copies": "${min(3, var.kafka_brokers)}", "in_sync": "${max(1, min(3, var.kafka_brokers) - 1)}"}
COPIED = ("DEFAULT", "OFFSETS_TOPIC", "TRANSACTION_STATE_LOG")  # what is on as many brokers as there are copies
OLD_DAYS = 7  # for which an old version of an object stays
SCHEDULES = {  # days (day of the month, month, day of the week) and hours of each, and its command
    "amplitude": ("* * *", (3,), ["sources", "sync"]),
    "mails": ("* * *", (5,), ["jobs", "run", "report"]),
    "training-set": ("* * *", tuple(range(0, 24, 2)), ["training-set"]),
    "training": ("1 * *", (1,), ["train"]),
    "warehouse": ("* * *", (4,), ["lake", "write"]),
}


references, layout, page = (
    partial(item, cloud="gcp") for item in (terraform.references, terraform.layout, terraform.page)
)
_module = partial(terraform.module, cloud="gcp")


def service(deploy: Path) -> list[str]:
    """Faults of what runs: the service and the jobs."""
    main = _module(deploy)
    (template,) = main.one("google_cloud_run_v2_service.service")["template"]
    (container,) = template["containers"]
    routes = {
        probe["http_get"][0]["path"] for key in ("startup_probe", "liveness_probe") for probe in container.get(key, ())
    }
    routes.add(main.one("google_monitoring_uptime_check_config.ready")["http_check"][0]["path"])
    arguments = [str(main.locals["port"]) if "local.port" in arg else arg for arg in container["args"]]
    found = terraform.served(f"{MODULE}/run.tf", arguments, main.locals["port"], routes)
    if main.locals["folder"] != terraform.image_folder(deploy):
        found.append(f"{MODULE}/main.tf: folder {main.locals['folder']}, but the image works in another one")
    if "startup_probe" not in container or "/health/ready" in str(container["startup_probe"]):
        found.append(f"{MODULE}/run.tf: the start must wait for /health/live: a standby is not ready")
    if container["resources"][0].get("cpu_idle") is not False:
        found.append(f"{MODULE}/run.tf: without a processor between requests, nothing reads Pub/Sub")
    if (
        main.one("google_cloud_run_v2_service.service")["scaling"]
        != [{"scaling_mode": "MANUAL", "manual_instance_count": "${var.service_instances}"}]
        or "contains([0, 1], var.service_instances)" not in main.text
    ):
        found.append(f"{MODULE}/run.tf: a log has one writer, so there is one instance")
    for name, job in main.locals["jobs"].items():
        found += commands(f"{MODULE}/run.tf", terraform.shell(job["command"]))
        found += [
            f"{MODULE}/run.tf: {name}: there is no secret {secret}"
            for secret in job["secrets"]
            if secret not in main.locals["secrets"].values()
        ]
        image = job.get("image", "")
        if image and not re.search(r":\d+\.\d+\.\d+$", image):
            found.append(f"{MODULE}/run.tf: {name}: {image} is not pinned")
    if 'endswith(var.image, ":latest")' not in main.text:
        found.append(f"{MODULE}/variables.tf: the image could be latest")
    written = yaml.safe_load((deploy / PLACE / "shroff.yaml").read_text(encoding="utf-8"))
    if written.get("web", {}).get("proxies") != ["169.254.0.0/16"]:  # seen: 169.254.169.126, earlier 169.254.8.129
        found.append(f"{PLACE}/shroff.yaml: everybody would have the address of Cloud Run's proxy")
    given = set(main.locals["settings"]) | set(main.locals["secrets"])
    return found + terraform.settings(f"{PLACE}/shroff.yaml", deploy, given)


def apis(deploy: Path) -> list[str]:
    """Resources whose API nothing enables, and a staging that is where production is."""
    main = _module(deploy)
    enabled = set(re.findall(r'"(\w+)"', str(main.one("google_project_service.api")["for_each"]).replace("'", '"')))
    types = {kind for kind, _ in main.resources if kind.removeprefix("data.").startswith("google_")} - NO_API
    enabling = {
        kind: next((api for begin, api in APIS.items() if kind.partition("google_")[2].startswith(begin)), "unknown")
        for kind in types
    }
    missing = sorted((kind, api) for kind, api in enabling.items() if api not in enabled)
    found = [f"{MODULE}/main.tf: {kind} needs the API {api}" for kind, api in missing]
    given = {text: hcl.read(deploy / PLACE / text).variables["region"]["default"] for text in ("staging", "production")}
    if not given["staging"].startswith("us-") or not given["production"].startswith("europe-"):
        found.append(f"{PLACE}: staging is meant for the US and production for Europe, and they are in {given}")
    return found


def schedules(deploy: Path) -> list[str]:
    """Faults of the times: other ones than promised, or Amplitude's day before the program thinks it complete."""
    main = _module(deploy)
    jobs = main.locals["jobs"]
    timed = {name: job["schedule"] for name, job in jobs.items() if job["schedule"]}
    odd = sorted(set(timed) ^ set(SCHEDULES))
    found = [f"{MODULE}/run.tf: the schedule {name} is not one of {sorted(SCHEDULES)}, or is missing" for name in odd]
    for name, (days, hours, words) in SCHEDULES.items():
        if name not in timed:
            continue
        due = terraform.due_hours(timed[name])
        if due != hours or timed[name].split(maxsplit=2)[2] != days:
            found.append(f"{MODULE}/run.tf: {name} is due at {timed[name]}, and not on {days} at {hours}")
        if not any(row[: len(words)] == words for row in terraform.shell(jobs[name]["command"])):
            found.append(f"{MODULE}/run.tf: {name} does not run shroff {' '.join(words)}")
    settled_h = (
        parse_duration(str(next(key.default for key in AMPLITUDE.shape.keys if key.name == "settled"))) / 3_600_000
    )
    if "amplitude" in timed and min(terraform.due_hours(timed["amplitude"])) < settled_h:
        found.append(f"{MODULE}/run.tf: Amplitude's day is complete {settled_h} h after its end, not earlier")
    report = yaml.safe_load((ROOT / "examples/app-funnels/notices/daily_figures.yaml").read_text(encoding="utf-8"))
    if "mails" in timed and f"{int(report['at'][3:])} {int(report['at'][:2])} * * *" != timed["mails"]:
        found.append(
            f"{MODULE}/run.tf: mails are due at {timed['mails']}, but the report of the example at {report['at']}"
        )
    source = jobs["amplitude"]["command"].split()[-1]
    text = (deploy / PLACE / "shroff.yaml").read_text(encoding="utf-8")
    if "amplitude" not in yaml.safe_load(text)["sources"].get(source, {}):
        found.append(f"{MODULE}/run.tf: shroff.yaml has no source {source} of Amplitude")
    return found


def schemas(deploy: Path) -> list[str]:
    """Schemas of BigQuery that the program would write otherwise."""
    found = terraform.generated(deploy, f"{PLACE}/schemas", terraform.schema_files)
    table = _module(deploy).one("google_bigquery_table.table")
    if 'fileset(var.schemas, "*.json")' not in table["for_each"] or table["schema"] != "${each.value}":
        found.append(f"{MODULE}/data.tf: tables are not made from the schemas")
    return found


def network(deploy: Path) -> list[str]:
    """What could be reached from outside, other than the service by TLS."""
    main = _module(deploy)
    subnet, found = "${google_compute_subnetwork.net.ip_cidr_range}", []
    for name, firewall in main.of("google_compute_firewall").items():
        if "allow" in firewall and firewall != firewall | WAYS:
            found.append(f"{MODULE}: {name}: it opens more than kafka_ways")
    for name, way in main.locals["kafka_ways"].items():
        if way["from"] not in ({None} if name == "controllers" else {IAP if name == "ui" else subnet}):
            found.append(f"{MODULE}/kafka.tf: kafka_ways.{name}: open to {way['from']}")
    if not any(item.get("deny") == [{"protocol": "all"}] for item in main.of("google_compute_firewall").values()):
        found.append(f"{MODULE}: no firewall closes everything else")
    if "access_config" in str(main.of("google_compute_instance")):
        found.append(f"{MODULE}/kafka.tf: a machine has a public address")
    (of,) = main.one("google_sql_database_instance.log")["settings"]
    (ip,) = of["ip_configuration"]
    if ip.get("ipv4_enabled") is not False or "authorized_networks" in ip:
        found.append(f"{MODULE}/data.tf: the database has a public address")
    (share,) = main.one("google_filestore_instance.project")["file_shares"]
    if [option["ip_ranges"] for option in share.get("nfs_export_options", ())] != [[subnet]]:
        found.append(f"{MODULE}/data.tf: the project's folder is open to other addresses")
    return found


def protection(deploy: Path) -> list[str]:
    """What is not encrypted on its way, can be deleted by one command, or could become public."""
    main = _module(deploy)
    log = main.one("google_sql_database_instance.log")
    (of,) = log["settings"]
    found = []
    if of["ip_configuration"][0].get("ssl_mode") != "ENCRYPTED_ONLY":
        found.append(f"{MODULE}/data.tf: the database takes connections without encryption")
    if not (of.get("backup_configuration") or [{}])[0].get("point_in_time_recovery_enabled"):
        found.append(f"{MODULE}/data.tf: the database has no backups to a point in time")
    kept = ("google_sql_database_instance.log", "google_bigquery_table.table", "google_cloud_run_v2_service.service")
    found += [
        f"{MODULE}: {name} can be deleted by mistake"
        for name in kept
        if main.one(name).get("deletion_protection") is not True
    ]
    for name, bucket in main.of("google_storage_bucket").items():
        if (
            bucket.get("public_access_prevention") != "enforced"
            or bucket.get("uniform_bucket_level_access") is not True
        ):
            found.append(f"{MODULE}: {name} could become public")
        old = [rule["condition"][0].get("days_since_noncurrent_time", 0) for rule in bucket.get("lifecycle_rule", ())]
        if bucket.get("versioning") != [{"enabled": True}] or any(days < OLD_DAYS for days in old):
            found.append(f"{MODULE}: {name} keeps no old versions")
    payments = main.one("google_pubsub_subscription.payments")
    if payments.get("enable_message_ordering") is not True or payments.get("expiration_policy") != [{"ttl": ""}]:
        found.append(f"{MODULE}/data.tf: payments could come in another order, or their subscription end by itself")
    found += terraform.kept_in_state(main, MODULE)
    if (
        "google_storage_bucket_iam_policy" in main.text
        or "allUsers" in main.text
        or "allAuthenticatedUsers" in main.text
    ):
        found.append(f"{MODULE}: a right for everybody")
    return found


def rights(deploy: Path) -> list[str]:
    """Roles that are too wide, or given to an account that is not the part's own."""
    main = _module(deploy)
    found = []
    for (kind, name), resource in main.resources.items():
        if not kind.endswith(("_iam_member", "_iam_binding", "_iam_policy")):
            continue
        if not kind.endswith("_iam_member"):
            found.append(f"{MODULE}: {kind}.{name}: rights are given one by one, by iam_member")
        loop = str(resource.get("for_each", ""))
        roles = (
            re.findall(r"roles/[\w.]+", loop) if resource.get("role") == "${each.key}" else [resource.get("role", "")]
        )
        allowed = PROJECT_ROLES.keys() if kind == "google_project_iam_member" else ROLES
        found += [f"{MODULE}: {kind}.{name}: {role} is too wide" for role in roles if role not in allowed]
        if not re.fullmatch(
            r'\$\{google_service_account\.part\[("[\w-]+"|each\.value\.part|each\.key)\]\.member\}',
            str(resource.get("member")),
        ):
            found.append(f"{MODULE}: {kind}.{name}: it is given to {resource.get('member')}")
    accounts = {str(container.get("service_account")) for container in hcl_containers(main)}
    if accounts != {
        '${google_service_account.part["service"].email}',
        "${google_service_account.part[each.key].email}",
    }:
        found.append(f"{MODULE}/run.tf: parts share an account: {sorted(accounts)}")
    return found


def hcl_containers(main: hcl.Module) -> list[dict[str, Any]]:
    return [
        *main.one("google_cloud_run_v2_service.service")["template"],
        *main.one("google_cloud_run_v2_job.job")["template"][0]["template"],
    ]


def alerts(deploy: Path) -> list[str]:
    """Alerts that nobody is told of, or that look at what there is not."""
    main = _module(deploy)
    policy = main.one("google_monitoring_alert_policy.alert")
    channel = "${google_monitoring_notification_channel.operators.id}"
    found = []
    if policy.get("notification_channels") != [channel]:
        found.append(f"{MODULE}/watch.tf: nobody is notified of alerts")
    if main.one("google_billing_budget.month").get("all_updates_rule") != [
        {"monitoring_notification_channels": [channel]}
    ]:
        found.append(f"{MODULE}/watch.tf: nobody is notified of the budget")
    for name, alert in main.locals["alerts"].items():
        if not re.search(r'metric\.type="[\w./]+" AND resource\.type="\w+"', alert["filter"]):
            found.append(f"{MODULE}/watch.tf: {name}: a filter needs metric.type and resource.type")
        if alert["compare"] not in {"COMPARISON_GT", "COMPARISON_LT"} or not re.fullmatch(r"\d+s", alert["duration"]):
            found.append(f"{MODULE}/watch.tf: {name}: comparison or duration")
        if (alert["aligner"] == "ALIGN_FRACTION_TRUE") != (alert["compare"] == "COMPARISON_LT"):
            found.append(f"{MODULE}/watch.tf: {name}: only a share of good answers is bad where it is low")
    (asked,) = main.one("google_monitoring_uptime_check_config.ready")["http_check"]
    if (asked.get("use_ssl"), asked.get("validate_ssl")) != (True, True):
        found.append(f"{MODULE}/watch.tf: the uptime check takes any certificate")
    return found


def broker_settings(deploy: Path) -> dict[str, str]:
    """The environment of a broker's container; `${...}` stand for what differs between brokers."""
    text = (deploy / MODULE / "kafka.yaml").read_text(encoding="utf-8")
    files = {file["path"]: file["content"] for file in yaml.safe_load(text)["write_files"]}
    return dict(line.split("=", 1) for line in files["/etc/kafka.env"].splitlines())


def kafka(deploy: Path) -> list[str]:
    """Faults of Kafka's machines: releases, ports, copies, disks, what is kept of the registry."""
    main, settings = _module(deploy), broker_settings(deploy)
    broker, desk = ((deploy / MODULE / f"{item}.yaml").read_text(encoding="utf-8") for item in ("kafka", "registry"))
    found = []
    wanted = {
        "kafka": f" apache/kafka:{KAFKA}\n",
        "registry": f" {REGISTRY_IMAGE}\n",
        "kafka-ui": f" {merged(deploy)['services']['kafka-ui']['image']}\n",
    }
    for name, image in wanted.items():
        if image not in broker + desk:
            found.append(f"{MODULE}: {name} is not{image.rstrip()}, as in Compose and the tests")
    ways = main.locals["kafka_ways"]
    if settings["KAFKA_LISTENERS"] != "PLAINTEXT://:${clients_port},CONTROLLER://:${controllers_port}":
        found.append(f"{MODULE}/kafka.yaml: it does not listen on the ports that the firewall opens")
    for text, to in ((broker, "kafka"), (desk, "registry")):
        opened = ",".join(f"${{{name}_port}}" for name, way in ways.items() if way["to"] == to)
        if f"--dports {opened} -j ACCEPT" not in text:
            found.append(f"{MODULE}/{to}.yaml: the machine itself does not open {opened}")
    copied = {settings[f"KAFKA_{item}_REPLICATION_FACTOR"] for item in COPIED}
    in_sync = {settings["KAFKA_MIN_INSYNC_REPLICAS"], settings["KAFKA_TRANSACTION_STATE_LOG_MIN_ISR"]}
    if main.locals["replicas"] != REPLICAS or (copied, in_sync) != ({"${copies}"}, {"${in_sync}"}):
        found.append(f"{MODULE}: with three brokers each topic has three copies, two of them in sync")
    if settings["KAFKA_BROKER_RACK"] != "${zone}" or "% length(local.zones)]" not in main.locals["brokers"]:
        found.append(f"{MODULE}/kafka.tf: brokers share a zone, or do not know it")
    disk = main.one("google_compute_instance.kafka")["dynamic"][0]["attached_disk"]["content"][0].get("device_name")
    if f"/dev/disk/by-id/google-{disk}" not in broker:
        found.append(f"{MODULE}/kafka.yaml: it does not use the disk {disk}")
    formats = 'mkfs.ext4 -m 0 "$disk"\n'
    if "mkfs" in broker.replace(formats, "", 1) or "blkid" not in yaml.safe_load(broker)["bootcmd"][0]:
        found.append(f"{MODULE}/kafka.yaml: it formats a disk that may have something on it")
    kept = main.one("google_compute_disk.kafka").get("lifecycle")
    if not kept or kept[0].get("prevent_destroy") is not True:
        found.append(f"{MODULE}/kafka.tf: the disk may be destroyed by a plan")
    if "--topic kafkasql-journal " not in desk or "--config cleanup.policy=delete --config retention.ms=-1" not in desk:
        found.append(f"{MODULE}/registry.yaml: Kafka would delete the schemas after a week")
    if "KAFKA_CLUSTERS_0_READONLY=true" not in desk:
        found.append(f"{MODULE}/registry.yaml: the UI may change topics")
    return found


CHECKS = (references, page, layout, service, apis, schedules, schemas, network, protection, rights, alerts, kafka)
