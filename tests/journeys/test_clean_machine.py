"""`make demo` as on a machine that has nothing yet: an empty home, no caches, the system's Python, and this tree."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.support import forks
from tests.support.effort import IS_LONG
from tests.support.served import NO_TLS

pytestmark = [pytest.mark.slow, pytest.mark.first, pytest.mark.long]

ROOT = Path(__file__).resolve().parents[2]
BARE_PATH = "/usr/bin:/bin"
# Where packages come from is a property of the network, not of the home; no cache is among them.
OF_THE_NETWORK = re.compile(r"(PIP|UV)_(?!CACHE|NO_CACHE)|SSL_CERT_|.*_(?i:proxy)$")
LINK = re.compile(r"http://\S+/login/once/\w+")
NO_INDEX = "If the package index cannot be reached"  # as tools/bootstrap.py says it
# What the compiler made in this tree (`make warm`), but for one kernel that a demo loads first: all take minutes.
COMPILED, LACKING = {".kernel", ".nbi", ".nbc"}, "windows.tend"
# How thoroughly a model is judged there, which is half of its training, as tests of other demos have it; and its past,
# which is too short for a model in force, as those show one.
LESS_OFTEN = (
    ("src/shroff/cli/demo.py", "PAST_EVENTS = 60_000 ", "PAST_EVENTS = 15_000 "),
    ("src/shroff/training/leak_test.py", "SAMPLE = 1_000\n", f"SAMPLE = {forks.LEAK_ROWS}\n"),
    ("src/shroff/models/evaluation/intervals.py", "TIMES = 200 ", "TIMES = 50 "),
)
LIMIT_S = 600.0  # the whole first minute on a machine that does many other things


class Terminal:
    """A command line in a folder of the bare machine: what runs there, and what it printed so far."""

    def __init__(self, folder: Path, command: str, environment: dict[str, str]) -> None:
        self.output = folder.with_name(f"output-{time.monotonic_ns()}")
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                ["bash", "-c", command], cwd=folder, env=environment, stdout=out, stderr=out, start_new_session=True
            )

    def printed(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def link(self) -> str:
        """The link that it printed, waited for."""
        end_s = time.monotonic() + LIMIT_S
        while not (found := LINK.search(self.printed())):
            if NO_INDEX in self.printed() and "CI" not in os.environ:
                pytest.skip(reason="the package index cannot be reached from here")
            assert self.process.poll() is None, self.printed()
            assert time.monotonic() < end_s, self.printed()
            time.sleep(0.1)
        return found[0]

    def press_ctrl_c(self) -> None:
        """What a terminal does: everything that runs in it is interrupted."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(120)

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextmanager
def typed(folder: Path, command: str, environment: dict[str, str]) -> Iterator[Terminal]:
    terminal = Terminal(folder, command, environment)
    try:
        yield terminal
    finally:
        terminal.end()


def bare_machine(folder: Path) -> tuple[Path, dict[str, str]]:
    """A copy of this tree without anything that git ignores, and the environment of somebody who just signed in.

    All kernels are compiled there in a campaign; else most are given, as they take half of the test.
    """
    tree, listed = folder / "shroff", ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0"):
        if (source := ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, tree / name)
    for source in () if IS_LONG else (ROOT / "src").rglob("__pycache__/*"):
        if (
            source.suffix in COMPILED
            and not source.name.startswith(LACKING)
            and source.parent.with_name(f"{source.name.partition('.')[0]}.py").exists()
        ):
            (place := tree / source.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, place)
    for name, usual, less in () if IS_LONG else LESS_OFTEN:
        text = (tree / name).read_text(encoding="utf-8")
        assert text.count(usual) == 1, (name, usual)
        (tree / name).write_text(text.replace(usual, less), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if OF_THE_NETWORK.match(name)}
    for name in ("HOME", "TMPDIR"):
        environment[name] = str(folder / name.lower())
        Path(environment[name]).mkdir()
    return tree, environment | {"PATH": BARE_PATH, "LANG": "C.UTF-8"}


def enters(link: str) -> int:
    """The status of the queue's page, for who follows a link and presses its button."""
    server = "/".join(link.split("/")[:3])
    with httpx2.Client(timeout=120, verify=NO_TLS, headers={"origin": server}) as browser:
        browser.post(link)
        return browser.get(f"{server}/queue").status_code


def test_two_commands_of_the_readme_show_the_bank_and_what_they_print_runs(tmp_path):
    tree, environment = bare_machine(tmp_path)
    began_s = time.monotonic()
    with typed(tree, "make demo ARGS='--port 0 --events 3000'", environment) as demo:
        status = enters(demo.link())
        print(f"from a clone to the queue: {time.monotonic() - began_s:.0f} s")
        proposed = re.findall(r"^  (\.venv/bin/shroff .*)$", demo.printed(), re.MULTILINE)
        ran = [subprocess.run(["bash", "-c", item], cwd=tree, env=environment, check=False) for item in proposed]
        demo.press_ctrl_c()
    again = re.findall(r"^Next: (.*)$", demo.printed(), re.MULTILINE)
    with typed(tree, again[-1], environment) as served:
        status_again = enters(served.link())
        served.press_ctrl_c()

    assert (status, status_again) == (200, 200)
    assert [item.returncode for item in ran] == [0] * 3
    assert "compiling kernels, once on this machine" in demo.printed()
    assert "Traceback" not in demo.printed() + served.printed()
    assert {path.name for path in tree.iterdir()} - {path.name for path in ROOT.iterdir()} <= {".venv", "__pycache__"}
    shutil.rmtree(tree / ".venv")  # 750 MB
