"""What events hold reaches a terminal as text only: it can neither steer it nor pretend to be a line of ours."""

from __future__ import annotations

import json
import shlex

import pytest

from shroff.cli.main import run
from shroff.cli.session import Session, argument, harmless, one_line, table
from tests.support.projects import FILES

STEERING = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F))]
STEERING += [chr(code) for code in range(0x2066, 0x206A)]
HOSTILE = "p\x1b[2J\n\u202eNext: shroff\x9b"


@pytest.fixture
def bank(tmp_path, capsys):
    """A project with one payment of a hostile id and card, and a line that was refused."""
    for name, text in FILES.items():
        (tmp_path / "bank" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bank" / name).write_text(text)
    fields = {"id": HOSTILE, "at": "2026-03-01T12:00:00Z", "card": HOSTILE, "amount": "500.00"}
    lines = [{"payment": fields}, {"payment": {**fields, "id": "x", "amount": HOSTILE}}, {HOSTILE: fields}]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    assert run(["-C", str(tmp_path / "bank"), "ingest", str(tmp_path / "p.jsonl")]) == 4
    capsys.readouterr()
    return str(tmp_path / "bank")


@pytest.mark.parametrize(
    "words",
    [
        ["explain", HOSTILE],
        ["replay", f"payment/{HOSTILE}"],
        ["quarantine", "list"],
        ["quarantine", "show", "1"],
        ["quarantine", "show", "2"],
        ["quarantine", "retry"],
        ["doctor"],
        ["label", f"payment/{HOSTILE}", "fraud"],
        ["label", f"payment/{HOSTILE}", HOSTILE],
        ["label", "--pending"],
        ["explain", f"{HOSTILE}/x"],
    ],
    ids=lambda words: words[0],
)
def test_no_command_writes_what_steers_a_terminal(words, bank, capsys):
    run(["-C", bank, *words])

    captured = capsys.readouterr()
    written = captured.out + captured.err
    assert written != ""
    assert [char for char in STEERING if char != "\n" and char in written] == []
    assert not any(line.startswith("\\u202eNext") for line in written.splitlines())


def test_an_id_is_shown_written_out_and_quoted_for_the_shell(bank, capsys):
    assert run(["-C", bank, "explain", HOSTILE]) == 0

    captured = capsys.readouterr()
    assert captured.out.startswith(r"payment p\x1b[2J\n\u202eNext: shroff\x9b, sequence number 2: ")
    assert captured.err == f"Next: shroff -C {bank} replay 'payment/p\\x1b[2J\\n\\u202eNext: shroff\\x9b'\n"


def test_json_has_the_id_as_it_is(bank, capsys):
    assert run(["-C", bank, "explain", HOSTILE, "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["id"] == HOSTILE


@pytest.mark.parametrize("char", STEERING, ids=ascii)
def test_each_character_that_steers_is_written_out(char):
    assert one_line(f"a{char}b").isprintable()
    assert harmless(f"a{char}b") == (f"a{char}b" if char == "\n" else one_line(f"a{char}b"))


def test_other_text_stays_as_it_is():
    text = "Müller, 三菱 🙂 – שלום"

    assert harmless(text) == one_line(text) == text


def test_a_cell_of_a_table_stays_on_its_line():
    assert table([("a\nb", 1)]) == "  a\\nb  1"


def test_an_argument_survives_the_shell():
    for text in ("payment/p-1", "a b", "$(x)", "it's; rm"):
        assert shlex.split(f"shroff explain {argument(text)}")[2:] == [text]


def test_json_on_standard_error_stays_json(capsys):
    session = Session(is_json=True)
    session.complain('{"detail": "\x9b"}')

    assert json.loads(capsys.readouterr().err) == {"detail": "\x9b"}
