"""Start training once for each new object below incoming/, and archive the object when training has succeeded.

EventBridge calls `handler` with two kinds of events, each at least once and in any order: "Object Created" of the raw
bucket, and "ECS Task State Change" of the tasks that were started here.

Each version of an object has a claim, `claims/ID.json` in the processed bucket, that only one call can create. The
call that creates it starts the task. ECS knows the claim's id as well, as the token of the start: a second start with
it gives the same task. The claim says what became of the object: starting, started, archived, failed.

Needs the runtime's own boto3 and nothing else.
"""

import functools
import hashlib
import json
import logging
import os
import time
from typing import Any

import boto3
from botocore.exceptions import ClientError

STALE_S = 120  # a claim that is still `starting` after this was left by a call that ended; a call takes 60 s at most
PROMOTED, NOT_PROMOTED = 0, 1  # exit statuses of `shroff train --watch --once`; with these the object is archived
WHY = {  # what the others say, and NOT_PROMOTED; of all of them people are told
    NOT_PROMOTED: "its model failed a gate and is not active. The object was archived",
    3: "another training, or a system that it needs, was not free in time. The object was left there",
    4: "not all of it could be ingested. The object was left there",
    5: "it was ingested, and no model was made of it, for example since it has no labels. The object was left there",
}
MARKS = (".done", "/_SUCCESS", "/")  # names that are no data: markers of writers, and folders

log = logging.getLogger()
log.setLevel(logging.INFO)


class BusyError(Exception):
    """Another call is starting this training. The event comes again later."""


def handler(event: dict[str, Any], context: object = None) -> dict[str, str]:
    """What was done with an event: its `state`, and the key of its object where it has one."""
    kind, detail = event.get("detail-type"), event["detail"]
    if kind == "Object Created":
        done = created(detail)
    elif kind == "ECS Task State Change":
        done = ended(detail)
    else:
        raise ValueError(f"this function is not made for events of the kind {kind}")
    log.info(json.dumps(done))
    return done


def created(detail: dict[str, Any]) -> dict[str, str]:
    """Start training on a new object, unless it is no data, was replaced meanwhile, or has its training already."""
    # In events of EventBridge a key is as it is. (In S3's own notifications it is encoded for URLs.)
    bucket, key = detail["bucket"]["name"], detail["object"]["key"]
    if bucket != os.environ["RAW_BUCKET"] or not key.startswith(os.environ["INCOMING"]) or key.endswith(MARKS):
        return {"state": "ignored", "key": key}
    version = detail["object"].get("version-id") or detail["object"]["etag"]
    found = _found(bucket, key)
    if found is None or found[0] != version:
        return {"state": "superseded", "key": key}  # deleted, archived or replaced; what replaced it has its own event
    id_ = hashlib.sha256(json.dumps([bucket, key, version]).encode()).hexdigest()[:24]
    claim = {"state": "starting", "bucket": bucket, "key": key, "version": version, "at": int(time.time())}
    if not _claimed(id_, claim):
        before = _claim(id_)
        if before is None or before["state"] != "starting":
            return {"state": "duplicate", "key": key}
        if time.time() - before["at"] < STALE_S:
            raise BusyError(key)
    try:
        claim["task"] = _start(id_, key)
    except Exception:
        _client("s3").delete_object(Bucket=os.environ["PROCESSED_BUCKET"], Key=_name(id_))
        raise
    _write(id_, claim | {"state": "started"})
    return {"state": "started", "key": key, "task": claim["task"]}


def ended(detail: dict[str, Any]) -> dict[str, str]:
    """Archive the object of a task that made a model; tell people of each that promoted none. Without one it stays."""
    id_ = str(detail.get("startedBy", "")).removeprefix("shroff/")
    claim = _claim(id_) if id_ and detail["lastStatus"] == "STOPPED" else None
    if claim is None:
        return {"state": "ignored"}
    if claim["state"] in {"archived", "failed"}:
        return {"state": "duplicate", "key": claim["key"]}
    status = next((container.get("exitCode") for container in detail["containers"]), None)
    state = "archived" if status in {PROMOTED, NOT_PROMOTED} else "failed"
    if state == "archived":
        _archive(claim)
    if status != PROMOTED:
        said = f"exit status {status}" if status is not None else detail.get("stoppedReason", "unknown")
        why = WHY.get(status, "it failed. The object was left there")
        _client("sns").publish(
            TopicArn=os.environ["ALARMS"],
            Subject="Training: no model was promoted" if state == "archived" else "Training failed",
            Message=f"Training on s3://{claim['bucket']}/{claim['key']} ended with {said}: {why}.\n"
            f"The log of the task says more: {detail['taskArn']}",
        )
    _write(id_, claim | {"state": state, "status": status})
    return {"state": state, "key": claim["key"]}


def _start(id_: str, key: str) -> str:
    """The task's ARN. A second call with the same id gives the same task."""
    network = {
        "subnets": os.environ["SUBNETS"].split(","),
        "securityGroups": [os.environ["SECURITY_GROUP"]],
        "assignPublicIp": "DISABLED",
    }
    found = _client("ecs").run_task(
        cluster=os.environ["CLUSTER"],
        taskDefinition=os.environ["TASK"],
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
        overrides={"containerOverrides": [{"name": "shroff", "environment": [{"name": "OBJECT_KEY", "value": key}]}]},
        startedBy=f"shroff/{id_}",
        clientToken=id_,
    )
    if found["failures"] or not found["tasks"]:
        raise RuntimeError(f"ECS does not start the task: {found['failures']}")
    return str(found["tasks"][0]["taskArn"])


def _archive(claim: dict[str, Any]) -> None:
    """Move the version that trained. A newer version of the same key stays for its own training."""
    bucket, key, version = claim["bucket"], claim["key"], claim["version"]
    source = {"Bucket": bucket, "Key": key}
    found = _found(bucket, key)
    if found is None:
        return  # archived by a call that ended before it could say so, or deleted by somebody
    if found[0] != version:
        _client("s3").copy(source | {"VersionId": version}, os.environ["ARCHIVE_BUCKET"], key)
        return
    _client("s3").copy(source, os.environ["ARCHIVE_BUCKET"], key)
    try:
        _client("s3").delete_object(Bucket=bucket, Key=key, IfMatch=found[1])
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"PreconditionFailed", "ConditionalRequestConflict"}:
            raise  # else it was replaced this moment, and the newer version stays


def _found(bucket: str, key: str) -> tuple[str, str] | None:
    """The version of an object (its ETag in a bucket without versions), and its ETag; None where there is no object."""
    try:
        found = _client("s3").head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if _is_missing(error):
            return None
        raise
    etag = str(found["ETag"]).strip('"')
    version = found.get("VersionId")
    return (str(version) if version and version != "null" else etag), etag


def _claimed(id_: str, claim: dict[str, Any]) -> bool:
    """Whether the claim is ours now."""
    try:
        _write(id_, claim, IfNoneMatch="*")
    except ClientError as error:
        if error.response["Error"]["Code"] in {"PreconditionFailed", "ConditionalRequestConflict"}:
            return False
        raise
    return True


def _claim(id_: str) -> dict[str, Any] | None:
    try:
        body = _client("s3").get_object(Bucket=os.environ["PROCESSED_BUCKET"], Key=_name(id_))["Body"].read()
    except ClientError as error:
        if _is_missing(error):
            return None
        raise
    found: dict[str, Any] = json.loads(body)
    return found


def _write(id_: str, claim: dict[str, Any], **condition: str) -> None:
    body = json.dumps(claim).encode()
    _client("s3").put_object(Bucket=os.environ["PROCESSED_BUCKET"], Key=_name(id_), Body=body, **condition)


def _is_missing(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in {"404", "NoSuchKey", "NotFound"}


def _name(id_: str) -> str:
    return f"claims/{id_}.json"


@functools.cache
def _client(service: str) -> Any:
    return boto3.client(service)
