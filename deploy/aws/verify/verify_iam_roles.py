"""Look at the roles of an environment: one for each part, trusted by its service alone, without wildcards."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from account import Account, Finding, main
from wildcards import listed, wide

TASKS = "ecs-tasks.amazonaws.com"
PARTS = {
    **dict.fromkeys(("service", "workers", "train", "files"), TASKS),
    **dict.fromkeys(("start-service", "start-workers", "start-train", "start-files"), TASKS),
    "trigger": "lambda.amazonaws.com",
    "flow-log": "vpc-flow-logs.amazonaws.com",
    "trail": "cloudtrail.amazonaws.com",
}


def check(account: Account) -> Iterator[Finding]:
    iam = account.client("iam")
    pages = iam.get_paginator("list_roles").paginate()
    roles = {
        role["RoleName"]: role for page in pages for role in page["Roles"] if role["RoleName"].startswith(account.name)
    }
    odd = sorted(set(roles) - {f"{account.name}-{part}" for part in PARTS})
    yield not odd, f"no other roles: {', '.join(odd) or 'none'}"
    for part, principal in PARTS.items():
        name = f"{account.name}-{part}"
        if name not in roles:
            yield False, f"{name}: there is no such role"
            continue
        trust = document(roles[name]["AssumeRolePolicyDocument"])
        trusted = [service for statement in trust for service in listed(statement["Principal"].get("Service"))]
        others = [kind for statement in trust for kind in statement["Principal"] if kind != "Service"]
        yield trusted == [principal] and not others, f"{name}: trusted by {', '.join(trusted + others)}"
        attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
        yield (
            not attached,
            f"{name}: attached policies: {', '.join(policy['PolicyName'] for policy in attached) or 'none'}",
        )
        policies = iam.list_role_policies(RoleName=name)["PolicyNames"]
        found = [iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"] for policy in policies]
        faults = [why for policy in found for statement in document(policy) for why in wide(statement)]
        yield bool(policies) and not faults, f"{name}: too wide: {', '.join(faults) or 'nothing'}"


def document(found: Any) -> list[dict[str, Any]]:
    """The statements of a policy, which is a text encoded for URLs or read already."""
    read = json.loads(unquote(found)) if isinstance(found, str) else found
    statements = read["Statement"]
    return statements if isinstance(statements, list) else [statements]


if __name__ == "__main__":
    sys.exit(main(check))
