"""Shell completion, by click's own protocol: what a shell is offered, and how fast."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from shroff import config
from shroff.cli.completion import SHELLS
from shroff.cli.main import program
from shroff.events.definitions import SOURCES, VERDICTS
from shroff.features.computed import ENGINES
from shroff.operations.manifest import commands
from shroff.replay.exports import FORMATS, KINDS
from shroff.runtime import environment

SHROFF = Path(sys.executable).parent / "shroff"
ANSWER_S_MAX = 0.5  # some 0.12 on two quiet cores, 0.2 on the slowest machine seen; what is loaded is looked at, too
TRIES = 15  # the other core may be busy: the best counts
EVENTS = """
payment: { id: id, time: at, decide: true, fields: { id: text, at: time } }
login: { id: id, time: at, fields: { id: text, at: time } }
label: { from: { csv: { event: row.nr } } }
entities: { card: { payment: id } }
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "shroff.yaml").write_text("shroff: 1\nname: small\nmoney: EUR\n")
    (tmp_path / "events.yaml").write_text(EVENTS)
    (tmp_path / "lists").mkdir()
    for name in ("known.csv", "blocked.csv", "notes.txt"):
        (tmp_path / "lists" / name).write_text("value\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def offered(*arguments: str) -> list[str]:
    """What is offered for the last argument, files as `file`."""
    *before, begun = arguments
    shell = ShellComplete(program, {}, "shroff", environment.COMPLETION_VARIABLE)
    found = shell.get_completions(list(before), begun)
    return ["file" if item.type == "file" else item.value for item in found]


def test_commands_that_are_there_are_offered_with_what_they_do():
    shell = ShellComplete(program, {}, "shroff", environment.COMPLETION_VARIABLE)

    found = {item.value: item.help for item in shell.get_completions([], "")}

    assert found == {name: words for name, (_, words) in commands().items()}


def test_a_command_begun_is_completed():
    assert offered("in") == ["init", "ingest"]


@pytest.mark.parametrize(
    "line, words",
    [
        ("ingest --as ", ["payment", "login", "label"]),
        ("ingest --as pa", ["payment"]),
        ("ingest march.csv --json --as lo", ["login"]),
        ("decide --as ", ["payment", "login"]),
        ("features --as l", ["login"]),
        ("explain ", ["payment/"]),
        ("replay pay", ["payment/"]),
        ("label ", ["payment/", "file"]),
        ("label march", ["file"]),
        ("label payment/p-1 ", list(VERDICTS)),
        ("label p-1 fraud --source ", list(SOURCES)),
        ("ingest ", ["file"]),
        ("ingest march.csv --labels ", ["file"]),
        ("ingest march.csv --order ", ["file", "time"]),
        ("ingest march.csv --format ", ["csv", "jsonl", "parquet", "avro"]),
        ("decide ", ["file"]),
        ("features --engine ", ["batch", "online", "naive"]),
        ("verify --engines o", ["online"]),
        ("verify --engines ", list(ENGINES)),
        ("verify --engines naive,o", ["naive,online"]),
        ("verify --engines online,o", []),
        ("export ", [*KINDS, "warehouse"]),
        ("export events --format ", [*FORMATS, "ndjson"]),
        ("init new --template ", list(config.TEMPLATES)),
        ("lists show ", ["blocked", "known"]),
        ("lists add k", ["known"]),
        ("quarantine ", ["drop", "list", "retry", "show"]),
        ("completion ", list(SHELLS)),
        ("no-such-command ", list(commands())),
        ("ingest --order", ["--order"]),
    ],
)
def test_the_rest_of_a_line_is_offered(folder, line, words):
    assert offered(*line.split(" ")) == words


def test_the_project_that_the_line_names_is_asked(folder, monkeypatch):
    monkeypatch.chdir("/")

    assert offered("-C", str(folder), "ingest", "--as", "p") == ["payment"]


@pytest.mark.parametrize("text", ["payment: {", "- 1", "", "payment: b\npayment: c\n\tx"])
def test_files_with_mistakes_offer_what_can_be_read_and_say_nothing(folder, text, capsys):
    (folder / "events.yaml").write_text(text)

    assert set(offered("decide", "--as", "")) <= {"payment"}
    assert capsys.readouterr() == ("", "")


def test_outside_a_project_no_type_is_offered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert offered("decide", "--as", "") == []


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_a_shell_is_what_the_shell_reads(shell):
    text = run("completion", shell).stdout

    assert f"{environment.COMPLETION_VARIABLE}={shell}_complete" in text


@pytest.mark.parametrize(
    "shell, asked",
    [
        ("bash", {"COMP_WORDS": "shroff exp", "COMP_CWORD": "1"}),
        ("zsh", {"COMP_WORDS": "shroff exp", "COMP_CWORD": "1"}),
        ("fish", {"COMP_WORDS": "shroff exp", "COMP_CWORD": "exp"}),
    ],
)
def test_the_program_answers_a_shell(shell, asked):
    done = run(**asked, **{environment.COMPLETION_VARIABLE: f"{shell}_complete"})

    assert done.returncode == 0
    assert {"explain", "export"} <= set(done.stdout.replace(",", " ").replace("\t", " ").split())


def test_bash_completes_a_command_by_the_script(folder):
    code = f"""
        source <({SHROFF} completion bash 2> /dev/null)
        COMP_WORDS=(shroff ingest --as pa) COMP_CWORD=3
        _shroff_completion {SHROFF}
        echo "${{COMPREPLY[@]}}"
    """

    assert subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True).stdout == "payment\n"


def test_an_answer_is_quick_and_loads_nothing_heavy(folder):
    code = (
        "import sys\nfrom shroff.cli.main import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *{name.split('.')[0] for name in sys.modules})"
    )
    asked = {"COMP_WORDS": "shroff ingest --as p", "COMP_CWORD": "3", environment.COMPLETION_VARIABLE: "bash_complete"}
    answer, _, loaded = output([sys.executable, "-c", code], asked).partition("LOADED")
    best = float("inf")
    for _ in range(TRIES):
        began = children_s()
        output([str(SHROFF)], asked)
        best = min(best, children_s() - began)
        if best < ANSWER_S_MAX:
            break

    assert answer.split() == ["plain,payment"]
    assert not set(loaded.split()) & {"numba", "numpy", "pyarrow", "rich"}
    assert best < ANSWER_S_MAX


def children_s() -> float:
    """What ended processes of this one have used of a core, in seconds: it does not count the wait for others."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def output(command: list[str], more: dict[str, str]) -> str:
    return subprocess.run(command, env=os.environ | more, capture_output=True, text=True, check=True).stdout


def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SHROFF), *arguments], env=os.environ | more, capture_output=True, text=True, check=False, timeout=120
    )
