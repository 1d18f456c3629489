"""From an empty folder to the first decisions without a terminal: `shroff serve`, a file, a correction, an account."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from playwright.sync_api import expect

from shroff.cli.session import Session
from shroff.services import project as app
from shroff.web import first_run
from shroff.web.first_run import FirstRun
from tests.support.browsers import Looker, chromium
from tests.support.served import SHROFF

ROWS = "id,paid at,amount,card,is_fraud\n" + "".join(
    f"p-{at},2026-03-{1 + at // 24:02d}T{at % 24:02d}:00:00Z,{at}.50,c-{at % 7},{int(at % 50 == 0)}\n"
    for at in range(240)
)
TWO_AMOUNTS = "id,paid at,amount,fee,card\n" + "".join(
    f"p-{at},2026-03-01T{at // 2:02d}:{at % 2 * 30:02d}:00Z,{at + 9}.50,0.35,c-{at % 7}\n" for at in range(40)
)
PASSWORD = "correct horse battery"


class Stopping:
    """In place of the server, which is told to end."""

    should_exit = False


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FirstRun]:
    monkeypatch.setattr(first_run, "LEFT_S", 0.0)
    folder, scratch = tmp_path / "bank", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    found = FirstRun(folder, scratch, lambda _: None)
    found.server = Stopping()
    yield found
    if found.work is not None:
        found.work.join(120)


def asked(run: FirstRun, method: str, path: str, **more: Any) -> httpx2.Response:
    async def ask() -> httpx2.Response:
        transport = httpx2.ASGITransport(run)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
            return await client.request(method, path, **more)

    return asyncio.run(ask())


def sent(run: FirstRun, text: str, name: str = "march.csv") -> httpx2.Response:
    return asked(run, "PUT", f"{run.path}?name={name}", content=text.encode())


@contextmanager
def served(run: FirstRun) -> Iterator[str]:
    """The pages of a first run at an address, for a browser."""
    server = first_run.server_of(run)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(120)


def ended(run: FirstRun) -> str:
    """The last page, once the work is done."""
    assert run.work is not None
    run.work.join(120)
    return asked(run, "GET", run.path).text


def test_only_the_address_that_the_terminal_shows_is_answered(run):
    for path in ("/", "/first/", "/first/x", run.path[:-1], f"{run.path}/", "/queue", "/api/v1/status"):
        for method in ("GET", "PUT", "POST"):
            assert asked(run, method, path).status_code == 404, path
    assert run.file is None
    assert asked(run, "GET", run.path).status_code == 200


def test_each_request_of_one_connection_is_answered(run):
    """A browser keeps its connections: one that breaks off loses the file that is being sent, or a pressed button."""
    with served(run) as address, httpx2.Client(base_url=address) as client:
        for _ in range(3):
            assert client.get(run.path).status_code == 200
        assert client.put(f"{run.path}?name=march.csv", content=TWO_AMOUNTS.encode()).status_code == 200
        for _ in range(3):
            assert client.post(run.path, data={"choose": "money=fee"}).status_code == 303
    assert run.roles == {"money": "fee"}


@pytest.mark.parametrize("text", ["", "\n\n", "a,b\n", "\x00\x01\x02"])
def test_a_file_without_events_is_refused_with_the_reason_and_leaves_nothing(run, text):
    answer = sent(run, text)
    assert answer.status_code == 422
    assert answer.text.endswith(".")
    assert "Drop a file" in asked(run, "GET", run.path).text
    assert not list(run.folder.iterdir())
    assert not list(run.scratch.iterdir())


def test_a_file_that_is_too_long_is_refused(run, monkeypatch):
    monkeypatch.setattr(first_run, "FILE_BYTES_MAX", 100)
    assert sent(run, ROWS).status_code == 413
    assert "Drop a file" in asked(run, "GET", run.path).text


@pytest.mark.parametrize("name", ["..", "a/..", "%00", "a%00.csv", "a%0Ab.csv", "é" * 100, "\U0001f600" * 100])
def test_a_name_that_no_file_can_have_is_refused_with_the_reason(run, name):
    answer = sent(run, ROWS, name)

    if answer.status_code != 200:
        assert (answer.status_code, answer.text) == (422, "No file can have this name. Rename it, and try again.")
    assert (answer.status_code == 200) == name.startswith("é")
    assert [path.parent for path in run.scratch.rglob("*")] in ([], [run.scratch])


@pytest.mark.parametrize("name", ["../../out.csv", "/etc/march.csv", "march.csv" * 40])
def test_a_name_leads_to_no_other_folder(run, name):
    assert sent(run, ROWS, name).status_code == 200
    assert run.file is not None
    assert run.file.parent == run.scratch


def test_the_trial_is_shown_and_a_mistake_in_a_file_is_told_at_its_place_and_begins_nothing(run):
    assert sent(run, ROWS).status_code == 200
    page = asked(run, "GET", run.path).text
    assert "240 of 240 lines taken; 240 labels, 5 of them fraud; time from 1 March 2026" in page
    assert "amounts 0.50 to 239.50 EUR, median 120.00" in page
    wrong = run.files["rules/first.yaml"].replace("amount", "amuont")
    for do in ("look", "begin"):
        asked(run, "POST", run.path, data={"do": do, "rules/first.yaml": wrong})
        page = asked(run, "GET", run.path).text
        assert re.search(r"rules/first\.yaml:\d+</span> .*amuont", page)
        assert 'value="begin"' not in page
        assert run.work is None
    asked(run, "POST", run.path, data={"choose": "="})
    assert 'value="begin"' in asked(run, "GET", run.path).text
    asked(run, "POST", run.path, data={"do": "again"})
    assert "Drop a file" in asked(run, "GET", run.path).text
    assert not list(run.folder.iterdir())


def test_a_click_takes_another_column_or_leaves_one_out_and_the_file_is_tried_again(run):
    sent(run, TWO_AMOUNTS)
    before = asked(run, "GET", run.path).text
    assert 'value="money=fee">or fee</button>' in before
    assert "amounts 9.50 to 48.50 EUR" in before

    asked(run, "POST", run.path, data={"choose": "money=fee"})
    page = asked(run, "GET", run.path).text
    assert "amounts 0.35 to 0.35 EUR, median 0.35. Before this change: 40 of 40 lines taken" in page
    assert 'value="money=amount">or amount</button>' in page

    asked(run, "POST", run.path, data={"choose": "ignored=fee"})
    page = asked(run, "GET", run.path).text
    assert "amounts 9.50 to 48.50 EUR" in page
    assert "fee" not in run.files["events.yaml"]
    asked(run, "POST", run.path, data={"choose": "=fee"})
    assert "fee" in run.files["events.yaml"]
    assert not list(run.folder.iterdir())


def test_a_click_on_an_older_page_never_throws_away_files_that_were_changed_by_hand(run):
    sent(run, TWO_AMOUNTS)
    mine = run.files["events.yaml"] + "\n# mine\n"
    asked(run, "POST", run.path, data={"events.yaml": mine, "do": "look"})

    asked(run, "POST", run.path, data={"choose": "ignored=fee"})

    assert "changed by hand" in asked(run, "GET", run.path).text
    assert run.files["events.yaml"] == mine
    asked(run, "POST", run.path, data={"choose": "="})
    assert run.files == run.proposed


def test_cents_and_a_currency_are_taken_by_a_click(run):
    sent(
        run,
        "id,paid_at,amount,currency\n"
        + "".join(f"p-{at},2026-03-01T10:{at:02d}:00Z,{at + 10}50,USD\n" for at in range(60)),
    )
    page = asked(run, "GET", run.path).text
    assert "are they smallest units, so that 6950 is 69.50?" in page
    assert 'value="cents=amount">In cents</button>' in page

    asked(run, "POST", run.path, data={"choose": "cents=amount"})
    asked(run, "POST", run.path, data={"choose": "currency", "column": "GBP"})
    assert "amounts 10.50 to 69.50 GBP" in asked(run, "GET", run.path).text


DAYS = "id,at,amount,card,email\n" + "".join(
    f"p-{at},0{4 + at % 3}/0{3 + at % 2}/2026 10:00,{at}.50,c-{at % 7},u{at % 9}@example.test\n" for at in range(30)
)
STEPS = "id,step,amount,card\n" + "".join(f"p-{at},{at},{at}.50,c-{at % 7}\n" for at in range(30))


@pytest.mark.parametrize(
    ("text", "click", "before", "after"),
    [
        (DAYS, {"choose": "first=day"}, "time from 3 April 2026", "time from 4 March 2026"),
        (DAYS, {"choose": "entity=email"}, "entity=email", "entity=card"),
        (
            DAYS,
            {"choose": "zone", "column": "Asia/Tokyo"},
            "time from 3 April 2026, 10:00:00",
            "3 April 2026, 01:00:00",
        ),
        (DAYS, {"choose": "currency", "column": "GBP"}, "amounts 0.50 to 29.50 EUR", "amounts 0.50 to 29.50 GBP"),
        (STEPS, {"choose": "since", "column": "2026-03-01"}, "time from 1 January 2020", "time from 1 March 2026"),
    ],
)
def test_what_only_a_question_settles_is_settled_by_a_click_and_undone_by_another(run, text, click, before, after):
    sent(run, text)
    first = asked(run, "GET", run.path).text
    assert before in first
    assert f'value="{click["choose"]}"' in first

    asked(run, "POST", run.path, data=click)
    page = asked(run, "GET", run.path).text
    assert after in page
    assert "Before this change: 30 of 30 lines taken" in page
    ((_, value),) = run.roles.items()
    asked(run, "POST", run.path, data={"choose": f"={value}"})
    assert run.roles == {}
    assert before in asked(run, "GET", run.path).text


def test_another_amount_is_taken_by_a_click_after_cents(run):
    sent(run, TWO_AMOUNTS.replace(".50,0.35", "50,35"))
    for click in ("cents=amount", "money=fee", "units=amount", "cents=amount"):
        asked(run, "POST", run.path, data={"choose": click})
        role, _, column = click.partition("=")
        assert (run.roles, run.mistake) == ({role: column}, "")


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("card", "card: its values, such as &#39;c-0&#39;, cannot be read as a time."),
        ("crad", "no column &#39;crad&#39;"),
    ],
)
def test_a_choice_that_does_not_fit_is_refused_in_words_and_changes_nothing(run, column, words):
    sent(run, TWO_AMOUNTS)
    files = dict(run.files)

    asked(run, "POST", run.path, data={"choose": "time", "column": column})

    assert words in asked(run, "GET", run.path).text
    assert (run.files, run.roles) == (files, {})


def test_the_table_of_choices_is_changed_by_a_click_and_by_keys_on_a_desk_and_a_phone(run):
    with served(run) as address, chromium() as browser:
        page = browser.new_page()
        looker = Looker(page, address)
        looker.open(run.path)
        page.set_input_files("#file", {"name": "x.csv", "mimeType": "text/csv", "buffer": TWO_AMOUNTS.encode()})
        expect(page.get_by_role("status")).to_contain_text("amounts 9.50 to 48.50 EUR")
        looker.look()
        page.get_by_role("button", name="or fee").click()
        expect(page.get_by_role("status")).to_contain_text("amounts 0.35 to 0.35 EUR")
        page.get_by_role("button", name="or amount").press("Enter")
        expect(page.get_by_role("status")).to_contain_text("amounts 9.50 to 48.50 EUR")
        assert looker.mistakes == []


def test_a_file_that_arrived_in_the_folder_meanwhile_is_overwritten_by_nothing(run):
    sent(run, ROWS)
    other = run.folder / "other.txt"
    other.write_text("mine")
    asked(run, "POST", run.path, data={"do": "begin"})
    while run.work is not None:
        time.sleep(0.01)
    assert "is not empty" in asked(run, "GET", run.path).text
    assert [path.name for path in run.folder.iterdir()] == ["other.txt"]
    assert not run.server.should_exit


def test_two_presses_begin_once_and_a_file_that_is_sent_meanwhile_changes_nothing(run):
    async def pressed_twice() -> list[int]:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(run), base_url="http://127.0.0.1:8080") as client:
            presses = [client.post(run.path, data={"do": "begin"}) for _ in range(2)]
            other = client.put(f"{run.path}?name=other.csv", content=b"id,at\n1,2")
            return [answer.status_code for answer in await asyncio.gather(*presses, other)]

    sent(run, ROWS)
    assert asyncio.run(pressed_twice()) == [303, 303, 409]
    assert sent(run, "id,at\n", "other.csv").status_code == 409
    assert "240 events were decided, with 240 labels" in ended(run)
    assert (run.mistake, run.read) == ("", 480), "a step's count adds to those before it"


def test_a_file_that_breaks_off_or_cannot_be_read_leaves_nothing_and_no_folder_of_this_machine_is_named(run):
    async def broken() -> list[Any]:
        told: list[Any] = []
        parts = iter([{"type": "http.request", "body": b"id,at\n", "more_body": True}, {"type": "http.disconnect"}])

        async def receive() -> Any:
            return next(parts)

        async def send(message: Any) -> None:
            told.append(message)

        scope = {"type": "http", "method": "PUT", "path": run.path, "query_string": b"name=x.csv", "headers": []}
        await run(scope, receive, send)
        return told

    assert asyncio.run(broken())[0]["status"] == 422
    assert not list(run.scratch.iterdir())
    answer = sent(run, "no table", "read.me")
    assert answer.text.startswith("read.me does not end in"), answer.text


@pytest.mark.slow
def test_a_service_that_is_ended_in_an_upload_ends_at_once_and_removes_the_copy(tmp_path):
    folder = tmp_path / "bank"
    folder.mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [SHROFF, "serve", "--port", "0"], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        process.stderr.readline()
        where = urlsplit(process.stderr.readline().strip())
        head = f"PUT {where.path}?name=x.csv HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\nid,at\n"
        with socket.create_connection((where.hostname, where.port)) as connection:
            connection.sendall(head.encode())
            while not list(tmp_path.glob("shroff-first-*/x.csv")):
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 130
        assert not list(tmp_path.glob("shroff-first-*"))
        assert process.stderr.read().strip().startswith("Stopped.")
    finally:
        process.kill()
        process.communicate()


def test_a_template_makes_a_project_that_waits_for_events(run):
    asked(run, "POST", run.path, data={"template": "../payments"})
    assert run.work is None
    asked(run, "POST", run.path, data={"template": "payments"})
    assert "Create your account" in ended(run)
    assert run.server.should_exit
    assert app.open_exactly(run.folder).check().is_ok


@pytest.mark.slow
def test_a_newcomer_comes_from_an_empty_folder_to_a_queue(tmp_path):
    folder, file = tmp_path / "bank", tmp_path / "march.csv"
    folder.mkdir()
    file.write_text(ROWS)
    process = subprocess.Popen([SHROFF, "serve", "--port", "0"], cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        found = re.search(r"http://\S+/first/\S+", process.stderr.readline() + process.stderr.readline())
        assert found is not None
        with chromium() as browser:
            page = browser.new_page()
            page.set_default_timeout(60_000)
            parts = urlsplit(found[0])
            looker = Looker(page, f"{parts.scheme}://{parts.netloc}")
            looker.open(parts.path)
            looker.look()
            page.set_input_files("#file", file)
            page.get_by_text("features.yaml").click()
            looker.look()
            features = page.locator("textarea[name='features.yaml']")
            features.fill(features.input_value().replace("24h", "12h"))
            page.get_by_role("button", name="Create project").click()
            expect(page.get_by_role("heading", name="The project is there")).to_be_visible(timeout=120_000)
            expect(page.get_by_text("240 events were decided, with 240 labels")).to_be_visible()
            page.get_by_role("link", name="Create your account").click()
            page.fill("#name", "ann")
            page.fill("#password", PASSWORD)
            page.fill("#again", PASSWORD)
            page.get_by_role("button", name="Create an admin").click()
            expect(page.get_by_role("button", name="Menu")).to_be_visible(
                timeout=120_000
            )  # a phone is what it was last
            looker.open("/decisions?outcome=all")
            expect(page.locator("main")).to_contain_text("payment p-239")
        assert looker.mistakes == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.communicate()
    project = app.open_exactly(folder)
    assert "12h" in (folder / "features.yaml").read_text()
    assert project.verify().mismatches == 0
    assert Session(folder).empty_folder() is None  # a second 'shroff serve' serves what is there


@pytest.mark.parametrize(("options", "format"), [(("--host", "0.0.0.0"), "text"), ((), "json")])
def test_a_service_for_others_begins_no_project(tmp_path, options, format):
    """A container whose folder was not mounted must fail."""
    program = [SHROFF, "serve", "--port", "0", *options]
    environment = {**os.environ, "SHROFF_LOG_FORMAT": format}
    ended = subprocess.run(
        program, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 2
    assert "shroff.yaml" in ended.stderr
