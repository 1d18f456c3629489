"""Look at what starts training: events of the raw bucket, their rules, the function, its queue of lost events."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from account import Account, Finding, Seen, main

VARIABLES = (
    *("RAW_BUCKET", "PROCESSED_BUCKET", "ARCHIVE_BUCKET", "INCOMING", "CLUSTER", "TASK"),
    *("SUBNETS", "SECURITY_GROUP", "ALARMS"),
)


def check(account: Account) -> Iterator[Finding]:
    s3, events = account.client("s3"), account.client("events")
    raw = account.bucket("raw")
    told = s3.get_bucket_notification_configuration(Bucket=raw)
    yield "EventBridgeConfiguration" in told, f"{raw} sends its events to EventBridge"
    yield s3.get_bucket_versioning(Bucket=raw).get("Status") == "Enabled", f"{raw} keeps versions"
    function = account.client("lambda").get_function_configuration(FunctionName=f"{account.name}-trigger")
    given = function.get("Environment", {}).get("Variables", {})
    lost = sorted(set(VARIABLES) - set(given))
    yield not lost, f"variables that the function lacks: {', '.join(lost) or 'none'}"
    yield given.get("RAW_BUCKET") == raw, f"the function looks at {given.get('RAW_BUCKET')}"
    for kind in ("object", "ended"):
        name = f"{account.name}-{kind}"
        rule = events.describe_rule(Name=name)
        targets = [target["Arn"] for target in events.list_targets_by_rule(Rule=name)["Targets"]]
        yield rule["State"] == "ENABLED", f"the rule {name} is {rule['State']}"
        yield targets == [function["FunctionArn"]], f"the rule {name} calls {', '.join(targets) or 'nothing'}"
        if kind == "object":
            asked = json.loads(rule["EventPattern"]).get("detail", {})
            yield asked.get("bucket", {}).get("name") == [raw], f"the rule {name} looks at {asked.get('bucket')}"
            keys = asked.get("object", {}).get("key")
            yield keys == [{"prefix": given.get("INCOMING")}], f"the rule {name} takes keys {keys}"
    url = account.client("sqs").get_queue_url(QueueName=f"{account.name}-lost")["QueueUrl"]
    count = account.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    waiting = int(count["Attributes"]["ApproximateNumberOfMessages"])
    yield waiting == 0, Seen(f"lost events: {waiting}")


if __name__ == "__main__":
    sys.exit(main(check))
