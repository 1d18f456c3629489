"""A whole savings app: SNS and Amplitude in one log, rules, mails, figures, a warehouse. All of it by one command.

    python examples/savings-app/run.py
    python examples/savings-app/run.py --folder /tmp/savings-app

Stand-ins play SNS and Amplitude. What they send is kept in `sent/`, for whoever wants to compute the results again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from subprocess import run
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parents[1])]  # tools/, which belongs to the clone

from tools import sns  # noqa: E402 - the path is set above
from tools.amplitude import API_KEY, SECRET_KEY, amplitude, packed  # noqa: E402 - the path is set above
from tools.amplitude import AmplitudeServer as Server  # noqa: E402 - the path is set above
from tools.examples import PROGRAM, FailedError, Stage, play, ready  # noqa: E402 - the path is set above
from tools.servers.ports import Port  # noqa: E402 - the path is set above

DAYS = 3  # of Amplitude, up to yesterday
HOUR = timedelta(hours=1)
USERS = 30
QUARANTINED = 4  # exit status
DAMAGED = 30  # the hour, of all days, whose file is damaged at first
MAILS_S = 120.0
APART_MS = 20_000  # between two messages of SNS
SAVED, WITHDRAWN = "SAVING_PAYMENT_SUCCESSFUL", "WITHDRAWAL_EVENT_CONFIRMED"
LOGIN = "USER_LOGGED_IN"
STEPS = ("ENTERED_ONBOARD_SCREEN", "ENTERED_REFERRAL_CODE", LOGIN, "ENTERED_SAVINGS_SCREEN")
NEXT = """
What a person does next:
  1. Keep the project: .venv/bin/python examples/savings-app/run.py --folder DIR. In DIR/app, put your topic,
     Amplitude's keys and first day, and mail addresses into shroff.yaml, calls.yaml and notices/.
     Leave out `certificates` and `url`, which name the stand-ins. 'shroff check' says what is missing.
  2. 'shroff serve' behind HTTPS; subscribe https://YOUR-HOST/hooks/savings_topic to the topic in AWS, then confirm it:
     'shroff sources confirm savings_topic'.
  3. 'shroff sources sync app' at three each morning: schedules.yaml, cron, or Terraform's job.
  4. Staging in the US, then production in Europe: deploy/README.md, "Google Cloud", with
     examples/savings-app/terraform/staging.tfvars and production.tfvars.
  5. Judge the flags: PATCH /api/v1/flags/ID, or the queue on the screens; then 'shroff results'."""


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="A whole savings app, by one command.")
    parser.add_argument("--folder", type=Path, help="where the project goes, and stays; it must not be there yet")
    asked = parser.parse_args()
    with amplitude() as server:
        return play(HERE, {}, asked.folder, lambda stage: steps(stage, server, datetime.now(UTC)))


def steps(stage: Stage, server: Server, now: datetime) -> None:
    """What an engineer would type, one after the other."""
    first = (now - timedelta(days=DAYS)).date()
    if now.hour < 4:  # yesterday can be asked for three hours after its end
        first -= timedelta(days=1)
    yesterday = (first + timedelta(days=DAYS - 1)).isoformat()
    stage.environment |= {"AMPLITUDE_API_KEY": API_KEY, "AMPLITUDE_SECRET_KEY": SECRET_KEY}
    stage.environment |= {"AMPLITUDE_FROM": first.isoformat(), "AMPLITUDE_URL": server.url}
    project = assembled(stage, now)
    sent = project / "sent"
    sent.mkdir()
    whole = fill(server, first.isoformat(), sent)
    stage.shroff("-C", "app", "check")
    stage.shroff("-C", "app", "sources", "check", statuses=(0, 1))
    held = Port()
    port, key = held.number, made_key(stage)
    with closing(held), stage.beside(*PROGRAM, "-C", "app", "serve", "--port", str(port)) as service:
        ready(service, port)
        messages = list(app_messages(now, yesterday))
        (sent / "sns.jsonl").write_text("".join(json.dumps(message) + "\n" for message in messages), encoding="utf-8")
        print(f"\nSNS posts {len(messages):,} messages: each once, some twice, some forged ...", flush=True)
        show(Counter(post(port, "/hooks/savings_topic", body) for body in posted(messages)))
        print("\nAmplitude's days come later into the same log, as `lateness` allows; one hour is damaged:", flush=True)
        stage.shroff("-C", "app", "sources", "sync", "app", statuses=(QUARANTINED,))
        stage.shroff("-C", "app", "sources", "check", statuses=(1,))
        print("\nAmplitude mends that hour, and the day is asked for again:", flush=True)
        server.events |= whole
        day = (first + timedelta(hours=DAMAGED) // timedelta(days=1) * timedelta(days=1)).isoformat()
        stage.shroff("-C", "app", "sources", "sync", "app", "--day", day)
        stage.shroff("-C", "app", "jobs", "run", "report", "notice=daily_figures", f"day={yesterday}", "--wait")
        flags = json.loads(captured(stage, "export", "flags", is_lines=True))
        show_mails(project, len(flags))
        print(
            "\nPOST /funnel-analysis: who did not go on in the three days, and who did on the last of them", flush=True
        )
        funnels = call(port, "/funnel-analysis", funnel_question(first.isoformat(), yesterday), key)
        (sent / "funnel-analysis.json").write_bytes(funnels)
        for item in json.loads(funnels):
            print(f"  {json.dumps(item)}", flush=True)
        print("\nPOST /fraud-user-fetch", flush=True)
        body = json.dumps({"userId": "u-trips", "accountId": "a-trips"}).encode()
        print(json.dumps(json.loads(call(port, "/fraud-user-fetch", body, key)), indent=1), flush=True)
    days = "--from", first.isoformat(), "--to", now.date().isoformat()
    stage.shroff("-C", "app", "counts", *days, "--by", "name", "--types", "app_event")
    stage.shroff("-C", "app", "facts", "user", "u-trips")
    stage.shroff("-C", "app", "funnel", "onboarding", *days)
    stage.shroff("-C", "app", "notices", "preview", "daily_figures", "--day", yesterday)
    stage.shroff("-C", "app", "lake", "write")
    stage.shroff("-C", "app", "export", "warehouse", "--out", "bigquery", "--format", "ndjson")
    stage.shroff("-C", "app", "verify")
    stage.shroff("-C", "app", "quarantine", "drop", "--all")  # the damaged hour, which is whole now
    stage.shroff("-C", "app", "doctor", statuses=(0, 1))
    print(NEXT, flush=True)


def assembled(stage: Stage, now: datetime) -> Path:
    """The project: the template `savings`, with the files of this example."""
    project = stage.folder / "app"
    stage.shroff("init", "app", "--template", "savings")
    for name in ("shroff.yaml", "funnels.yaml", "notices/daily_figures.yaml", "warehouse/all_user_events.sql"):
        shutil.copyfile(HERE / name, project / name)
    for name in ("events", "calls"):
        with (project / f"{name}.yaml").open("a", encoding="utf-8") as file:
            file.write((HERE / f"{name}_more.yaml").read_text(encoding="utf-8"))
    replace(project / "events.yaml", "withdrawal: user }", "withdrawal: user, app_event: user }")
    replace(project / "notices/each_day.yaml", "verbose: false", "verbose: true")
    (project / "certs").mkdir()
    (project / "certs" / sns.CERTIFICATE.rpartition("/")[2]).write_bytes(sns.certificate(now=now))
    return project


def replace(path: Path, old: str, new: str) -> None:
    """Change a line of the template. Raises: FailedError where it has none such."""
    text = path.read_text(encoding="utf-8")
    if old not in text:
        raise FailedError(f"{path.name} of the template has no {old!r} any more.")
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


# ---- what SNS and Amplitude send


def app_messages(now: datetime, report_day: str) -> Iterator[dict[str, Any]]:
    """Messages in order of time: of many users on the day of the report, then of four users that rules flag, now."""
    chance = Random(7)  # noqa: S311 - made-up data
    told = (  # who, what, and amounts in rand
        ("large", SAVED, (150_000, 5, 250_000)),
        ("often", SAVED, (60_000, 50_000, 60_000, 50_000.01, 60_000, 60_000, 60_000)),
        ("jump", SAVED, (100, 900, 5_500.01, 900, 9_000.01)),
    )
    flagged: list[tuple[str, str, float]] = [(user, kind, amount) for user, kind, amounts in told for amount in amounts]
    for saved in (1_000, 500, 800, 300, 600):
        flagged += [("trips", SAVED, saved), ("trips", WITHDRAWN, round(0.97 * saved, 2))]
    others: list[tuple[str, str, float]] = []
    for user in map(str, range(USERS)):
        others += [(user, SAVED, chance.randrange(100, 2_000)) for _ in range(chance.randrange(1, 5))]
        others += [(user, WITHDRAWN, chance.randrange(10, 90)) for _ in range(chance.randrange(2))]
        others += [(user, "MESSAGE_SENT", 0), (user, "USER_CREATED_ACCOUNT", 0)][: chance.randrange(3)]
    morning_ms = int(datetime.fromisoformat(f"{report_day}T08:00:00+00:00").timestamp() * 1_000)
    begin_ms = int(now.timestamp() * 1_000) - APART_MS * len(flagged)
    times = [morning_ms + APART_MS * number for number in range(len(others))]
    times += [begin_ms + APART_MS * number for number in range(len(flagged))]
    for at, (user, kind, amount) in zip(times, [*others, *flagged], strict=True):
        context = {"accountId": f"a-{user}"}
        if kind == SAVED:
            context["savedAmount"] = f"{round(10_000 * amount)}::HUNDREDTH_CENT::ZAR"
        elif kind == WITHDRAWN:
            context["withdrawalAmount"] = f"-{round(amount * 100)}::WHOLE_CENT::ZAR"
        yield {"userId": f"u-{user}", "eventType": kind, "timestamp": at, "context": json.dumps(context)}


def posted(messages: list[dict[str, Any]]) -> Iterator[bytes]:
    """As SNS posts them; every tenth comes twice, every fiftieth is forged as well."""
    for number, message in enumerate(messages):
        body = sns.posted(MessageId=f"m-{number}", Message=json.dumps(message))
        yield body
        if number % 10 == 0:
            yield body
        if number % 50 == 0:
            yield body.replace(b"userId", b"userID")


def fill(server: Server, first: str, sent: Path) -> dict[str, Any]:
    """Give Amplitude its days, one event in fifty twice, and a damaged hour; gives that hour as it is whole."""
    chance, hours = Random(8), defaultdict[datetime, list[dict[str, Any]]](list)  # noqa: S311 - made-up data
    begin, number = datetime.fromisoformat(f"{first}T00:00:00+00:00"), 0
    for hour in range(24 * DAYS):
        for _ in range(8):
            user, at = chance.randrange(4 * USERS), begin + hour * HOUR + timedelta(seconds=chance.randrange(1_800))
            for event in session(chance, user, number, at):
                hours[begin + hour * HOUR].append(event)
                number += 1
    for at, events in list(hours.items())[:-1]:
        hours[at + HOUR] += [{**event, "uuid": f"again-{event['uuid']}"} for event in events[::50]]
    every = [event for events in hours.values() for event in events]
    (sent / "amplitude.jsonl").write_text("".join(json.dumps(event) + "\n" for event in every), encoding="utf-8")
    server.events |= {f"{at:%Y%m%dT%H}": events for at, events in hours.items()}
    damaged = sorted(server.events)[DAMAGED]
    whole = {damaged: server.events[damaged]}
    server.events[damaged] = packed(hours[begin + DAMAGED * HOUR])[:-40]
    return whole


def session(chance: Random, user: int, number: int, at: datetime) -> Iterator[dict[str, Any]]:
    """Events of one visit. Nobody has a `user_id` before the login.

    Every tenth person begins on a second phone, for which Amplitude has another id. At the login it finds that both are
    one person, and says so in an event with `merged_amplitude_id`.
    """
    own_id, second_phone_id = 5_000_000 + user, 6_000_000 + user
    amplitude_id = second_phone_id if user % 10 == 3 else own_id
    user_id: str | None = None
    names = list(STEPS[: chance.randrange(1, len(STEPS) + 1)])
    if len(names) == len(STEPS):
        names.append(SAVED)  # the app tells Amplitude, too, under the name that SNS uses
    if amplitude_id != own_id and LOGIN in names:
        names.insert(names.index(LOGIN), "$identify")
    for name in names:
        merged: int | None = None
        if name in {"$identify", LOGIN}:
            user_id = f"u-{user}"
        if name == "$identify":
            merged = amplitude_id
            amplitude_id = own_id
        yield {
            "app": 1,
            "amplitude_id": amplitude_id,
            "merged_amplitude_id": merged,
            "device_id": f"d-{user}",
            "user_id": user_id,
            "$insert_id": f"i-{number}",
            "uuid": f"uuid-{number}",
            "event_type": name,
            "event_time": f"{at:%Y-%m-%d %H:%M:%S}.000000",
            "platform": chance.choice(("Android", "iOS")),
            "event_properties": {"screen": name.lower()},
        }
        at += timedelta(seconds=chance.randrange(5, 300))
        number += 1


# ---- asking the service


def made_key(stage: Stage) -> str:
    """An API key for the calls of an earlier service."""
    return str(json.loads(captured(stage, "keys", "create", "callers", "--role", "analyst", "--json"))["key"])


def captured(stage: Stage, *words: str, is_lines: bool = False) -> str:
    """What a command prints; lines of JSON as one list."""
    asked = [*PROGRAM, "-C", "app", *words]
    env = stage.variables()
    done = run(asked, cwd=stage.folder, env=env, check=True, capture_output=True, text=True)  # noqa: S603 - this program
    found = done.stdout
    return f"[{','.join(found.splitlines())}]" if is_lines else found


def funnel_question(first: str, last: str) -> bytes:
    """Ask about the two steps of the sign-up."""
    days = {"startDate": first, "endDate": last}
    steps = (STEPS[0], [STEPS[1], LOGIN]), (STEPS[1], [LOGIN])
    asked = [
        {"events": {"stepBeforeDropOff": step, "nextStepList": following}, "dateIntervals": days}
        for step, following in steps
    ]
    return json.dumps({"eventsAndDatesList": asked}).encode()


def call(port: int, path: str, body: bytes, key: str) -> bytes:
    """The body of an answer. Raises: FailedError for any other status than 200."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        found = answer.read()
    if answer.status != 200:
        raise FailedError(f"{path} answers {answer.status}: {found.decode()}")
    return found


def post(port: int, path: str, body: bytes) -> str:
    """What becomes of a message."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", path, body, {"content-type": "text/plain; charset=UTF-8"})
        answer = connection.getresponse()
        found = json.loads(answer.read())
    return f"{answer.status} {found.get('state') or found['detail']}"


def show(found: Counter[str]) -> None:
    """How many there are of each kind."""
    for words, count in sorted(found.items(), key=lambda pair: (-pair[1], pair[0])):
        print(f"  {count:>8,}  {words}")


def show_mails(project: Path, flags: int) -> None:
    """The subjects of mails, once each flag, the day's figures and the fault have theirs. Raises: FailedError."""
    deadline = time.monotonic() + MAILS_S
    while True:
        files = (project / ".shroff/mail").glob("**/*.eml")
        mails = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]
        to_analysts = sum("analysts@" in str(mail["to"]) and "flag" in str(mail["subject"]).lower() for mail in mails)
        others = {str(mail["to"]).partition("@")[0] for mail in mails} - {"analysts"}
        if to_analysts >= flags and others == {"operators", "team"}:
            break
        if time.monotonic() > deadline:
            raise FailedError(
                f"{to_analysts} mails about {flags} flags came: {sorted(str(m['subject']) for m in mails)}"
            )
        time.sleep(0.2)
    print(f"\n{flags} flags, and the mails in app/.shroff/mail:", flush=True)
    show(Counter(f"{mail['to']}: {mail['subject']}" for mail in mails))


if __name__ == "__main__":
    sys.exit(main())
