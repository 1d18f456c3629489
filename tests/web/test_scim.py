"""SCIM at the door: discovery, pages, errors in SCIM's form, and that only a key for this alone opens it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from urllib.parse import urlencode

import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.people.access import RIGHTS, Right, Role, Who
from tests.people.test_directory import GROUP, OKTA_USER, USER, operations
from tests.support.webs import Answered, Asker, asker

pytestmark = pytest.mark.slow

ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"


def test_a_provider_looks_around_and_sends_users_and_groups(tmp_path: Path):
    folder = shutil.copytree(TEMPLATE_FOLDER / "payments", tmp_path / "bank")
    with (folder / "shroff.yaml").open("a") as file:
        file.write("sign_in: { scim: { roles: { fraud-team: analyst } } }\n")

    async def steps(asks: Asker) -> None:
        known = asks.service.gate.known
        known["okta"] = Who("key", "key-okta", "okta", Role.ADMIN, frozenset({Right.PROVISION_USERS}))

        async def call(method: str, path: str, body: object = b"", key: str = "okta", status: int = 200) -> Answered:
            more = {"media_type": "application/scim+json", "headers": {"host": "shroff.test"}}
            found = await asks.ask(method, f"/scim/v2/{path}", body, key=key, **more)
            assert found.status == status, found.body
            if found.body and not (status == 401 and key == ""):
                assert found.headers["content-type"] == "application/scim+json"
            return found

        config = (await call("GET", "ServiceProviderConfig")).json()
        assert (config["patch"], config["filter"]["maxResults"]) == ({"supported": True}, 200)
        unsupported = {
            name for name, value in config.items() if isinstance(value, dict) and not value.get("supported", 1)
        }
        assert unsupported == {"bulk", "etag", "changePassword"}
        types = (await call("GET", "ResourceTypes")).json()
        assert [(row["endpoint"], row["schema"]) for row in types["Resources"]] == [
            ("/Users", USER),
            ("/Groups", GROUP),
        ]
        assert (await call("GET", f"Schemas/{USER}")).json()["id"] == USER
        assert (await call("GET", "Schemas/x", status=404)).json()["schemas"] == [ERROR]

        empty = (
            await call("GET", "Users?filter=userName%20eq%20%22test.user%40okta.local%22&startIndex=1&count=100")
        ).json()
        assert (empty["totalResults"], empty["Resources"]) == (0, [])
        made = await call("POST", "Users", OKTA_USER, status=201)
        id_ = made.json()["id"]
        assert made.headers["location"] == made.json()["meta"]["location"] == f"http://shroff.test/scim/v2/Users/{id_}"
        assert (await call("GET", f"Users/{id_}")).json() == made.json()
        again = (await call("POST", "Users", OKTA_USER, status=409)).json()
        assert (again["scimType"], again["status"], again["schemas"]) == ("uniqueness", "409", [ERROR])
        for number in range(3):
            await call("POST", "Users", {"userName": f"u{number}"}, status=201)
        page = (await call("GET", "Users?startIndex=2&count=2")).json()
        assert (page["totalResults"], page["startIndex"], page["itemsPerPage"]) == (4, 2, 2)
        assert [item["userName"] for item in page["Resources"]] == ["u0", "u1"]
        for name in ("startIndex", "count"):
            wrong = (await call("GET", f"Users?{name}=abc", status=400)).json()
            assert wrong["scimType"] == "invalidValue"
        for query, total, names in (
            ("count=0", 4, []),
            ("count=4294967296&startIndex=4", 4, ["u2"]),
            ("count=-1&startIndex=0", 4, []),
            ("sortBy=userName&sortOrder=descending&count=2", 4, ["u2", "u1"]),
            ("filter=userName+sw+%22u%22+and+not+(userName+eq+%22u1%22)", 2, ["u0", "u2"]),
        ):
            page = (await call("GET", f"Users?{query}")).json()
            assert (page["totalResults"], [item["userName"] for item in page["Resources"]]) == (total, names)

        group = {"displayName": "fraud-team", "members": [{"value": id_}, {"value": "user-99"}]}
        team = (await call("POST", "Groups", group, status=201)).json()
        assert team["members"] == [{"value": id_}]
        assert "members" not in (await call("GET", f"Groups/{team['id']}?excludedAttributes=x,%20MEMBERS")).json()
        asked = f'id eq "{team["id"]}" and members[value eq "{id_}"]'
        (row,) = (await call("GET", f"Groups?excludedAttributes=members&{urlencode({'filter': asked})}")).json()[
            "Resources"
        ]
        assert (row["id"], "members" in row) == (team["id"], False)
        off = operations({"op": "Replace", "path": "active", "value": "False"})
        assert (await call("PATCH", f"Users/{id_}", off)).json()["active"] is False
        assert (await call("DELETE", f"Users/{id_}", status=204)).body == b""
        assert (await call("GET", f"Users/{id_}", status=404)).json()["status"] == "404"

        for method, path, body, status, code in (
            ("GET", "Users?filter=title%20pr", b"", 400, "invalidFilter"),
            ("GET", "Users?sortBy=title", b"", 400, "invalidPath"),
            ("GET", "Users?count=many", b"", 400, "invalidValue"),
            ("POST", "Bulk", {"Operations": []}, 501, None),
            ("POST", "Users", b"{", 400, "invalidValue"),
            ("POST", "Users", b"[" * 100_000, 400, "invalidValue"),
            ("POST", "Users", {"displayName": "x"}, 400, "invalidValue"),
            ("POST", "Users", {"userName": "x" * 501}, 400, "invalidValue"),
            ("POST", "Users", b" " * (4 * 1024 * 1024 + 1), 413, None),
            ("PATCH", f"Groups/{team['id']}", {"Operations": "x"}, 400, "invalidPath"),
            ("GET", "Bulk", b"", 405, None),
            ("DELETE", "Users", b"", 405, None),
        ):
            refused = (await call(method, path, body, status=status)).json()
            assert (refused["schemas"], refused["status"], refused.get("scimType")) == ([ERROR], str(status), code)

        known["both"] = Who("key", "key-both", "both", Role.ADMIN, frozenset({Right.PROVISION_USERS, Right.SCORE}))
        session = Who("user", "user-1", "ann", Role.ADMIN, RIGHTS[Role.ADMIN])
        known["session"] = session
        for key, status in (
            ("", 401),
            ("unknown", 401),
            ("admin", 403),
            ("analyst", 403),
            ("service", 403),
            ("both", 403),
            ("session", 403),
        ):
            assert (await call("GET", "Users", key=key, status=status)).json()["status"] == str(status)
        assert (await asks.ask("GET", "/api/v1/users", key="okta")).status == 403

    async def whole() -> None:
        async with asker(folder) as asks:
            await steps(asks)

    asyncio.run(whole())


def test_without_the_setting_nobody_is_sent(tmp_path: Path):
    folder = shutil.copytree(TEMPLATE_FOLDER / "payments", tmp_path / "bank")

    async def whole() -> None:
        async with asker(folder) as asks:
            only = Who("key", "key-okta", "okta", Role.ADMIN, frozenset({Right.PROVISION_USERS}))
            asks.service.gate.known["okta"] = only
            found = await asks.ask("POST", "/scim/v2/Users", OKTA_USER, key="okta")
            assert (found.status, found.json()["schemas"]) == (403, [ERROR])
            assert "sign_in.scim" in found.json()["detail"]

    asyncio.run(whole())
