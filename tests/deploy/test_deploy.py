"""deploy/ as it is: no check finds a fault, and its scripts do what they say. `test_faults.py` tries the checks."""

from __future__ import annotations

import functools
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from shroff.worker.serving.counts import STANDING_BY
from tests.deploy import checks, page
from tests.deploy.proxy import proxied
from tests.deploy.watching import WATCHING
from tests.support.forks import SHROFF
from tools.servers.ports import Port

BOARD = "shroff/monitoring/dashboards/overview.json"
BUILD = checks.DEPLOY / "image/build.sh"
ENTRY = checks.DEPLOY / "image/entrypoint.sh"
HEALTH = checks.DEPLOY / "image/health.py"
# What a machine needs to reach its package index at all; nothing else of ours reaches the scripts.
REACHES = ("PIP_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE")
NO_INDEX = re.compile("No matching distribution|Could not find a version|Max retries|Connection")


@pytest.mark.slow
@pytest.mark.parametrize("check", [*checks.CHECKS, page.readme, *WATCHING], ids=lambda check: check.__name__)
def test_no_fault_is_found(check):
    assert check(checks.DEPLOY) == []


# --- the steps of the image


@functools.cache
def python_of_all() -> str | None:
    """A Python that every user of this machine may run, new enough; ours may lie in a folder that is closed."""
    found = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")
    asks = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
    return found if found and subprocess.run([found, "-c", asks], check=False).returncode == 0 else None


def as_another(command: list[object], home: Path) -> str:
    """Run a command as another user where we can, in an environment that has nothing of ours."""
    env = {name: value for name, value in os.environ.items() if name.startswith(REACHES)}
    env |= {"PATH": "/usr/bin:/bin", "HOME": str(home), "PYTHON": python_of_all() or sys.executable}
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 and python_of_all() else None
    words = [str(word) for word in command]
    done = subprocess.run(words, env=env, cwd=home, user=user, group=user, capture_output=True, text=True, check=False)
    if done.returncode and "CI" not in os.environ and NO_INDEX.search(done.stderr):
        pytest.skip(reason=f"the package index cannot be reached: {done.stderr[-300:]}")

    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder that every user may reach and write, with the sources that the image is built from."""
    with tempfile.TemporaryDirectory(prefix="shroff-image-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        ignored = (checks.DEPLOY / "image/Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
        for line in ignored:
            if line.startswith("!"):
                source, target = checks.ROOT / line[1:], folder / "src" / line[1:]
                target.parent.mkdir(parents=True, exist_ok=True)
                if source.is_dir():
                    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".shroff"))
                else:
                    shutil.copy(source, target)
        yield folder


@pytest.mark.slow
def test_what_enters_the_build_is_enough_for_the_wheel(home):
    as_another(["/bin/sh", home / "src/deploy/image/build.sh", "wheel", home / "src", home / "build"], home)

    (wheel,) = (home / "build").iterdir()
    names = zipfile.ZipFile(wheel).namelist()
    assert re.fullmatch(r"shroff-[\d.]+-py3-none-any\.whl", wheel.name)
    assert {"shroff/__main__.py", "shroff/templates/payments/shroff.yaml", BOARD} <= set(names)
    assert [name for name in names if not name.startswith("shroff")] == []


@pytest.fixture(scope="module")
def opt(home):
    """The environment that the three steps make."""
    script, target = home / "src/deploy/image/build.sh", home / "opt"
    as_another(["/bin/sh", script, "wheel", home / "src", home / "built"], home)
    as_another(["/bin/sh", script, "install", home / "src", home / "built", target], home)
    as_another(["/bin/sh", script, "kernels", target], home)
    return target


@pytest.mark.long
@pytest.mark.slow
def test_the_three_steps_make_a_program_that_another_user_runs(home, opt):
    empty = home / "empty"
    empty.mkdir()
    empty.chmod(0o777)
    as_another([opt / "bin/shroff", "init", "bank", "--template", "payments"], empty)
    said = as_another([opt / "bin/shroff", "-C", "bank", "check"], empty)
    lacking = (
        f"import os; os.environ['NUMBA_CACHE_DIR'] = '{opt}/kernels'; from shroff.cli.demo_kernels import natives; "
    )
    lacking += "print([one.is_lacking for one in natives()].count(True))"

    assert "\nOK: " in said
    assert as_another([opt / "bin/python", "-c", lacking], empty) == "0\n"
    assert not list((opt / "bin").glob("pip*"))


@pytest.mark.long
@pytest.mark.slow
def test_it_serves_with_a_read_only_root_and_without_capabilities(home, opt):
    if os.geteuid() != 0:
        pytest.skip(reason="only root can mount: this is what Docker does with the image")
    (home / "data/project").mkdir(parents=True)
    port = Port()
    command = ["unshare", "-m", "sh", Path(__file__).with_name("container.sh"), home, str(port.number)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    port.close()
    said = (home / "data/log").read_text()

    assert done.stdout.splitlines()[-2:] == ["ready", "ended"], done.stdout + done.stderr + said
    assert "Read-only file system" in done.stdout + done.stderr
    assert f"at http://127.0.0.1:{port.number}" in said
    assert names(home / "data/.cache/kernels") == names(opt / "kernels")  # nothing was compiled


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


def test_clients_of_servers_are_installed_where_some_are_named(tmp_path):
    for name in ("apt-get", "pgdg"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >>"{tmp_path}/said"\n')
        (tmp_path / name).chmod(0o755)
    places = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PGDG": f"{tmp_path}/pgdg", "LISTS": f"{tmp_path}/lists"}
    for packages in ([], ["postgresql-client-17", "mariadb-client"], ["mariadb-client"]):
        subprocess.run(["/bin/sh", BUILD, "clients", *packages], env=places, check=True)

    said = (tmp_path / "said").read_text().splitlines()
    assert [line.split()[1] if line.startswith("apt") else line for line in said] == [
        *("update", "install", "pgdg -y", "install"),
        *("update", "install"),
    ]
    assert said[3].endswith("--no-install-recommends postgresql-client-17 mariadb-client")


def test_a_step_that_there_is_not_is_refused():
    done = subprocess.run(["/bin/sh", BUILD, "kernel"], capture_output=True, text=True, check=False)

    assert (done.returncode, "there is no step 'kernel'" in done.stderr) == (2, True)


# --- the start of a container


@pytest.fixture
def container(tmp_path):
    """Runs the entry point with a `shroff` that shows its arguments and its environment."""
    programs = tmp_path / "bin"
    programs.mkdir()
    shown = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"
    (programs / "shroff").write_text(f"#!{sys.executable} -S\n{shown}\n")
    (programs / "shroff").chmod(0o755)

    def start(*words, **env):
        given = {"PATH": f"{programs}:/usr/bin:/bin", **env}
        return subprocess.run([ENTRY, *words], env=given, capture_output=True, text=True, check=False)

    return start


def test_the_program_starts_with_its_arguments_and_its_environment(container):
    words, env = json.loads(container("serve", "--port", "80 80", REDIS_FILE="/run/secrets/redis").stdout)

    assert words == ["serve", "--port", "80 80"]
    assert env["REDIS_FILE"] == "/run/secrets/redis"  # which shroff reads itself


def test_kernels_of_the_image_are_copied_and_those_compiled_since_stay(container, tmp_path):
    made, kept = tmp_path / "made", tmp_path / "kept"
    (made / "rules").mkdir(parents=True)
    for name in ("a", "b"):
        (made / "rules" / name).write_text("of the image")
    os.utime(made / "rules/b", (0, 0))
    container(KERNELS=str(made), NUMBA_CACHE_DIR=str(kept))
    (kept / "rules/b").write_text("compiled here")
    container(KERNELS=str(made), NUMBA_CACHE_DIR=str(kept))

    assert [(kept / "rules" / name).read_text() for name in ("a", "b")] == ["of the image", "compiled here"]


def test_temporary_files_on_a_volume_go_after_two_days(container, tmp_path):
    folder = tmp_path / "data/tmp"
    container(TMPDIR=str(folder))
    for name, age_s in (("old", 200_000), ("new", 80_000)):
        (folder / name).mkdir()
        os.utime(folder / name, (time.time() - age_s,) * 2)
        container(TMPDIR=str(tmp_path))  # another place than a volume's own is left alone
    container(TMPDIR=str(folder))

    assert [path.name for path in folder.iterdir()] == ["new"]
    assert tmp_path.is_dir()


class Answers(BaseHTTPRequestHandler):
    """A service that is ready or not, and keeps what it was asked."""

    asked: ClassVar[list[tuple[str, str]]] = []
    is_ready, state = True, "leading"

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("x-forwarded-for", "")))
        self.send_response(200 if self.is_ready or self.path == "/health/live" else 503)
        self.end_headers()
        self.wfile.write(json.dumps({"state": self.state}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setattr(Answers, "asked", [])
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def is_healthy(port, what, monkeypatch):
    text = HEALTH.read_text().replace(f"PORT = {checks.serve_port()}", f"PORT = {port}")
    monkeypatch.setattr(sys, "argv", ["health.py", what])
    try:
        exec(compile(text, HEALTH, "exec"), {})
    except SystemExit as left:
        return not left.code
    return True


def test_a_container_is_healthy_while_its_service_answers_so(service, monkeypatch):
    def healthy():
        return [is_healthy(service, what, monkeypatch) for what in ("live", "ready", "standby")]

    leading = healthy()
    monkeypatch.setattr(Answers, "is_ready", False)
    monkeypatch.setattr(Answers, "state", "restoring")
    restoring = healthy()
    monkeypatch.setattr(Answers, "state", STANDING_BY)

    assert (leading, restoring, healthy()) == ([True] * 3, [True, False, False], [True, False, True])
    assert not is_healthy(1, "live", monkeypatch)  # nobody listens


# --- the proxy


@pytest.mark.slow
def test_the_proxy_closes_metrics_passes_the_client_on_and_keeps_links_secret(service, tmp_path):
    with proxied(tmp_path, service) as (port, log):
        seen = {text: status(f"http://127.0.0.1:{port}{text}") for text in ("/", "/confirm/tok3n?a=tok3n", "/metrics")}
    written = log.read_text()

    assert seen == {"/": 200, "/confirm/tok3n?a=tok3n": 200, "/metrics": 404}
    assert ("/confirm/tok3n?a=tok3n", "127.0.0.1") in Answers.asked
    assert "/metrics" not in [path for path, _ in Answers.asked]
    assert "/confirm/-" in written
    assert "tok3n" not in written


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=120) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


# --- the project of Compose


@pytest.mark.slow
def test_the_commands_of_the_page_make_keys_for_prometheus_and_alertmanager(tmp_path):
    """With the program in the place of its container."""
    text = (checks.DEPLOY / page.PAGE).read_text(encoding="utf-8")
    (block,) = [line for line in re.findall(r"(?s)```sh\n(.*?)```", text) if "keys create prometheus" in line]
    script = block.replace("docker compose --profile core exec -T shroff shroff", f"{SHROFF} -C bank")
    (tmp_path / "secrets").mkdir()
    subprocess.run([SHROFF, "init", "bank", "--template", "payments"], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run(["sh", "-euc", script.partition("docker compose")[0]], cwd=tmp_path, check=True)
    listed = subprocess.run([SHROFF, "-C", "bank", "keys", "list"], cwd=tmp_path, check=True, capture_output=True)

    assert not (tmp_path / "key.json").exists()
    keys = [(tmp_path / "secrets" / f"{name}_key").read_text() for name in ("prometheus", "alertmanager")]
    assert [key.partition("_")[0] for key in keys] == ["shroff"] * 2
    assert all(scope in listed.stdout for scope in (b"read:metrics", b"post:alerts"))


@pytest.mark.slow
def test_the_program_takes_the_settings_for_the_systems_of_compose(tmp_path):
    bank = tmp_path / "bank"
    shutil.copytree(checks.ROOT / "src/shroff/templates/payments", bank)
    shutil.copy(checks.DEPLOY / "compose/shroff.yaml", bank)
    right = subprocess.run([SHROFF, "-C", bank, "check"], capture_output=True, text=True, check=False)
    (bank / "shroff.yaml").write_text((bank / "shroff.yaml").read_text().replace("dead_letters", "dead_leters"))
    wrong = subprocess.run([SHROFF, "-C", bank, "check"], capture_output=True, text=True, check=False)

    assert (right.returncode, "\nOK: " in right.stdout) == (0, True), right.stdout + right.stderr
    assert (wrong.returncode, "dead_leters" in wrong.stdout + wrong.stderr) == (1, True)
