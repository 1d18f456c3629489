"""The command line by itself: help, names, exit codes, words of errors, and the small things commands stand on."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import click
import pytest

from shroff.cli import main as main_module
from shroff.cli.decide import ArrivingLines
from shroff.cli.failures import report
from shroff.cli.main import program, run
from shroff.cli.session import Session, many, table
from shroff.errors import (
    DefinitionError,
    InputError,
    LogBusyError,
    NotThereYetError,
    Problem,
    ReplayError,
    StateError,
    StorageError,
    TransientError,
    UsageError,
)
from shroff.operations.manifest import commands as all_commands
from shroff.runtime import logs
from tests.support.forks import SHROFF

LEAVES = [(name,) for name in all_commands()] + [("quarantine", name) for name in "list show retry drop".split()]


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_has_help_with_an_example_and_json(words, nowhere, capsys):
    assert run([*words, "--help"]) == 0

    text = capsys.readouterr().out
    assert "Example" in text
    assert f"shroff {' '.join(words)}" in text.partition("Example")[2]
    assert "--json" in text


@pytest.mark.slow
@pytest.mark.parametrize("words, ways", [(["check"], ["<&- >&- 2>&-"]), (["decide", "-"], ["<&-", ">&-", "2>&-"])])
def test_streams_that_are_closed_change_nothing_else(tmp_path, words, ways):
    assert run(["init", str(tmp_path / "bank")]) == 0
    program = [sys.executable, "-m", "shroff", "-C", str(tmp_path / "bank"), *words]
    whole = subprocess.run(program, input=b"", capture_output=True, check=False)
    for closed in ways:
        part = subprocess.run(
            ["sh", "-c", f'"$@" {closed}', "sh", *program], capture_output=True, check=False, input=b""
        )

        assert part.returncode == whole.returncode == 0
        assert part.stdout == (b"" if ">&-" in closed.split() else whole.stdout)
        assert part.stderr == (b"" if "2>&-" in closed else whole.stderr)


@pytest.mark.parametrize("words", [["check"], ["check", "--json"], ["--help"], ["nope", "--json"]], ids=" ".join)
def test_output_that_has_no_room_is_told_in_words(words, tmp_path, monkeypatch, capsys):
    assert run(["init", str(tmp_path / "bank")]) == 0
    capsys.readouterr()
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        code = run(["-C", str(tmp_path / "bank"), *words])
    (told,) = capsys.readouterr().err.splitlines()

    assert code == 3
    assert "No space left on device. Make room and try again." in told
    assert "--json" not in words or json.loads(told)["type"] == "storage"


def test_words_that_have_no_room_change_nothing_else(tmp_path):
    for words, code in ((["nope"], 2), (["init", tmp_path / "bank"], 0), (["-C", tmp_path / "bank", "check"], 0)):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run([SHROFF, *words], stderr=full, stdout=subprocess.PIPE, check=False)

        assert done.returncode == code
    assert b"OK: " in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["features", "--as", "payment"], "'--out'"),
        (["lake", "decide"], "'--out'"),
        (["rules", "show"], "'RULE'"),
        (["keys", "create", "till"], "'--role'"),
    ],
)
def test_what_a_command_must_be_given_is_named(words, said, nowhere, capsys):
    assert run(words) == 2
    assert f"{said}.\n" in capsys.readouterr().err


@pytest.mark.slow
def test_nothing_of_the_log_is_written_into_by_what_is_said(tmp_path):
    assert run(["init", str(tmp_path / "bank")]) == 0
    example = str(tmp_path / "bank" / "examples" / "payment.json")
    program = [sys.executable, "-m", "shroff", "-C", str(tmp_path / "bank"), "decide", example, "--as", "payment"]
    subprocess.run(["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *program], check=True)

    assert run(["-C", str(tmp_path / "bank"), "verify"]) == 0


def test_ctrl_c_while_the_program_is_imported_ends_it_quietly():
    interrupted = """
import sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == "click":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
from {module} import {function}
{function}()
"""
    with (Path(__file__).parents[2] / "pyproject.toml").open("rb") as file:
        module, _, function = tomllib.load(file)["project"]["scripts"]["shroff"].partition(":")
    text = interrupted.format(module=module, function=function)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_a_command_that_used_duckdb_leaves_without_a_word_of_its_own():
    text = "import duckdb; duckdb.connect().close(); from shroff.cli.main import main; main(['--version'])"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, check=True)

    assert done.stderr == b""


def test_ctrl_c_that_a_library_makes_an_import_error_of_is_ctrl_c(nowhere, monkeypatch, capsys):
    #  as numpy does where the signal comes while its compiled part is imported
    def broken(*_, **__):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("_multiarray_umath failed to import") from None

    monkeypatch.setattr("shroff.cli.status.status.callback", broken)
    monkeypatch.setattr(main_module, "_interrupts", [])
    #  a test before this one may have left a handler of a library's own, as Spark's
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main_module.watch_interrupts()
        assert run(["status"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "\nStopped.\n"

    monkeypatch.setattr(main_module, "_interrupts", [])
    monkeypatch.setattr("shroff.cli.status.status.callback", broken_import)
    assert run(["status"]) == 70


def broken_import():
    raise ImportError("no such library")


def test_help_names_every_command(capsys):
    assert run([]) == 0

    text = capsys.readouterr().out
    assert [name for name in all_commands() if name not in text] == []


def test_each_next_step_names_a_command_that_there_is():
    sources = Path(str(main_module.__file__)).parent.glob("*.py")
    named = {
        word
        for source in sources
        for word in re.findall(r'"shroff ([a-z][a-z-]+)[ "]', source.read_text(encoding="utf-8"))
    }

    assert named - set(all_commands()) == {"runs", "serves"}, "but for sentences, which begin so"


def test_commands_are_listed_in_the_order_of_the_table():
    assert program.list_commands(click.Context(program)) == list(all_commands())


@pytest.mark.parametrize(
    "words, said",
    [
        (["exprt"], "Did you mean export?"),
        (["check", "--jsn"], "--json"),
        (["-C", "nowhere", "check"], "there is no folder nowhere"),
        (["-C", ".", "check"], "there is no shroff.yaml in ."),
        (["check"], "or above it"),
        (["-C", "nowhere", "init", "x"], "-C names an existing project; write 'shroff init x' without it."),
        (["label"], "name a FILE"),
        (["label", "--pending", "x"], "--pending lists labels; the only other option it takes is --as-of"),
        (["label", "labels.csv", "--source", "analyst"], "--source is for one label"),
        (["init", "bank", "--template", "paysm"], "Did you mean paysim? There are payments, paysim, savings,"),
        (
            ["init", "bank", "--template", "zzz"],
            "There are payments, paysim, savings, orders, cards, signals, cookbook, blank.",
        ),
        (["ingest", "-", "--as", "payment"], "'shroff ingest' takes files; 'shroff decide -' takes lines"),
        (["ingest", "x.csv", "--labels", "-"], "'shroff ingest' takes files"),
    ],
)
def test_wrong_use_is_one_clear_sentence_and_exit_code_2(words, said, nowhere, capsys):
    assert run(words) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("words", [["check", "--json"], ["nothing", "--json"], ["verify", "--sample", "no", "--json"]])
def test_with_json_an_error_is_one_document_on_standard_output(words, nowhere, capsys):
    assert run(words) == 2

    captured = capsys.readouterr()
    assert json.loads(captured.out).keys() >= {"type", "title", "detail"}
    assert captured.err == ""


PROBLEM = Problem("rules/a.yaml", 3, 9, "[0].when", "no such feature.", "Did you mean b?")


@pytest.mark.parametrize(
    "error, code",
    [
        (UsageError("x"), 2),
        (NotThereYetError("x"), 2),
        (DefinitionError([PROBLEM]), 2),
        (InputError([("amount", "x")]), 2),
        (LogBusyError("x"), 3),
        (TransientError("x"), 3),
        (StorageError("x"), 3),
        (StateError("x"), 3),
        (OSError(errno.ENOSPC, "No space left on device"), 3),
        (ReplayError("x"), 1),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("x"), 70),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
@pytest.mark.parametrize("is_json", [False, True])
def test_each_error_has_its_exit_code_and_no_traceback(error, code, is_json, capsys):
    assert report(error, Session(is_json=is_json)) == code

    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    assert (captured.out != "") == is_json
    assert (captured.err != "") == (not is_json)


@pytest.mark.parametrize("is_json", [False, True])
def test_ctrl_c_says_what_is_done_to_people_and_to_programs(is_json, capsys):
    session = Session(is_json=is_json)
    session.waits("7 lines are done and safe.")
    assert report(KeyboardInterrupt(), session) == 130

    captured = capsys.readouterr()
    assert "7 lines are done and safe." in (captured.out if is_json else captured.err)


def test_a_line_is_written_in_one_piece_so_that_threads_end_none_of_each_others(monkeypatch):
    pieces: list[str] = []

    class Pieces(io.StringIO):
        def write(self, text: str) -> int:
            pieces.append(text)
            return len(text)

    monkeypatch.setattr(sys, "stderr", Pieces())
    Session().say("shroff serves here")

    assert pieces == ["shroff serves here\n"]


def test_a_terminal_gets_nothing_that_steers_it_and_a_file_gets_every_byte(capfdbinary, monkeypatch):
    Session().write(b"id\n\x1b[31mred\xff\n")
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == b"id\n\x1b[31mred\xff\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    Session().write(b"id\n\x1b[31mred\xff\n")
    sys.stdout.flush()

    assert capfdbinary.readouterr().out == b"id\n\\x1b[31mred\\xff\n"


def test_a_mistake_of_the_program_shows_where_it_was_only_if_asked(capsys):
    def fail():
        raise ZeroDivisionError("planted")

    with pytest.raises(ZeroDivisionError) as caught:
        fail()
    report(caught.value, Session(shows_traceback=True))

    assert "in fail" in capsys.readouterr().err


def test_an_error_after_lines_were_written_goes_to_standard_error(capsys):
    session = Session(is_json=True)
    session.line("{}")
    report(StorageError("the disk is full"), session)

    captured = capsys.readouterr()
    assert captured.out == "{}\n"
    assert json.loads(captured.err)["detail"] == "the disk is full"


def test_a_problem_document_lists_every_mistake(capsys):
    report(DefinitionError([PROBLEM, PROBLEM]), Session(is_json=True))

    found = json.loads(capsys.readouterr().out)
    assert found["type"] == "definition-errors"
    assert [error["path"] for error in found["errors"]] == ["[0].when", "[0].when"]


def test_a_table_puts_numbers_to_the_right_and_words_to_the_left():
    text = table([("spent", 1_200, "412.00"), ("n", 7, "8.00")], ("name", "count", "value"))

    assert text.splitlines() == ["  name   count   value", "  spent  1,200  412.00", "  n          7    8.00"]


def test_one_is_not_many():
    assert (many(1, "event"), many(0, "event"), many(1_200, "entry", "entries")) == (
        "1 event",
        "0 events",
        "1,200 entries",
    )


# ---- input as it arrives


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    arrivals = ArrivingLines(reading)
    yield arrivals, writing
    arrivals.close()


def test_ctrl_c_ends_the_wait_for_a_line_whichever_thread_the_signal_reaches(pipe):
    arrivals, writing = pipe
    late = threading.Timer(120, os.write, (writing, b"late\n"))
    stopping = threading.Timer(0.2, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        late.start()
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the signal may come at any moment from there on
            stopping.start()
            arrivals.readline()
        assert late.is_alive(), "it was the signal that ended the wait, not a line"
    finally:
        signal.signal(signal.SIGINT, before)
        late.cancel()


def test_lines_that_came_together_are_there_without_waiting(pipe):
    arrivals, writing = pipe
    os.write(writing, b"one\ntwo\nthr")

    assert not arrivals.has_line()
    assert arrivals.readline() == b"one\n"
    assert arrivals.has_line()
    assert arrivals.readline() == b"two\n"
    assert not arrivals.has_line()

    os.write(writing, b"ee\n")
    assert arrivals.readline() == b"three\n"
    os.close(writing)


def test_the_last_line_may_lack_its_end(pipe):
    arrivals, writing = pipe
    os.write(writing, b"one\ntwo")
    os.close(writing)

    assert [arrivals.readline() for _ in range(3)] == [b"one\n", b"two", b""]
    assert arrivals.has_line()


def test_a_long_line_is_cut_at_the_limit(pipe):
    arrivals, writing = pipe
    os.write(writing, b"x" * 10 + b"\ny\n")
    os.close(writing)

    assert [arrivals.readline(4) for _ in range(5)] == [b"xxxx", b"xxxx", b"xx\n", b"y\n", b""]


# ---- files that are written


@pytest.mark.slow
@pytest.mark.parametrize("out", [".", "..", "folder"])
@pytest.mark.parametrize(
    "words", [["export", "decisions"], ["features", "--as", "payment"]], ids=lambda words: words[0]
)
def test_a_folder_is_no_file_to_write(words, out, nowhere, capsys):
    run(["init", "bank", "--template", "payments"])
    run(["-C", "bank", "ingest", "bank/examples/payment.json", "--as", "payment"])
    (nowhere / "folder").mkdir()
    capsys.readouterr()

    assert run(["-C", "bank", *words, "--out", out]) == 2
    assert capsys.readouterr().err == f"shroff: {out} is a folder; name a file in it.\n"


# ---- init


@pytest.mark.parametrize("template", ["payments", "paysim", "blank"])
def test_init_writes_a_project_that_check_finds_well(template, nowhere, capsys):
    assert run(["init", "bank", "--template", template, "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]

    assert {"shroff.yaml", "events.yaml", ".gitignore", "examples/payment.json"} <= set(files)
    assert all((nowhere / "bank" / name).is_file() for name in files)
    assert run(["-C", "bank", "check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["errors"] == []


@pytest.mark.slow
def test_check_leads_to_what_the_project_is_made_for(nowhere, capsys, monkeypatch):
    run(["init", "bank", "--template", "payments"])
    run(["-C", "bank", "check"])
    assert "Next: shroff -C bank ingest FILE" in capsys.readouterr().err
    with (nowhere / "bank" / "shroff.yaml").open("a") as file:
        file.write("\nsource: kafka://localhost:9092/payments\n")

    run(["-C", "bank", "check"])
    assert "Next: shroff -C bank run" in capsys.readouterr().err
    monkeypatch.chdir("bank")
    run(["check"])
    assert "Next: shroff run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("called", "found", "word"),
    [
        ("/home/ann/.venv/bin/shroff", "/home/ann/.venv/bin/shroff", "shroff"),  # what the path finds
        (".venv/bin/shroff", None, ".venv/bin/shroff"),
        (".venv/bin/shroff", "/usr/bin/shroff", ".venv/bin/shroff"),  # another one is on the path
        ("my tools/shroff", None, "'my tools/shroff'"),
        ("/usr/lib/python3/pytest/__main__.py", None, "shroff"),  # no program of ours
    ],
)
def test_a_hint_names_the_program_as_it_was_called(called, found, word, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [called])
    monkeypatch.setattr(shutil, "which", lambda _name: found)
    Session(folder=Path("bank")).next("shroff verify", "cat report.txt")

    assert capsys.readouterr().err == f"Next: {word} -C bank verify   or: cat report.txt\n"


def test_init_overwrites_nothing(nowhere, capsys):
    (nowhere / "bank").mkdir()
    (nowhere / "bank" / "mine.txt").write_text("mine")

    assert run(["init", "bank"]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in (nowhere / "bank").iterdir()] == ["mine.txt"]


def test_init_makes_a_key_only_where_a_field_is_hashed(nowhere, monkeypatch, capsys):
    from shroff.services import project as app

    run(["init", "plain", "--template", "blank"])
    monkeypatch.setattr(app.config, "template_files", hashing(app.config.template_files))
    assert run(["init", "secret", "--template", "blank"]) == 0

    key = nowhere / "secret" / ".shroff" / "hash.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "keep a copy" in capsys.readouterr().out
    assert not (nowhere / "plain" / ".shroff").exists()


def hashing(read):
    """The template, its account hashed."""

    def changed(name):
        files = read(name)
        return files | {"events.yaml": files["events.yaml"].replace(b"account: text", b"account: text hashed")}

    return changed


@pytest.mark.parametrize("is_json", [True, False])
def test_a_mistake_of_the_program_has_an_id_and_a_stack_and_none_of_its_words(nowhere, monkeypatch, capfd, is_json):
    def broken(*_, **__):
        int("Zebedee")

    monkeypatch.setattr(logs._ErrorStacks, "seen", {})  # a stack is told once
    monkeypatch.setattr("shroff.cli.status.status.callback", broken)
    assert run(["status", *(["--json"] if is_json else [])]) == 70
    out, err = capfd.readouterr()

    told = json.loads(out)["detail"] if is_json else err
    (id_,) = re.findall(r"error ([0-9a-f]{12}): a command: ValueError at \S+", told)
    assert re.search(r"tests/cli/test_cli\.py:\d+ broken$", told.strip())
    assert not is_json or json.loads(out)["instance"] == f"urn:shroff:error:{id_}"
    assert "Zebedee" not in out + err


def test_a_command_that_ends_collects_nothing_once_more():
    """What every library has made would be walked through again and again; that took a sixth of a short command."""
    code = (
        "import atexit, gc; atexit.register(lambda: print(len(gc.get_objects()) < gc.get_freeze_count() > 10_000))\n"
        "from shroff.cli.main import main; main(['--version'])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True"
