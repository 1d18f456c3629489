"""No body of a request, however it is nested or typed, is taken for a mistake of the program."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.json import encode as to_json

from shroff.config import TEMPLATE_FOLDER
from shroff.people.access import Right, Role, Who
from shroff.web.table import ROUTES
from tests.support.webs import Asker, asker

pytestmark = pytest.mark.slow

SCIM_NAMES = [*"userName displayName emails members name active externalId roles Operations schemas value id".split()]
SCIM_PATHS = ["userName", 'emails[type eq "work"].value', "members", 'members[value eq "x"]', "name.familyName", "", 7]


DEEP = b'{"a":' * 2_000 + b"1" + b"}" * 2_000


def value(random: Random, depth: int = 0) -> Any:
    """A JSON value of any type, mostly small and sometimes deep."""
    kind = random.randrange(9 if depth < 3 else 6)
    if kind == 6:
        return [value(random, depth + 1) for _ in range(random.randrange(3))]
    if kind == 7:
        return {random.choice(SCIM_NAMES): value(random, depth + 1) for _ in range(random.randrange(4))}
    if kind == 8:
        return nested(random.choice([10, 20, 200]))
    return [None, True, 0, -1.5, "", "\x00é\ud7ff"][kind]


def nested(levels: int) -> Any:
    found: Any = "x"
    for _ in range(levels):
        found = {"value": [found]}
    return found


def scim_body(random: Random) -> bytes:
    if random.random() < 0.5:
        return to_json({name: value(random) for name in random.sample(SCIM_NAMES, 3)} | {"userName": "x"})
    operations = [
        {
            "op": random.choice(["add", "Replace", "remove", 7]),
            "path": random.choice(SCIM_PATHS),
            "value": value(random),
        }
        for _ in range(random.randrange(1, 3))
    ]
    return to_json({"Operations": operations})


def run(tmp_path: Path, steps: Any) -> None:
    folder = shutil.copytree(TEMPLATE_FOLDER / "payments", tmp_path / "bank")
    with (folder / "shroff.yaml").open("a") as file:
        file.write("sign_in: { scim: { roles: { fraud-team: analyst } } }\n")

    async def whole() -> None:
        async with asker(folder) as asks:
            rights = frozenset({Right.PROVISION_USERS})
            asks.service.gate.known["okta"] = Who("key", "key-okta", "okta", Role.ADMIN, rights)
            await steps(asks)

    asyncio.run(whole())


def test_no_body_of_an_identity_provider_is_a_mistake_of_the_program(tmp_path):
    random = Random(5)

    async def steps(asks: Asker) -> None:
        made = await asks.ask("POST", "/scim/v2/Users", {"userName": "ann"}, key="okta")
        group = await asks.ask("POST", "/scim/v2/Groups", {"displayName": "fraud-team"}, key="okta")
        paths = [f"Users/{made.json()['id']}", f"Groups/{group.json()['id']}"]
        calls = [
            ("POST", "Users"),
            ("POST", "Groups"),
            *((method, path) for method in ("PUT", "PATCH") for path in paths),
        ]
        statuses = set[int]()
        for _ in range(300):
            method, path = random.choice(calls)
            body = scim_body(random)
            answer = await asks.ask(method, f"/scim/v2/{path}", body, key="okta")
            statuses.add(answer.status)
            assert answer.status < 500, (method, path, body[:300])
        assert {200, 400} <= statuses

    run(tmp_path, steps)


def test_no_route_takes_a_nested_body_for_a_mistake_of_the_program(tmp_path):
    bodies = [b"[" * 50_000, to_json(nested(200)), to_json([nested(20)] * 2), DEEP, b'{"a":' * 50_000]

    async def steps(asks: Asker) -> None:
        for route in ROUTES:
            key = "okta" if route.right == Right.PROVISION_USERS else "admin"
            path = re.sub(r"{\w+}", "x", route.path)
            for body in bodies if route.method in {"POST", "PUT", "PATCH"} else ():
                answer = await asks.ask(route.method, path, body, key=key)
                assert answer.status < 500 or answer.status == 501, (route.method, path, body[:20], answer)

    run(tmp_path, steps)
