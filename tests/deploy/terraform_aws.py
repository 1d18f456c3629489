"""Checks of deploy/terraform/aws: each takes the folder deploy/ and gives the faults it finds."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from tests.deploy import hcl, terraform
from tests.deploy.checks import DEPLOY, IMAGE, commands

PLACE = "terraform/aws"
MODULE = f"{PLACE}/module"
ACCOUNT, REGION, NAME = "123456789012", "us-east-1", "shroff-staging"  # the account is the one of moto's server
ARNS = {  # of what others refer to, by type; {} is the key or the name of the resource
    "aws_s3_bucket": f"arn:aws:s3:::{NAME}-{ACCOUNT}-{{}}",
    "aws_kms_key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{{}}",
    "aws_efs_file_system": f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:file-system/{{}}",
    "aws_efs_access_point": f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:access-point/{{}}",
    "aws_ecs_cluster": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{NAME}",
    "aws_ecs_task_definition": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/{NAME}-{{}}:1",
    "aws_ecr_repository": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{NAME}",
    "aws_iam_role.part": f"arn:aws:iam::{ACCOUNT}:role/{NAME}-{{}}",
    "aws_iam_role.start": f"arn:aws:iam::{ACCOUNT}:role/{NAME}-start-{{}}",
    "aws_sns_topic": f"arn:aws:sns:{REGION}:{ACCOUNT}:{NAME}-{{}}",
    "aws_sqs_queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{NAME}-{{}}",
    "aws_cloudwatch_log_group": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/{NAME}/{{}}",
    "aws_cloudwatch_event_rule": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{NAME}-{{}}",
    "aws_secretsmanager_secret": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{NAME}/{{}}",
}
OF_A_KEY = {"key"}  # policies that belong to what they protect
PARTS = {"service", "workers", "train", "files", "trigger", "flow-log", "trail"}
LOW = {"HealthyHostCount", "FreeStorageSpace"}  # metrics of which less is worse, and nothing the worst
ENCRYPTED = {  # what keeps data: the argument by which it is encrypted, and its value
    "aws_db_instance": ("storage_encrypted", True),
    "aws_efs_file_system": ("encrypted", True),
    "aws_sns_topic": ("kms_master_key_id", "${aws_kms_key.key.arn}"),
    "aws_sqs_queue": ("kms_master_key_id", "${aws_kms_key.key.arn}"),
    "aws_cloudwatch_log_group": ("kms_key_id", "${aws_kms_key.key.arn}"),
    "aws_cloudtrail": ("kms_key_id", "${aws_kms_key.key.arn}"),
    "aws_secretsmanager_secret": ("kms_key_id", "${aws_kms_key.key.arn}"),
    "aws_lambda_function": ("kms_key_arn", "${aws_kms_key.key.arn}"),
}


references, layout, page = (
    partial(item, cloud="aws") for item in (terraform.references, terraform.layout, terraform.page)
)
_module = partial(terraform.module, cloud="aws")


def script(deploy: Path, name: str) -> ModuleType:
    """A Python file of deploy/aws, which is no package."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, deploy / "aws" / name)
    assert spec
    assert spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


# --- policies as AWS reads them


def arn(text: str, each: str = "service") -> str:
    """An expression of Terraform as AWS will see it; `each` is the key of the resource that it stands in."""

    def known(match: re.Match[str]) -> str:
        kind, name, key = match[1], match[2], match[3]
        form = ARNS.get(f"{kind}.{name}") or ARNS[kind]
        return form.format({None: name, "each.key": each}.get(key, (key or "").strip('"')))

    text = re.sub(r'\$\{(aws_\w+)\.(\w+)(?:\[("[\w-]+"|each\.key|local\.secrets\[name\])\])?\.arn\}', known, text)
    text = text.replace("${each.value.arn}", ARNS["aws_s3_bucket"].format(each))
    for name, value in (("account", ACCOUNT), ("region", REGION), ("name", NAME), ("incoming", "incoming/")):
        text = text.replace(f"${{local.{name}}}", value)
    return text


def policy(main: hcl.Module, name: str, each: str = "service") -> list[dict[str, Any]]:
    """The statements of a policy document, those of its sources among them, in the form of IAM."""
    body = main.one(f"data.aws_iam_policy_document.{name}")
    found = []
    for source in body.get("source_policy_documents", ()):
        found += policy(main, source.split(".")[2], each)
    for item in body.get("statement", ()):
        statement: dict[str, Any] = {"Effect": item.get("effect", "Allow"), "Action": item.get("actions", [])}
        resources = item.get("resources", [])
        if isinstance(resources, str):  # [for name in ...: ARN]
            resources = ["${" + resources.partition(" : ")[2].rstrip("]}") + "}"]
            resources = [
                re.sub(r"\[local\.secrets\[name\]?\.arn|\[local.secrets\[name\.arn", "[local.secrets[name]].arn", text)
                for text in resources
            ]
        if resources:
            statement["Resource"] = [arn(text, each) for text in resources]
        principals = {
            pair["type"]: [arn(text) for text in hcl.words(pair["identifiers"])] for pair in item.get("principals", ())
        }
        if principals:
            statement["Principal"] = principals
        for condition in item.get("condition", ()):
            under = statement.setdefault("Condition", {}).setdefault(condition["test"], {})
            under[condition["variable"]] = [arn(text) for text in hcl.words(condition["values"])]
        found.append(statement)
    return found


def documents(main: hcl.Module) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for kind, name in main.resources:
        if kind == "data.aws_iam_policy_document":
            yield name, policy(main, name)


def rights(deploy: Path) -> list[str]:
    """Policies that are too wide, parts without a role of their own, trust in anybody."""
    main = _module(deploy)
    wildcards = script(deploy, "verify/wildcards.py")
    place = f"{MODULE}/roles.tf"
    found = []
    for name, statements in documents(main):
        for statement in statements:
            of_itself = "kms" if name in OF_A_KEY else ""
            found += [
                f"{MODULE}: policy {name}: too wide: {why}" for why in wildcards.wide(statement, of_itself=of_itself)
            ]
            anybody = "*" in hcl.words(statement.get("Principal", {}))
            if anybody and statement["Effect"] == "Allow":
                found.append(f"{MODULE}: policy {name}: everybody may do it")
            if "iam:PassRole" in statement["Action"] and "iam:PassedToService" not in str(statement.get("Condition")):
                found.append(f"{MODULE}: policy {name}: a role could be passed to any service")
    if set(main.locals["policies"]) != PARTS or set(main.locals["parts"]) | {"trigger", "flow-log", "trail"} != PARTS:
        found.append(f"{place}: each part has one role: {sorted(PARTS)}")
    given = list(main.locals["policies"].values())
    if len(set(given)) != len(given):
        found.append(f"{place}: two parts share a policy")
    task = main.one("aws_ecs_task_definition.part")
    if (task["task_role_arn"], task["execution_role_arn"]) != (
        "${aws_iam_role.part[each.key].arn}",
        "${aws_iam_role.start[each.key].arn}",
    ):
        found.append(f"{MODULE}/run.tf: tasks share a role")
    if main.of("aws_iam_role_policy_attachment", "aws_iam_policy_attachment", "aws_iam_user", "aws_iam_access_key"):
        found.append(f"{MODULE}: only inline policies of roles are used")
    return found


# --- what runs


def service(deploy: Path) -> list[str]:
    """Faults of what runs: commands, port, health, folder, user, variables, and that there is one writer."""
    main = _module(deploy)
    parts, place = main.locals["parts"], f"{MODULE}/run.tf"
    task = main.one("aws_ecs_task_definition.part")["container_definitions"]
    routes = {main.one("aws_lb_target_group.service")["health_check"][0]["path"]}
    routes |= {f"/health/{item}" for item in re.findall(r'/opt/health\.py", "(\w+)"', task)}
    arguments = [str(main.locals["port"]) if "local.port" in item else item for item in parts["service"]["command"]]
    found = terraform.served(place, arguments, main.locals["port"], routes)
    if main.one("aws_lb_target_group.service")["health_check"][0]["path"] != "/health/ready":
        found.append(f"{MODULE}/network.tf: the load balancer must ask /health/ready: a standby takes no events")
    if main.locals["folder"] != terraform.image_folder(deploy):
        found.append(f"{MODULE}/main.tf: folder {main.locals['folder']}, but the image works in another one")
    user = re.findall(r"^USER (\d+):", (deploy / IMAGE).read_text(encoding="utf-8"), re.MULTILINE)[-1]
    if str(main.locals["user"]) != user:
        found.append(f"{MODULE}/main.tf: user {main.locals['user']}, but the image runs as {user}")
    resource = main.one("aws_ecs_service.service")
    if (resource.get("deployment_maximum_percent"), resource.get("deployment_minimum_healthy_percent")) != (100, 0):
        found.append(f"{place}: a new task must start after the old one has ended: a log has one writer")
    if resource.get("health_check_grace_period_seconds", 0) < 1_800:
        found.append(f"{place}: a start that reads a long log would be ended")
    if (
        resource.get("desired_count") != "${var.service_count}"
        or "contains([0, 1], var.service_count)" not in main.text
    ):
        found.append(f"{place}: a log has one writer, so there is one task")
    if (
        main.one("aws_appautoscaling_target.workers").get("resource_id", "").rpartition("/")[2]
        != "${aws_ecs_service.workers.name}"
    ):
        found.append(f"{place}: only the workers of jobs may be several")
    for name, part in parts.items():
        if "command" in part and name != "service":
            found += commands(place, [part["command"]])
        if "file(" not in part.get("shell", "file("):
            found += commands(place, terraform.shell(part["shell"]))
        found += [
            f"{place}: {name}: there is no secret {lost}"
            for lost in part["secrets"]
            if lost not in main.locals["secrets"]
        ]
    text = (deploy / MODULE / "train.sh").read_text(encoding="utf-8")
    found += commands(f"{MODULE}/train.sh", terraform.shell(text.partition("python3")[0].replace("$RAW_BUCKET", "b")))
    found += [
        f"{place}: a container must have {words}"
        for words in (
            "readonlyRootFilesystem = true",
            'drop = ["ALL"]',
            'user = "${local.user}:${local.user}"',
            "awslogs-group",
        )
        if words not in task
    ]
    if 'endswith(var.image, ":latest")' not in main.text:
        found.append(f"{MODULE}/variables.tf: the image could be latest")
    given = set(main.locals["settings"]) | set(main.locals["secrets"])
    return found + terraform.settings(f"{PLACE}/shroff.yaml", deploy, given)


def trigger(deploy: Path) -> list[str]:
    """Faults of what starts training: events, variables of the function, the prefix."""
    main = _module(deploy)
    place = f"{MODULE}/trigger.tf"
    events, function = main.locals["events"], main.one("aws_lambda_function.trigger")
    handler = (deploy / "aws/trigger/handler.py").read_text(encoding="utf-8")
    given = set(function["environment"][0]["variables"])
    used = set(re.findall(r'os\.environ\["(\w+)"\]', handler))
    found = [f"{place}: the function has no {row}" for row in sorted(used - given)]
    found += [f"{place}: the function does not read {row}" for row in sorted(given - used)]
    if {event["detail-type"][0] for event in events.values()} != set(re.findall(r'kind == "([\w ]+)"', handler)):
        found.append(f"{place}: other events than the function is made for")
    if events["object"]["detail"] != {
        "bucket": {"name": ['${aws_s3_bucket.bucket["raw"].bucket}']},
        "object": {"key": [{"prefix": "${local.incoming}"}]},
    }:
        found.append(f"{place}: only objects of the raw bucket below incoming/ may start training")
    if f'$RAW_BUCKET/{main.locals["incoming"].rstrip("/")}"' not in (deploy / MODULE / "train.sh").read_text(
        encoding="utf-8"
    ):
        found.append(f"{MODULE}/train.sh: it does not watch {main.locals['incoming']}")
    module_file, _, name = function["handler"].partition(".")
    if (
        not main.one("data.archive_file.trigger")["source_file"].endswith(f"/{module_file}.py")
        or f"def {name}(" not in handler
    ):
        found.append(f"{place}: there is no {function['handler']}")
    if main.one("aws_s3_bucket_notification.raw").get("eventbridge") is not True:
        found.append(f"{MODULE}/data.tf: the raw bucket sends no events")
    timeout = int(re.findall(r"STALE_S = (\d+)", handler)[0])
    if function["timeout"] * 2 > timeout:
        found.append(
            f"{place}: a call may take {function['timeout']} s, and its claim counts as left behind after {timeout} s"
        )
    return found


def hook(deploy: Path) -> list[str]:
    """Faults of the way of payments from SNS to the service."""
    main = _module(deploy)
    read = yaml.safe_load((deploy / PLACE / "shroff.yaml").read_text(encoding="utf-8"))
    source = main.locals["hook"].rpartition("/hooks/")[2]
    found = []
    if "sns" not in read["sources"].get(source, {}):
        found.append(f"{MODULE}/watch.tf: shroff.yaml has no source {source} of SNS")
    subscription = main.one("aws_sns_topic_subscription.hook")
    if subscription["protocol"] != "https" or "raw_message_delivery" in subscription:
        found.append(f"{MODULE}/watch.tf: messages must be signed, and sent by https")
    if "aws_sqs_queue.undelivered.arn" not in str(subscription.get("redrive_policy")):
        found.append(f"{MODULE}/watch.tf: payments that the service did not take are lost")
    if main.one("aws_sns_topic.topic").get("signature_version") != 2:
        found.append(f"{MODULE}/watch.tf: SNS must sign with SHA-256")
    public = [f"10.30.{number}.0/24" for number in range(2)]
    if (
        read["web"]["proxies"] != ["10.30.0.0/23"]
        or "cidrsubnet(aws_vpc.net.cidr_block, 8, count.index)" not in main.text
    ):
        found.append(f"{PLACE}/shroff.yaml: the proxies are the load balancer's subnets, {public}")
    return found


# --- what is kept, and who reaches it


def network(deploy: Path) -> list[str]:
    """What could be reached from outside, other than the load balancer by TLS."""
    main = _module(deploy)
    place = f"{MODULE}/network.tf"
    found = []
    for name, way in main.locals["ways"].items():
        if way["from"] is None and (way["to"] != "balancer" or way["port"] not in {443, 80}):
            found.append(f"{place}: {name}: port {way['port']} of {way['to']} is open to everybody")
    if set(main.of("aws_vpc_security_group_ingress_rule")) != {"aws_vpc_security_group_ingress_rule.way"}:
        found.append(f"{place}: a way in that is not in the table of ways")
    if main.of("aws_security_group_rule") or any(
        "ingress" in item for item in main.of("aws_security_group", "aws_default_security_group").values()
    ):
        found.append(f"{place}: a way in that is not in the table of ways")
    if (
        main.locals["ways"]["service"]["port"] != "${local.port}"
        or main.one("aws_lb_target_group.service")["port"] != "${local.port}"
    ):
        found.append(f"{place}: the service is not reached on its port")
    if main.one("aws_db_instance.log").get("publicly_accessible") is not False:
        found.append(f"{MODULE}/data.tf: the database has a public address")
    for name, resource in main.of("aws_ecs_service").items():
        (net,) = resource["network_configuration"]
        if net.get("assign_public_ip") is not False or net["subnets"] != "${aws_subnet.private[*].id}":
            found.append(f"{MODULE}/run.tf: {name} is not in the private subnets")
    if '"assignPublicIp": "DISABLED"' not in (deploy / "aws/trigger/handler.py").read_text(encoding="utf-8"):
        found.append("aws/trigger/handler.py: a training task would have a public address")
    tls, redirect = main.one("aws_lb_listener.tls"), main.one("aws_lb_listener.redirect")
    if tls.get("protocol") != "HTTPS" or not str(tls.get("ssl_policy")).startswith("ELBSecurityPolicy-TLS13-1-2"):
        found.append(f"{place}: the load balancer must use TLS 1.2 or newer")
    if redirect["default_action"][0]["type"] != "redirect":
        found.append(f"{place}: without TLS there is only the redirect")
    if main.one("aws_lb_listener_rule.metrics").get("condition") != [{"path_pattern": [{"values": ["/metrics"]}]}]:
        found.append(f"{place}: /metrics can be reached from outside")
    return found


def protection(deploy: Path) -> list[str]:
    """What is not encrypted, could become public, or can be lost by one command."""
    main = _module(deploy)
    found = []
    for kind, (argument, value) in ENCRYPTED.items():
        for name, resource in main.of(kind).items():
            if resource.get(argument) != value:
                found.append(f"{MODULE}: {name} is not encrypted: {argument}")
    if set(main.locals["buckets"]) != {"raw", "processed", "models", "archive"}:
        found.append(f"{MODULE}/data.tf: the buckets are raw, processed, models and archive")
    (rule,) = main.one("aws_s3_bucket_server_side_encryption_configuration.bucket")["rule"]
    if rule["apply_server_side_encryption_by_default"] != [
        {"sse_algorithm": "aws:kms", "kms_master_key_id": "${aws_kms_key.key.arn}"}
    ]:
        found.append(f"{MODULE}/data.tf: buckets are not encrypted with the key")
    block = main.one("aws_s3_bucket_public_access_block.bucket")
    closed = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    if any(block.get(item) is not True for item in closed) or "logs = aws_s3_bucket.logs" not in block["for_each"]:
        found.append(f"{MODULE}/data.tf: a bucket could become public")
    for name, versioning in main.of("aws_s3_bucket_versioning").items():
        if versioning["versioning_configuration"] != [{"status": "Enabled"}]:
            found.append(f"{MODULE}/data.tf: {name}: a bucket keeps no old versions")
    if policy(main, "tls")[0]["Condition"] != {"Bool": {"aws:SecureTransport": ["false"]}}:
        found.append(f"{MODULE}/data.tf: buckets take requests without TLS")
    log = main.one("aws_db_instance.log")
    if log.get("deletion_protection") is not True or log.get("skip_final_snapshot") is not False:
        found.append(f"{MODULE}/data.tf: the log can be deleted by mistake")
    if int(log.get("backup_retention_period", 0)) < 7:
        found.append(f"{MODULE}/data.tf: the log has no backups of a week")
    if {"name": "rds.force_ssl", "value": "1"} not in main.one("aws_db_parameter_group.log")["parameter"]:
        found.append(f"{MODULE}/data.tf: the database takes connections without TLS")
    if 'transit_encryption = "ENABLED"' not in main.text:
        found.append(f"{MODULE}/run.tf: the folder is read without TLS")
    if main.one("aws_kms_key.key").get("enable_key_rotation") is not True:
        found.append(f"{MODULE}/main.tf: the key is not rotated")
    trail = main.one("aws_cloudtrail.trail")
    if not trail.get("enable_log_file_validation") or not trail.get("is_multi_region_trail"):
        found.append(f"{MODULE}/watch.tf: the trail can be changed, or sees one region only")
    return found + terraform.kept_in_state(main, MODULE)


def alarms(deploy: Path) -> list[str]:
    """Alarms that nobody is told of, or without a meaning; parts without a log."""
    main = _module(deploy)
    place, topic = f"{MODULE}/watch.tf", '${aws_sns_topic.topic["alarms"].arn}'
    metric_alarm = main.one("aws_cloudwatch_metric_alarm.alarm")
    found = []
    if metric_alarm.get("alarm_actions") != [topic] or metric_alarm.get("ok_actions") != [topic]:
        found.append(f"{place}: nobody is notified of alarms")
    if main.one("aws_sns_topic_subscription.operators").get("endpoint") != "${var.operators}":
        found.append(f"{place}: nobody reads the topic of alarms")
    for name, alarm in main.locals["alarms"].items():
        if not re.fullmatch(r"AWS/\w+", alarm["of"][0]) or alarm["when"][0] not in {
            "GreaterThanThreshold",
            "LessThanThreshold",
        }:
            found.append(f"{place}: {name}: {alarm['of']} {alarm['when']}")
        is_low = alarm["of"][1] in LOW
        if (alarm["when"][0] == "LessThanThreshold", alarm["missing"] == "breaching") != (is_low, is_low):
            found.append(
                f"{place}: {name}: {alarm['of'][1]} alarms where it is {'low or missing' if is_low else 'high'}"
            )
        if alarm["missing"] not in {"breaching", "notBreaching"}:
            found.append(f"{place}: {name}: without data it would say nothing")
    if "keys(local.alarms)" not in main.one("aws_cloudwatch_dashboard.board")["dashboard_body"]:
        found.append(f"{place}: an alarm is not on the dashboard")
    if not {"trigger", "network", "trail"} <= set(re.findall(r'"([\w-]+)"', str(main.locals["logs"]))):
        found.append(f"{place}: a part has no log")
    if int(main.one("aws_cloudwatch_log_group.log").get("retention_in_days", 0)) < 365:
        found.append(f"{place}: logs are kept for less than a year")
    return found


def tables(deploy: Path) -> list[str]:
    """Tables of the Glue catalog that are not those of the lake."""
    return terraform.generated(deploy, f"{PLACE}/tables", terraform.table_files)


CHECKS = (references, page, layout, rights, service, trigger, hook, network, protection, alarms, tables)
__all__ = ["CHECKS", "DEPLOY"]
