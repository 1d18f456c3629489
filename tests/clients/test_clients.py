"""Clients of other languages: made from the OpenAPI document, and used against a service and a faulty one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from shroff.people.access import Role
from shroff.services import project as app
from tests.support.effort import long_after
from tests.support.served import Served, key_of, served
from tools import clients
from tools.servers.errors import UnavailableError
from tools.servers.fetching import from_maven, from_npm

HERE = Path(__file__).parent
JACKSON = "com.fasterxml.jackson.core:jackson-databind:2.17.2"
TYPESCRIPT = "typescript@5.9.3"
QUICK = ("-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC")  # a compiler that runs once is done before it is optimized


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in clients.files()])
def test_what_is_generated_is_that_of_the_document(path):
    assert path.read_text("utf-8") == clients.files()[path], "run: .venv/bin/python -m tools.clients"


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("clients") / "bank"
    app.make_project(folder, "payments")
    with served(folder) as running:
        yield running


class Faulty(BaseHTTPRequestHandler):
    """A service that is busy at first, and one that never answers."""

    protocol_version = "HTTP/1.1"
    decision = b""
    over = threading.Event()
    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.asked.append(self.headers.get("shroff-answered", ""))
        if self.path.endswith("silent"):
            self.over.wait(120)
            self.close_connection = True
            return
        is_first = self.asked.count("") == 1
        body = b'{"type": "busy", "title": "Busy", "status": 503, "detail": "later"}' if is_first else self.decision
        self.send_response(503 if is_first else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Nothing is written."""


@pytest.fixture
def faulty(service) -> Iterator[str]:
    with service.client() as http:
        fields = {"payment_id": "p-0", "paid_at": "2026-01-05T08:30:00Z", "card": "c-0", "merchant": "m/0"}
        more = {"amount": "1.00", "country": "DE", "channel": "web"}
        Faulty.decision = http.post("/api/v1/events/payment", json=fields | more).content
    Faulty.over.clear()
    Faulty.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Faulty)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Faulty.over.set()
    server.shutdown()
    server.server_close()
    thread.join()


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def typescript(folder: Path, *given: str) -> str:
    compiler = from_npm(TYPESCRIPT.replace("@", "-"), TYPESCRIPT) / "bin" / "tsc"
    shutil.copy(HERE / "check.mjs", folder)
    shutil.copy(clients.ROOT / "typescript" / "package.json", folder)
    where = "-p", str(clients.ROOT / "typescript"), "--outDir", str(folder / "dist")
    run("node", str(compiler), "--skipLibCheck", *where, cwd=folder)
    return run("node", "check.mjs", *given, cwd=folder)


def go(folder: Path, *given: str) -> str:
    shutil.copytree(clients.ROOT / "go", folder, dirs_exist_ok=True)
    (folder / "check").mkdir()
    shutil.copy(HERE / "check.go", folder / "check" / "main.go")
    assert run("gofmt", "-l", ".", cwd=folder) == ""
    # As servers of tests are built: Go's own library is then compiled once for all of them.
    run("env", "CGO_ENABLED=0", "go", "build", "-gcflags=all=-N -l", "-o", "checked", "./check", cwd=folder)
    return run("./checked", *given, cwd=folder)


def java(folder: Path, *given: str) -> str:
    jars = sorted(from_maven("clients-java", [JACKSON]).glob("*.jar"))
    path = ":".join(map(str, [folder, *jars]))
    sources = [*(clients.ROOT / "java").rglob("*.java"), HERE / "Check.java"]
    run(
        "javac", *QUICK, "-Xlint:all,-serial", "-Werror", "-d", str(folder), "-cp", path, *map(str, sources), cwd=folder
    )
    return run("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", path, "Check", *given, cwd=folder)


@pytest.mark.slow
@pytest.mark.server
# All three are made by the same generator.
@pytest.mark.parametrize("language", long_after(1, [typescript, go, java]))
def test_an_id_is_decided_once_and_no_answer_in_two_seconds_gives_the_fallback(service, faulty, tmp_path, language):
    key = key_of(service.folder, Role.ADMIN, f"{language.__name__}")
    try:
        found = json.loads(language(tmp_path, service.url, key, faulty))
    except UnavailableError as error:
        if os.environ.get("CI"):
            pytest.fail(f"what compiles {language.__name__} must be there in CI: {error}")
        pytest.skip(f"what compiles {language.__name__} cannot be had here: {error}")
    once, again = found.pop("receipts")
    seq, same = found.pop("seqs")
    waited_s = found.pop("waited")
    assert found.pop("senders", 1) == 1, "what blocks has threads of its own: the application's stay free"

    assert (once, seq) == (again, same)
    assert once.startswith("sha256:")
    assert 1.9 < waited_s < 30  # the one that is silent stays so for 60 s
    assert found == {
        "taken": True,
        "refused": True,
        "dots": True,
        "path": "amount",
        "strange": True,
        "many": ["approve", "refused", "approve"],
        "label": "appended",
        "events": found["events"],
        "retried": "approve",
        "late": ["review", True],
    }
    assert found["events"] >= 2
    assert Faulty.asked[:2] == ["", ""]  # busy, then decided
