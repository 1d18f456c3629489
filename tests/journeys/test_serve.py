"""`shroff serve` as a program: from its first start to its end, spoken to over real HTTP."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx2
import msgspec
import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.examples.bank import bank
from shroff.people.access import Role
from tests.support.served import NO_TLS, SHROFF, key_of, served, started

pytestmark = pytest.mark.slow
smoke = (
    "test_from_the_first_start_to_a_clean_end",
    "test_a_second_service_is_refused_and_one_that_stands_by_takes_over",
)

TEMPLATE = TEMPLATE_FOLDER / "payments"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATE, tmp_path / "bank")
    return tmp_path / "bank"


def payments(count: int) -> list[dict[str, object]]:
    return [item.event for item in bank(count, seed=4)]


def test_from_the_first_start_to_a_clean_end(project):
    with served(project) as service:
        with service.client() as client:
            found = [client.post("/api/v1/events/payment", json=payment) for payment in payments(20)]
            assert [item.status_code for item in found] == [200] * 20
            listed = client.post("/api/v1/events/payment", json=payments(60))
            assert [item.content for item in found] == [msgspec.json.encode(row) for row in listed.json()[:20]]
        with service.client("") as nobody:
            assert nobody.get("/health/live").status_code == 200
            assert nobody.get("/api/v1/decisions/payment/p-1").status_code == 401
        with service.client(key_of(project, Role.VIEWER)) as viewer:
            assert viewer.post("/api/v1/events/payment", json=payments(1)[0]).status_code == 403
            assert viewer.get("/api/v1/decisions/payment/p-1").status_code == 200
        done = service.stop()

    assert service.url.startswith("http://127.0.0.1:")
    assert done["decisions"] == 60
    assert subprocess.run([SHROFF, "-C", project, "verify"], check=False).returncode == 0


def test_one_command_serves_and_lets_a_user_in(project):
    subprocess.run([SHROFF, "-C", project, "users", "add", "ann", "--role", "analyst"], check=True, capture_output=True)
    with served(project, "--sign-in", "ann") as service:
        told, link = (service.process.stderr.readline().strip() for _ in range(2))
        with httpx2.Client(timeout=120, verify=NO_TLS, headers={"origin": service.url}) as browser:
            shown, entered = browser.get(link), browser.post(link)
            again = httpx2.post(link, timeout=120, verify=NO_TLS, headers={"origin": service.url})
            page = browser.get(f"{service.url}/queue")

    assert told == "Open this link within one hour to sign in as ann, once:"
    assert (shown.status_code, entered.status_code, page.status_code) == (200, 303, 200)
    assert again.status_code in {403, 404, 410, 422}


def test_nobody_is_let_in_who_does_not_exist_and_no_link_stands_in_logs_that_others_read(project):
    asked = [SHROFF, "-C", project, "serve", "--port", "0", "--sign-in", "nobody"]
    unknown = subprocess.run(asked, check=False, capture_output=True, text=True)
    as_json = {**os.environ, "SHROFF_LOG_FORMAT": "json"}
    logged = subprocess.run(asked, check=False, capture_output=True, text=True, env=as_json)

    assert (unknown.returncode, logged.returncode) == (2, 2)
    assert "nobody" in unknown.stderr
    assert "--sign-in prints a link that signs somebody in; logs as JSON do not get one." in logged.stderr


def test_the_end_waits_for_what_was_taken_and_takes_nothing_more(project):
    many = b"\n".join(msgspec.json.encode(payment) for payment in payments(9_000))
    with served(project) as service:

        async def post_and_end() -> httpx2.Response:
            headers = {"authorization": f"Bearer {service.key}", "content-type": "application/x-ndjson"}
            async with httpx2.AsyncClient(base_url=service.url, headers=headers, timeout=120, verify=NO_TLS) as own:
                posting = asyncio.create_task(own.post("/api/v1/events/payment", content=many))
                # A machine that stood still may have decided all between two looks.
                while b"shroff_waiting 0.0\n" in (await own.get("/metrics")).content and not posting.done():
                    pass
                service.process.send_signal(signal.SIGTERM)
                return await posting

        answered = asyncio.run(post_and_end())
        done = msgspec.json.decode(service.process.communicate()[0])  # a second signal would end it at once

    decided = [msgspec.json.decode(line) for line in answered.content.splitlines()]
    assert answered.status_code == 200
    assert len([decision for decision in decided if "outcome" in decision]) == 9_000
    assert done["decisions"] == 9_000


def test_a_second_service_is_refused_and_one_that_stands_by_takes_over(project):
    with served(project) as service:
        refused = subprocess.run(
            [SHROFF, "-C", project, "serve", "--port", "0"], capture_output=True, text=True, timeout=120, check=False
        )

        assert refused.returncode == 3
        assert "shroff serve --standby" in refused.stderr
        assert " at http://" not in refused.stderr
        assert "makes the first admin" not in refused.stderr

        listed = subprocess.run([SHROFF, "-C", project, "audit", "list", "--json"], capture_output=True, check=True)
        assert listed.stdout.count(b'"link.make"') == 1  # of the one that serves

        other = started(project, "--standby", key=service.key, is_waited_for=False)
        try:
            with service.client() as client:
                client.post("/api/v1/events/payment", json=payments(5))
            with other.client() as client:
                end_s = time.monotonic() + 120
                while client.get("/health/ready").json()["state"] != "standing by":
                    assert time.monotonic() < end_s
                standing_by = client.post("/api/v1/events/payment", json=payments(1)[0])
                read = client.get("/api/v1/decisions/payment/p-1")

            assert standing_by.status_code == 503
            assert "on standby" in standing_by.json()["detail"]
            assert standing_by.headers["retry-after"] == "1"
            assert read.status_code == 200

            service.kill()
            killed_s = time.monotonic()
            other.wait()

            assert time.monotonic() - killed_s < 120
            with other.client() as client:
                assert client.post("/api/v1/events/payment", json=payments(6)[5]).json()["seq"] == 7
            other.stop()
        finally:
            other.kill()


def test_a_port_that_is_taken_is_told(project):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [SHROFF, "-C", project, "serve", "--port", str(taken.getsockname()[1])]
        refused = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert refused.returncode == 2
    assert "--port" in refused.stderr
