"""What README and CONTRIBUTING say of `make test` is what it has."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pytest

from shroff.adapters.log.tables.rows import APPEND_STEPS as STEPS
from shroff.web.http.routes import GROUPS
from tests.conftest import LONG_FOLDERS
from tests.support.servers import KINDS
from tests.support.timing import WHOLE
from tools import suite

README: Final = (suite.ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING: Final = (suite.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
# One journey in a browser for each group of the menu.
IN_A_BROWSER: Final = {
    "Queue": "test_ten_cases_are_cleared_by_keyboard_alone",
    "Explore": "test_a_card_is_found_by_a_part_of_its_key_and_blocked_with_reason_and_end_and_undo",
    "Policy": "test_a_rule_from_a_typo_to_being_in_force_and_back",
    "Learning": "test_a_model_is_promoted_with_a_reason_and_taken_back",
    "Results": "test_every_screen_is_for_everybody_and_stays_within_its_screen",
    "System": "test_a_passkey_is_made_signs_in_alone_and_is_removed",
}


@pytest.fixture
def usual(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    """The tests of `make test` by their names."""
    if os.environ.get(WHOLE) not in {"all", "long"}:
        pytest.skip("only `make test` and `make test-long` have collected all tests")
    return {item.nodeid: item for item in request.session.items if not item.get_closest_marker("long")}


def functions(usual: Mapping[str, Any]) -> set[str]:
    return {item.originalname for item in usual.values() if hasattr(item, "originalname")}


def test_every_room_has_unit_tests_and_laws_run_whole(usual):
    rooms = {path.name for path in (suite.ROOT / "tests").iterdir() if any(path.glob("test_*.py"))}
    folders = {name.split("/")[1] for name in usual}
    laws = {path.name for path in (suite.ROOT / "tests" / "laws").glob("test_*.py")}

    assert "the unit tests of every room, all laws at a small size" in README
    assert rooms - folders == LONG_FOLDERS
    assert {name.split("/")[2].partition("::")[0] for name in usual if name.startswith("tests/laws/")} == laws


def test_the_embedded_log_keeps_the_whole_contract_and_every_server_is_asked_for(usual):
    embedded = [name for name in usual if name.startswith("tests/contracts/test_log_sqlite.py::TestSqliteLog::")]
    asked = {name for item in usual.values() for name in asked_by(item)} & KINDS.keys()

    assert "the whole contract of the embedded log and a smoke of every other adapter against its real server" in README
    assert {name.rpartition("::")[2].partition("[")[0] for name in embedded} >= contract_of(usual[embedded[0]].cls)
    assert asked == KINDS.keys()


def asked_by(item: Any) -> Sequence[str]:
    """Fixtures of a test, and what a parameter of it names."""
    given = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return [*getattr(item, "fixturenames", ()), *(value for value in given if isinstance(value, str))]


def contract_of(suite_of_tests: type) -> set[str]:
    return {name for name in dir(suite_of_tests) if name.startswith("test_")}


def test_a_commit_is_killed_at_each_step(usual):
    killed = [item for name, item in usual.items() if name.startswith("tests/adapters/test_log_sqlite.py")]
    steps = {item.callspec.params.get("step") for item in killed if hasattr(item, "callspec")}

    assert "one kill at each step of a commit" in README
    assert steps >= set(STEPS)
    assert any(name.startswith("tests/recovery/test_kill.py::test_kills_at_every_step") for name in usual)


def test_each_group_of_the_menu_has_a_journey_in_a_browser(usual):
    assert "one journey in a browser for each group of the menu" in README
    assert IN_A_BROWSER.keys() == set(GROUPS)
    assert functions(usual) >= set(IN_A_BROWSER.values())


def test_the_readme_the_tutorial_and_a_whole_demo_are_tried(usual):
    tried = {name.partition("[")[2][:-1] for name in usual if "::test_the_examples_of_a_page_run_and_print" in name}
    tutorial = {f"docs/tutorial/{path.name}" for path in (suite.ROOT / "docs" / "tutorial").glob("*.md")}

    assert "this page and the tutorial, and one whole demo" in README
    assert tried <= {"README.md", *tutorial}
    assert len(tried) >= 3
    assert "test_from_the_printed_address_to_a_decided_case_and_a_customers_answer" in functions(usual)


def test_contributing_says_what_each_command_leaves_out():
    (check,) = re.findall(r"^\| `make check` \|(.*)\|$", CONTRIBUTING, re.MULTILINE)

    assert set(re.findall(r"`tests/(\w+)`", check)) == set(suite.NOT_QUICK)
    assert set(re.findall(r"marked `(\w+)`", check)) <= set(suite.PATIENT)
    assert suite.MARKS[None] == "not long"


def test_contributing_says_in_200_words_how_tests_are_run():
    _, _, rest = CONTRIBUTING.partition("\n## Tests\n")
    section, _, _ = rest.partition("\n## ")

    assert 0 < len(section.split()) <= 200
