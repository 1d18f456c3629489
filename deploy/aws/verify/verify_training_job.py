"""Look at the training task: its image, command, role and secrets; the trainings so far. --run starts one and waits."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator

from account import Account, Finding, Seen, main

WAIT_S = 6 * 3_600
TRAINED = (0, 1)


def check(account: Account) -> Iterator[Finding]:
    ecs, s3 = account.client("ecs"), account.client("s3")
    task = ecs.describe_task_definition(taskDefinition=f"{account.name}-train")["taskDefinition"]
    (container,) = task["containerDefinitions"]
    image, command = container["image"], " ".join(container.get("command", ()))
    yield not image.endswith(":latest") and (":" in image or "@" in image), f"image {image}"
    yield 'train --watch "s3://$RAW_BUCKET/incoming" --once' in command, "it trains on new objects once"
    yield task["taskRoleArn"].endswith(f"/{account.name}-train"), f"role {task['taskRoleArn']}"
    given = {setting["name"]: setting["value"] for setting in container.get("environment", ())}
    for variable, kind in (("RAW_BUCKET", "raw"), ("MODELS_BUCKET", "models")):
        yield given.get(variable) == account.bucket(kind), f"{variable} is {given.get(variable)}"
    literal = sorted(variable for variable in given if "PASSWORD" in variable or "SECRET" in variable)
    yield not literal, f"secrets that stand in the task: {', '.join(literal) or 'none'}"
    secrets = [secret["name"] for secret in container.get("secrets", ())]
    yield "SHROFF_DB_PASSWORD" in secrets, f"secrets: {', '.join(secrets) or 'none'}"
    claims = {"archived": 0, "failed": 0, "started": 0, "starting": 0}
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=account.bucket("processed"), Prefix="claims/")
    for claim in (entry for page in pages for entry in page.get("Contents", ())):
        body = s3.get_object(Bucket=account.bucket("processed"), Key=claim["Key"])["Body"].read()
        claims[json.loads(body)["state"]] += 1
    said = ", ".join(f"{state} {count}" for state, count in claims.items())
    yield not claims["failed"], Seen(f"objects: {said}")
    if account.runs:
        is_well, what = run(account)
        yield is_well, Seen(what)


def run(account: Account) -> Finding:
    """Start a training as the function does, and wait for its end."""
    ecs = account.client("ecs")
    function = account.client("lambda").get_function_configuration(FunctionName=f"{account.name}-trigger")
    given = function["Environment"]["Variables"]
    network = {"subnets": given["SUBNETS"].split(","), "securityGroups": [given["SECURITY_GROUP"]]}
    started = ecs.run_task(
        cluster=given["CLUSTER"],
        taskDefinition=given["TASK"],
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {**network, "assignPublicIp": "DISABLED"}},
        startedBy="verify",
    )
    if started["failures"]:
        return False, f"ECS does not start it: {started['failures']}"
    arn, began_s = started["tasks"][0]["taskArn"], time.monotonic()
    while time.monotonic() - began_s < WAIT_S:
        (found,) = ecs.describe_tasks(cluster=given["CLUSTER"], tasks=[arn])["tasks"]
        if found["lastStatus"] == "STOPPED":
            status = found["containers"][0].get("exitCode") if found.get("containers") else None
            return status in TRAINED, f"{arn} ended with {status}: {found.get('stoppedReason', '')}"
        time.sleep(10)
    return False, f"{arn} did not end within {WAIT_S // 3_600} hours"


if __name__ == "__main__":
    sys.exit(main(check))
