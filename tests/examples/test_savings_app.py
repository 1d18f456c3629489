"""The whole savings app by its README's command; its flags, counts and tables are those of plain Python."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter, defaultdict
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

import shroff
from tests.deploy import terraform
from tests.deploy.checks import DEPLOY
from tests.support.forks import PYTHON

pytestmark = pytest.mark.long

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
HALF_YEAR_MS = 4_380 * HOUR_MS
UNITS = {"HUNDREDTH_CENT": Decimal("0.0001"), "WHOLE_CENT": Decimal("0.01"), "WHOLE_CURRENCY": Decimal(1)}
PREFIX = {  # the five rules, by their first words
    1: "single_very_large",
    2: "saving_events_greater",
    3: "latest_saving_event",
    4: "withdrawals_within_two",
    5: "withdrawals_within_one",
}


class Move(NamedTuple):
    """Money in or out."""

    id: str
    user: str
    is_in: bool
    at_ms: int
    amount: Decimal
    sent: Decimal
    context: str


@pytest.fixture(scope="module")
def folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command of the README leaves."""
    readme = (root / "examples/savings-app/README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^    (\.venv/bin/python .*)$", readme, re.MULTILINE)
    place = tmp_path_factory.mktemp("example") / "savings-app"
    _, *words = line.replace("/tmp/savings-app", str(place)).split()
    done = subprocess.run([PYTHON, *words], cwd=root, capture_output=True, text=True, check=False)

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    for shown in ("0 mismatches", "Nothing is wrong.", "What a person does next:", "403 the signature is not that of"):
        assert shown in done.stdout, done.stdout
    assert "Suspicious: 1 of 24 parts cannot be read to their end: T06" in done.stdout
    return place / "app"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def rows(folder: Path, table: str) -> list[dict[str, Any]]:
    return [line for path in sorted((folder.parent / "bigquery" / table).glob("*")) for line in lines(path)]


def moves(folder: Path) -> list[Move]:
    """The savings and withdrawals that SNS brought, in order."""
    found = []
    for number, line in enumerate(lines(folder / "sent/sns.jsonl")):
        context = json.loads(line["context"])
        text = context.get("savedAmount", context.get("withdrawalAmount"))
        if text is not None:
            count, unit, _ = text.split("::")
            sent = abs(int(count)) * UNITS[unit]
            cents = sent.quantize(Decimal("0.01"), ROUND_HALF_EVEN)
            is_in = "savedAmount" in context
            found.append(Move(f"m-{number}", line["userId"], is_in, line["timestamp"], cents, sent, line["context"]))
    return found


def flagged(every: list[Move]) -> list[tuple[int, str]]:
    """Which rule flags at which move: each counts, per user, what came after its own last flag."""
    last, found = defaultdict[tuple[int, str], int](lambda: -1), []

    def matched(place: int, hours: int) -> int:
        out = every[place]
        return sum(
            item.user == out.user
            and item.is_in
            and 0 <= out.at_ms - item.at_ms < hours * HOUR_MS
            and Decimal("0.95") * item.amount <= out.amount <= item.amount
            for item in every[:place]
        )

    for place, now in enumerate(every):
        for rule in (1, 2, 3) if now.is_in else (4, 5):
            seen = [
                (at, move)
                for at, move in enumerate(every[: place + 1])
                if at > last[rule, now.user] and move.user == now.user and move.is_in == now.is_in
            ]
            before = [move.amount for at, move in seen if at < place and now.at_ms - move.at_ms < HALF_YEAR_MS]
            days, hours, most = (30, 48, 3) if rule == 4 else (7, 24, 1)
            if rule == 1:
                is_hit = any(move.amount > 100_000 for _, move in seen)
            elif rule == 2:
                is_hit = sum(move.amount > 50_000 and now.at_ms - move.at_ms < HALF_YEAR_MS for _, move in seen) >= 3
            elif rule == 3:
                is_hit = bool(before) and now.amount * len(before) > 10 * sum(before)
            else:
                is_hit = sum(matched(at, hours) for at, move in seen if now.at_ms - move.at_ms < days * DAY_MS) > most
            if is_hit:
                last[rule, now.user] = place
                found.append((rule, now.id))
    return found


def app_events(folder: Path) -> list[tuple[str, str, int, str]]:
    """All other events, each once: user, name, time, source."""
    once = {line["$insert_id"]: line for line in lines(folder / "sent/amplitude.jsonl")}.values()
    found = []
    for row in once:
        at = datetime.strptime(row["event_time"], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
        user = row["user_id"] or str(row["amplitude_id"])
        found.append((user, row["event_type"], round(at.timestamp() * 1_000), "AMPLITUDE"))
    others = [line for line in lines(folder / "sent/sns.jsonl") if "Amount" not in line["context"]]
    return found + [(other["userId"], other["eventType"], other["timestamp"], "INTERNAL_SERVICES") for other in others]


@pytest.mark.slow
def test_flags_counts_figures_mails_and_tables_are_those_of_plain_python(folder):
    project, every, others = shroff.open(folder), moves(folder), app_events(folder)
    wanted = flagged(every)
    found = [
        (next(n for n, begin in PREFIX.items() if row["rule_label"].startswith(begin)), row)
        for row in rows(folder, "user_flagged_as_fraudulent")
    ]
    by_id = {item.id: item for item in every}

    assert Counter(rule for rule, _ in wanted).keys() == {1, 2, 3, 4, 5}, "each rule is seen at work"
    assert sorted((rule, flag["user_id"], flag["account_id"], flag["created_at"]) for rule, flag in found) == sorted(
        (rule, by_id[id_].user, by_id[id_].user.replace("u-", "a-"), by_id[id_].at_ms) for rule, id_ in wanted
    )
    mails = [path.read_text(encoding="utf-8") for path in (folder / ".shroff/mail").rglob("*.eml")]
    assert sum("To: analysts@bank.example" in mail and " flagged " in mail for mail in mails) == len(wanted)
    for mail in mails:
        if " flagged " in mail:
            assert all(word in mail for word in ("Amount", "Account", "/decisions/")), mail
    assert not any("nothing to tell" in mail for mail in mails)
    assert {to for mail in mails for to in re.findall(r"^To: (\w+)@", mail, re.MULTILINE)} == {
        *("analysts", "operators", "team")
    }

    assert sorted(
        (row["user_id"], row["transaction_type"], row["amount"], row["unit"], row["time_transaction_occurred"])
        for row in rows(folder, "user_behaviour")
    ) == sorted(
        (
            item.user,
            "SAVING_EVENT" if item.is_in else "WITHDRAWAL",
            int(item.sent * 10_000),
            "HUNDREDTH_CENT",
            item.at_ms,
        )
        for item in every
    )
    names = {True: "SAVING_PAYMENT_SUCCESSFUL", False: "WITHDRAWAL_EVENT_CONFIRMED"}
    moved = [(item.user, names[item.is_in], item.at_ms, "INTERNAL_SERVICES") for item in every]
    table = rows(folder, "all_user_events")
    columns = ("user_id", "event_type", "time_transaction_occurred", "source_of_event")
    assert sorted(tuple(row[name] for name in columns) for row in table) == sorted(others + moved)
    of_savings = [row for row in table if row["event_type"] == names[True]]
    assert {row["context"] for row in of_savings if row["source_of_event"] != "AMPLITUDE"} == {
        item.context for item in every if item.is_in
    }

    days = sorted({at_ms // DAY_MS for *_, at_ms, _ in others + moved})
    first, last = (datetime.fromtimestamp(day * 86_400, UTC).date().isoformat() for day in (days[0], days[-1]))
    counts = project.call("counts", start_date=first, end_date=last, event_types=["app_event"], by="name").rows
    assert {(str(count.day), count.value): count.count for count in counts} == Counter(
        (datetime.fromtimestamp(at_ms / 1_000, UTC).date().isoformat(), name) for _, name, at_ms, _ in others
    )
    of_amplitude = Counter(name for _, name, _, source in others if source == "AMPLITUDE")
    days_asked = {"start_date": first, "end_date": last, "event_types": ["app_event"], "by": "name"}
    found_names = Counter[str]()
    for count in project.call("counts", **days_asked, where={"source": "AMPLITUDE"}).rows:
        found_names[count.value] += count.count
    assert found_names == of_amplitude
    assert of_amplitude[names[True]] > 0, "an event of Amplitude with the name of a saving of SNS"
    yesterday = max(at_ms // DAY_MS for *_, at_ms, source in others if source == "AMPLITUDE")
    users = {user for user, _, at_ms, _ in others + moved if at_ms // DAY_MS == yesterday}
    (report,) = (mail for mail in mails if "To: team@savings.example" in mail)
    assert re.search(rf"^ +Users +{len(users)} ", report, re.MULTILINE), report
    names = ("ENTERED_ONBOARD_SCREEN", "ENTERED_REFERRAL_CODE", "USER_LOGGED_IN")
    steps = project.call("funnel", funnel="onboarding", start_date=first, end_date=last).steps
    assert {step.step: step.users for step in steps} == went_on(by_person(folder), names)


def by_person(folder: Path) -> list[tuple[str, str, int]]:
    """The events of Amplitude by the id that a person has in the end: person, name, time."""
    once = {line["$insert_id"]: line for line in lines(folder / "sent/amplitude.jsonl")}.values()
    became = {line["merged_amplitude_id"]: line["amplitude_id"] for line in once if line["merged_amplitude_id"]}
    found = []
    for row in once:
        at = datetime.strptime(row["event_time"], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
        person = became.get(row["amplitude_id"], row["amplitude_id"])
        found.append((str(person), row["event_type"], round(at.timestamp() * 1_000)))
    return found


def went_on(events: list[tuple[str, str, int]], names: tuple[str, ...]) -> dict[str, int]:
    """How many users came to each step, each at or after the one before it."""
    times = defaultdict[tuple[str, str], list[int]](list)
    for user, name, at_ms in events:
        times[user, name].append(at_ms)
    found, reached = {}, {user: [0] for user, *_ in events}
    for name in names:
        later = {user: [at for at in times[user, name] if at >= min(before)] for user, before in reached.items()}
        reached = {user: at for user, at in later.items() if at}
        found[name.lower()] = len(reached)
    return found


def dropped_off(events: list[tuple[str, str, int]], step: str, following: set[str], until_ms: int) -> set[str]:
    """The people who did not go on from their last `step` before this time."""
    last_ms = dict[str, int]()
    for person, name, at_ms in sorted(events, key=lambda event: event[2]):
        if name == step and at_ms < until_ms:
            last_ms[person] = at_ms
    went = {
        person
        for person, name, at_ms in events
        if name in following and last_ms.get(person, until_ms) < at_ms < until_ms
    }
    return last_ms.keys() - went


@pytest.mark.slow
def test_the_answer_about_funnels_is_that_of_plain_python(folder):
    events = by_person(folder)
    end_ms = (max(at_ms for *_, at_ms in events) // DAY_MS + 1) * DAY_MS
    wanted = []
    pairs = [
        ("ENTERED_ONBOARD_SCREEN", {"ENTERED_REFERRAL_CODE", "USER_LOGGED_IN"}),
        ("ENTERED_REFERRAL_CODE", {"USER_LOGGED_IN"}),
    ]
    for step, following in pairs:
        before = dropped_off(events, step, following, end_ms - DAY_MS)
        went_on_last_day = {name for name, event, at_ms in events if event in following and at_ms >= end_ms - DAY_MS}
        now = dropped_off(events, step, following, end_ms)
        wanted.append((step, len(now), len(before & went_on_last_day)))
    answer = json.loads((folder / "sent/funnel-analysis.json").read_bytes())

    assert [(item["dropOffStep"], item["dropOffCount"], item["recoveryCount"]) for item in answer] == wanted
    assert all(recovered for *_, recovered in wanted), "somebody comes back"


def test_the_settings_of_the_cloud_are_read_and_each_environment_has_its_continent(root):
    place = root / "examples/savings-app/terraform"
    text = (place / "shroff.yaml").read_text(encoding="utf-8")
    local = yaml.safe_load((place.parent / "shroff.yaml").read_text(encoding="utf-8"))
    cloud = yaml.safe_load(text)
    main = terraform.module(DEPLOY, "gcp")

    assert set(re.findall(r"\$\{(\w+)\}", text.partition("\nshroff:")[2])) <= {
        *main.locals["settings"],
        *main.locals["secrets"],
    }
    assert cloud["sources"]["savings_topic"]["sns"]["topics"] == ["${SNS_TOPIC}"]
    assert (cloud["lateness"], cloud["sources"].keys()) == (local["lateness"], local["sources"].keys())
    assert [cloud["sources"][name]["events"] for name in cloud["sources"]] == [
        local["sources"][name]["events"] for name in local["sources"]
    ]
    regions = {"staging": "us-central1", "production": "europe-west1"}
    for environment, region in regions.items():
        given = dict(re.findall(r'^(\w+) += "(.*)"$', (place / f"{environment}.tfvars").read_text(), re.MULTILINE))
        declared = terraform.hcl.read(DEPLOY / terraform.TERRAFORM / "gcp" / environment).variables

        assert given["region"] == region
        assert given.keys() >= {"sns_topic", "smtp_host", "operators", "amplitude_from", "zone"}
        assert given.keys() <= declared.keys()
        assert (DEPLOY / terraform.TERRAFORM / "gcp/schemas" / given["schemas"]).is_dir()
