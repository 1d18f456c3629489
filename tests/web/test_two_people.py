"""A second person for models, thresholds and users; passwords off; networks from which the service answers."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

import msgspec
import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.errors import DefinitionError, NotAllowedError, SignInError
from shroff.people import keys as keys_module
from shroff.people import links, sessions, users
from shroff.people.access import Role
from shroff.people.store import rows_of
from shroff.project.settings.systems import SignInSettings
from shroff.runtime.values import replace
from shroff.services import project as app
from shroff.services.approvals.agreements import WaitsError
from shroff.services.models.deployment import Deployment
from shroff.services.models.operations import PromoteModel
from shroff.services.models.promotion import Promotions
from shroff.services.rules.files import ChangedMeanwhileError
from tests.support.trained import fitted_to
from tests.support.webs import PASSWORD, Asker, Browser, run
from tests.web.test_people import call, page_of, send

pytestmark = pytest.mark.slow


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    folder = tmp_path / "bank"
    shutil.copytree(TEMPLATE_FOLDER / "payments", folder)
    with (folder / "shroff.yaml").open("a") as file:
        file.write("\nsecond_person: [models, thresholds, users]\n")
    fitted = fitted_to((("payment.amount", ()),), 1)
    manifest = {
        "id": "m-1",
        "event": "payment",
        "format": fitted.format,
        "learner": "xgboost",
        "inputs": [{"name": "payment.amount", "kind": "number", "categories": []}],
    }
    app.open_exactly(folder).context.registry.write(manifest, fitted.files)
    return folder


async def second(asks: Asker, name: str = "ben", role: Role = Role.ADMIN) -> Browser:
    """Another person, who was let in before the setting."""
    admin = asks.service.project.context.who
    await asyncio.to_thread(users.add, asks.service.desk, admin, name, role, password=PASSWORD)
    browser = Browser(asks)
    assert (await browser.post("/login", {"name": name, "password": PASSWORD})).status == 303
    return browser


def test_a_model_that_one_person_alone_promotes_is_refused(bank, monkeypatch):
    promoted = list[str]()

    def promote(self: Promotions, id_: str, **_: object) -> Deployment:
        promoted.append(self._context.who.name)
        return Deployment(event="payment", model=id_, what="promoted", champion=id_, in_force=True)

    monkeypatch.setattr(Promotions, "promote", promote)

    async def steps(asks: Asker, browser: Browser) -> None:
        other = await second(asks, role=Role.AUTHOR)
        wanted = {"do": "promote", "reason": "it finds more"}
        for _ in range(2):
            first = await call(browser, "POST", "/api/v1/models/m-1", wanted)
            assert first.status == 403
            assert first.json()["type"].endswith("waits-for-second")
        different = await call(other, "POST", "/api/v1/models/m-1", {**wanted, "waive": ["brier at most 0.1"]})
        assert different.status == 403, "it is not what was requested"
        key = (await call(browser, "POST", "/api/v1/keys", {"name": "ci", "role": "author"})).json()["key"]
        bearer = {"authorization": f"Bearer {key}", "accept": "*/*"}
        asked = msgspec.json.encode(wanted)
        assert (await Browser(asks).send("POST", "/api/v1/models/m-1", asked, bearer)).status == 403
        assert promoted == []

        agreed = await send(other, "/models/m-1", do="promote", reason="I looked at its errors too")
        assert agreed.status == 303
        assert promoted == ["ben"]
        again = await send(browser, "/models/m-1", do="promote", reason="once more")
        assert b"another person does the same" in again.body, "an approval counts once"
        with pytest.raises(NotAllowedError, match="works only in the service"):
            asks.service.project.run(PromoteModel(id="m-1"))
        assert promoted == ["ben"]
        told = [(row.name, row.action) for row in rows_of(asks.service.desk.store) if row.action == "change.ask"]
        assert ("ann", "change.ask") in told

    run(bank, steps)


def test_thresholds_and_roles_take_two_and_locking_out_takes_one(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        other = await second(asks)
        tag = {"if-match": "*", "content-type": "application/json", "accept": "*/*"}
        body = msgspec.json.encode({"reason": "cheaper", "review_at": 0.5, "decline_at": 0.9})
        for who, status in ((browser, 403), (other, 200)):
            headers = {**tag, "x-csrf-token": await who.csrf()}
            assert (await who.send("PUT", "/api/v1/thresholds/payment", body, headers)).status == status
        assert "0.9" in (bank / "policy.yaml").read_text()

        for path, form in (
            ("/settings/users", {"name": "eve", "role": "admin"}),
            ("/settings/users/ben", {"do": "role", "role": "viewer"}),
            ("/settings/users/ben", {"do": "link"}),
            ("/settings/users/ben", {"do": "factor"}),
        ):
            assert (await send(browser, path, **form)).status == 422
        assert {user.name for user in users.all_users(asks.service.desk)} == {"ann", "ben"}
        made = await send(other, "/settings/users", name="eve", role="admin")
        assert (made.status, b"Send this link" in made.body) == (200, True)
        assert (await send(browser, "/settings/users/ben", do="disable")).status == 303
        assert (await other.get("/me")).status == 303

    run(bank, steps)


def test_one_page_has_all_that_waits_and_who_asked_does_not_approve(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        ben = await second(asks)
        look = await second(asks, "eve", Role.VIEWER)
        assert (await send(browser, "/settings/keys", name="ci", role="admin")).status == 422
        assert (await send(browser, "/settings/keys", name="till", role="service")).status == 200
        await call(browser, "POST", "/api/v1/models/m-1", {"do": "promote", "reason": "it finds more"})
        await send(browser, "/settings/users", name="fay", role="viewer")
        keys, model, fay = (await call(ben, "GET", "/api/v1/approvals")).json()["approvals"]
        assert (keys["by"], keys["says"]) == ("ann", "act keys create, name ci, role admin")
        assert (await call(look, "GET", "/api/v1/approvals")).json() == {"approvals": []}
        path = f"/api/v1/approvals/{keys['etag']}"
        yes = {"approve": True}
        assert [(await call(who, "PUT", path, yes)).status for who in (look, browser)] == [403, 403]
        assert (await call(ben, "PUT", "/api/v1/approvals/x", yes)).status == 404
        for change in ({"role": "admin", "display_name": "Ada"}, {"disabled": False}):
            assert (await call(browser, "PATCH", "/api/v1/users/eve", change)).status == 403
        cuts = {"reason": "cheaper", "review_at": 0.5, "decline_at": 0.9}
        head = {"if-match": "*", "content-type": "application/json", "x-csrf-token": await browser.csrf()}
        await browser.send("PUT", "/api/v1/thresholds/payment", msgspec.json.encode(cuts), {**head, "accept": "*/*"})
        page = await page_of(browser, "/approvals")
        for earlier in (
            "role from viewer to admin, display name from eve to Ada",
            "disabled from yes to no",
            "review at from none to 0.5, decline at from none to 0.9",
        ):
            assert earlier in page, earlier
        for asked in (await call(browser, "GET", "/api/v1/approvals")).json()["approvals"][3:]:
            await call(browser, "PUT", f"/api/v1/approvals/{asked['etag']}", {"approve": False})
        page = await page_of(browser, "/approvals")
        assert (page.count(">Withdraw<"), page.count(">Approve<")) == (3, 0)

        made = await send(ben, f"/approvals/{keys['etag']}", do="approve")
        found = re.search(rb"shroff_[a-z0-9]{12}_[0-9a-f]{64}", made.body)
        assert found is not None
        assert (await asks.ask("GET", "/metrics", key=found[0].decode())).status == 200
        assert (await call(ben, "PUT", path, yes)).status == 404, "an approval counts once"
        away = await call(browser, "PUT", f"/api/v1/approvals/{fay['etag']}", {"approve": False})
        assert away.json() == {"says": "The request is withdrawn."}
        assert (await call(ben, "PUT", f"/api/v1/approvals/{fay['etag']}", yes)).status == 404
        left = (await call(ben, "GET", "/api/v1/approvals")).json()["approvals"]
        assert [change["etag"] for change in left] == [model["etag"]]
        told = [row.action for row in rows_of(asks.service.desk.store) if row.action.startswith("change.")]
        assert told == [*["change.ask"] * 7, *["change.withdraw"] * 4]

        assert (await send(browser, "/settings/users/ben", do="disable")).status == 303
        (ci,) = [key for key in keys_module.all_keys(asks.service.desk) if key.name == "ci"]
        assert (ci.made_by, ci.revoked_at_ms) == ("ann", None), "it ends with who asked for it"

    run(bank, steps)


def test_who_was_renamed_or_removed_and_came_back_is_no_second_person(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        desk, root = asks.service.desk, asks.service.project.context.who
        ben = await second(asks)
        assert (await send(ben, "/settings/users", name="fay", role="viewer")).status == 422
        users.rename(desk, root, "ben", display_name="Benjamin", email="", new_name="benjamin")
        assert (await send(ben, "/settings/users", name="fay", role="viewer")).status == 422
        users.delete(desk, root, "benjamin")
        again = await second(asks, "benjamin")
        assert (await send(again, "/settings/users", name="fay", role="viewer")).status == 422
        assert "fay" not in {user.name for user in users.all_users(desk)}

        assert (await send(browser, "/settings/users", name="fay", role="viewer")).status == 200

    run(bank, steps)


def test_an_approval_counts_once_in_two_tabs_and_not_where_the_act_fails(bank):
    project = app.open_exactly(bank)
    approvals = project.agreements
    people = [replace(project.context.who, kind="user", id=name, name=name) for name in ("ann", "ben", "eve")]
    asked, tab, other = (project.acting_as(who).agreements for who in people)
    with pytest.raises(WaitsError), asked.need("users", "user fay", {"name": "fay"}):
        pass
    with pytest.raises(LookupError), tab.need("users", "user fay", {"name": "fay"}):
        raise LookupError
    assert [approval.by for approval in approvals.all()] == ["ann"], "it waits again"

    with pytest.raises(ChangedMeanwhileError), tab.need("users", "user fay", {"name": "fay"}):
        raise ChangedMeanwhileError("fay was changed meanwhile")
    assert approvals.asked("user fay") == [], "it ends: what it was for is not there any more"
    assert [approval.ended for approval in approvals.all()] == ["fay was changed meanwhile"]
    with pytest.raises(WaitsError), asked.need("users", "user fay", {"name": "fay"}):
        pass
    assert [approval.ended for approval in approvals.all()] == [""]

    with tab.need("users", "user fay", {"name": "fay"}) as by:
        assert by == "ann"
        tab.agrees = other.agrees = lambda *_: True  # both looked before either was done
        with pytest.raises(ChangedMeanwhileError), other.need("users", "user fay", {"name": "fay"}):
            pass
    assert approvals.all() == []


def test_without_passwords_only_the_provider_signs_in(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        desk, admin = asks.service.desk, asks.service.project.context.who
        off = replace(desk, settings_now=lambda: SignInSettings(has_passwords=False))
        path = links.for_password(desk, admin, "ann").removeprefix(links.PATH)
        with pytest.raises(SignInError, match=sessions.WRONG):
            sessions.sign_in(off, "ann", PASSWORD, "1.2.3.4")
        with pytest.raises(SignInError, match="passwords are off here"):
            links.use(off, path, "staple of another kind")
        assert sessions.sign_in(desk, "ann", PASSWORD, "1.2.3.4").user.name == "ann", "nothing was changed"

    run(bank, steps)


def test_passwords_are_off_only_beside_a_provider_and_networks_are_networks(bank):
    with (bank / "shroff.yaml").open("a") as file:
        file.write("sign_in: { passwords: false }\nweb: { networks: [10.0.0.0/33] }\n")
    with pytest.raises(DefinitionError) as raised:
        _ = app.open(bank).definitions
    problems = {problem.message for problem in raised.value.problems}

    assert any("without passwords, nobody could sign in" in message for message in problems)
    assert any("networks: 10.0.0.0/33 is neither an address nor a network" in message for message in problems)


def test_the_service_answers_the_networks_that_are_set(bank):
    with (bank / "shroff.yaml").open("a") as file:
        file.write("web: { networks: [127.0.0.1, 10.0.0.0/8] }\n")

    async def steps(asks: Asker, browser: Browser) -> None:
        for address, status in (("10.1.2.3", 200), ("::ffff:10.1.2.3", 200), ("192.0.2.1", 403), ("::1", 403)):
            assert (await asks.ask("GET", "/login", key="", address=address)).status == status
            refused = 401 if status == 200 else 403
            assert (await asks.ask("GET", "/metrics", key="", address=address)).status == refused
        assert (await asks.ask("GET", "/health/live", key="", address="192.0.2.1")).status == 200
        assert (await asks.ask("GET", "/confirm/x", key="", address="192.0.2.1")).status == 404
        assert (await browser.get("/me")).status == 200

    run(bank, steps)


DEAR = """- id: dear
  on: payment
  by: card
  when: this.amount > 500
  reason: "dear"
  effect: review
"""


def test_the_author_of_a_draft_reads_whom_to_ask_and_the_second_person_approves_where_it_waits(bank):
    settings = bank / "shroff.yaml"
    settings.write_text(settings.read_text("utf-8").replace("[models, thresholds, users]", "[rules]"), "utf-8")

    async def steps(asks: Asker, browser: Browser) -> None:
        cem, vic = await second(asks, "cem", Role.AUTHOR), await second(asks, "vic", Role.VIEWER)
        for text in (DEAR, DEAR.replace("500", "600")):
            tag = "".join(re.findall(r'name="tag" value="([^"]*)"', await page_of(cem, "/rules/dear/draft"))[:1])
            assert (await send(cem, "/rules/dear/draft", text=text, tag=tag)).status == 303
        for path in ("/rules/dear/draft", "/approvals"):
            page = await page_of(cem, path)
            assert re.search("Ask Ann Lee(:| to approve it)", page)
            assert "/draft/approve" not in page
        assert "Waits for approval" in await page_of(vic, "/rules/dear")
        assert "/draft/approve" not in await page_of(vic, "/approvals")
        page = await page_of(browser, "/approvals")
        assert "when: this.amount &gt; 600" in page  # what changes
        assert "No backtest of this draft yet" in page
        for path in ("/rules/dear/draft#next", *re.findall(r'href="([^"]*/draft[^"]*)"', page)):
            assert 'action="/rules/dear/draft/approve"' in await page_of(browser, path.partition("#")[0])
        (tag,) = re.findall(r'action="/rules/dear/draft/approve">.*?name="tag" value="([^"]+)"', page)
        assert (await send(browser, "/rules/dear/draft/approve", tag=tag)).status == 303
        assert "Nothing waits." in await page_of(browser, "/approvals")
        assert "Approved by Ann Lee." in await page_of(cem, "/rules/dear/draft")

    run(bank, steps)
