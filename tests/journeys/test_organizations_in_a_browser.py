"""Somebody with a role in two organizations: signs in once, changes between them, and sees the cases of each alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

from shroff.config import TEMPLATE_FOLDER
from shroff.people.access import Role
from tests.journeys.test_cases import RULE
from tests.support.browsers import Looker, chromium
from tests.support.patience import PATIENCE_MS, until
from tests.support.served import Served, key_of, served
from tests.support.webs import PASSWORD
from tests.web.test_organizations import PAYMENT, person

pytestmark = [pytest.mark.slow, pytest.mark.long]  # web/test_organizations holds who sees what


def pay(service: Served, name: str, key: str) -> None:
    """Have one case in an organization, about a card of its name."""
    path = f"/o/{name}/api/v1"
    with service.client(key) as client:
        until(lambda: client.get(f"{path}/cases").status_code == 200)
        event = {**PAYMENT, "card": f"c-{name}", "merchant": f"m-{name}"}
        assert client.post(f"{path}/events/payment", json=event).status_code == 200
        until(lambda: client.get(f"{path}/cases").json()["totals"]["count"] == 1)


def test_a_person_changes_between_organizations_and_sees_the_cases_of_each_alone(tmp_path: Path):
    home, folders = tmp_path / "home", {name: tmp_path / "banks" / name for name in ("north", "south")}
    for folder in (home, *folders.values()):
        shutil.copytree(TEMPLATE_FOLDER / ("payments" if folder != home else "blank"), folder)
    person(home, "ben", Role.MEMBER)
    keys = {name: key_of(folder) for name, folder in folders.items()}
    for folder in folders.values():
        (folder / "rules/any.yaml").write_text(RULE, encoding="utf-8")
        person(folder, "ben", Role.ANALYST, "")
    with served(home, "--organizations", str(tmp_path / "banks")) as service, chromium() as browser:
        for name, key in keys.items():
            pay(service, name, key)
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        looker = Looker(page, service.url)
        looker.open("/login")
        page.fill("#name", "ben")
        page.fill("#password", PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.wait_for_url("**/me")
        page.locator("#organizations").get_by_role("link", name="north").click()
        for name, other in (("north", "south"), ("south", "north"), ("north", "")):
            page.wait_for_url(f"**/o/{name}/queue")
            expect(page.get_by_role("main")).to_contain_text(f"c-{name}")
            assert ("c-south" in page.content(), "c-north" in page.content()) == (name == "south", name == "north")
            menu = page.locator("details.organizations")
            expect(menu.locator("summary")).to_have_text(name)
            menu.locator("summary").click()
            expect(menu.get_by_role("link")).to_have_text(["north", "south"])
            if name == "south":
                looker.look()
            if other:
                menu.get_by_role("link", name=other).click()
        assert looker.mistakes == []
