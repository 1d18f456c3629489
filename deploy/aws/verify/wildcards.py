"""What is too wide in a policy: any `*` or `?` but these, each with its reason.

The tests and verify_iam_roles.py use it.
"""

import re
from typing import Any

# What a resource may be, by the actions of its statement or by its own form.
ANY_RESOURCE = {"ecr:GetAuthorizationToken": "a token is for the registry of the account; AWS knows no resource for it"}
ENDINGS = {
    r"arn:aws:s3:::[^*?/]+/([^*?]+/)?\*": "objects that come later: one bucket, and one prefix where there is one",
    r"arn:aws:logs:[^*?]+:log-group:[^*?]+:\*": "the streams of one log group",
}
# A policy that belongs to one key: its resource is that key, which AWS writes as *.
OF_ITSELF = {"kms": "the policy of a key"}
_SIGNS = {"*", "?"}  # for any text, and for any one character


def wide(statement: dict[str, Any], *, of_itself: str = "") -> list[str]:
    """Why a statement is too wide, in words; empty where it is not. What it denies may be as wide as it wants.

    Args:
        of_itself: The service whose key or queue the policy belongs to.
    """
    if statement.get("Effect") == "Deny":
        return []
    actions, resources = listed(statement.get("Action")), listed(statement.get("Resource"))
    found = [f"the action {action}" for action in actions if _SIGNS & set(action)]
    found += [
        f"everything but {allowed}"
        for allowed in listed(statement.get("NotAction")) + listed(statement.get("NotResource"))
    ]
    for resource in resources:
        if resource == "*" and of_itself in OF_ITSELF:
            continue
        if resource == "*" and actions and all(action in ANY_RESOURCE for action in actions):
            continue
        if _SIGNS & set(resource) and not any(re.fullmatch(ending, resource) for ending in ENDINGS):
            found.append(f"the resource {resource}")
    return found


def listed(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)
