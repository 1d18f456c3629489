"""Every `shroff ...` command that the program, its pages, mails and documentation show can be run as it stands there.

Held against the program's own commands: each name, each name below it, and each option has to exist.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from shroff.cli.main import program
from shroff.operations.manifest import commands as all_commands
from tests.architecture.sources import module

pytestmark = pytest.mark.slow

check = program.get_command(click.Context(program), "check") or program  # has what all commands have
ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "shroff"
PLACE = "NAME"  # for what a message fills in
QUOTED = re.compile(r"(?:'|`|\"|>)shroff ([^'`\"<\n]+)(?:'|`|\"|<)")
BLOCK_LINE = re.compile(r"^(?:\$ )?shroff (.+)$", re.MULTILINE)
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *SOURCE.rglob("templates/**/*.md")])
SHOW_COMMANDS = {"next", "command", "add_command", "Example"}  # functions that are given whole commands


def commands_of(path: Path) -> Iterator[str]:
    """Commands in the texts of a module as people see them, values filled in."""
    for node in module(path).nodes:
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in SHOW_COMMANDS:
            for arg in [part for given in node.args for part in ast.walk(given)]:
                if (text := text_of(arg)).startswith("shroff ") and "\n" not in text:
                    yield text.removeprefix("shroff ")
        if "shroff " in (text := text_of(node)):
            yield from QUOTED.findall(text)


def text_of(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(item.value) if isinstance(item, ast.Constant) else PLACE for item in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def shown() -> Iterator[tuple[str, str]]:
    """Every command with the file that shows it."""
    for path in sorted(SOURCE.rglob("*.py")):
        yield from ((path.name, item) for item in commands_of(path))
    for path in sorted([*SOURCE.rglob("*.html"), *SOURCE.rglob("*.j2")]):
        text = re.sub(r"\{\{.*?\}\}", PLACE, re.sub(r'" ~ .*?(?= ~ "|\)) ?~? ?"?', PLACE, path.read_text("utf-8")))
        yield from ((path.name, line) for line in QUOTED.findall(text))
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        blocks = re.findall(r"^```(?:console|bash|sh)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        yield from ((path.name, item) for block in blocks for item in BLOCK_LINE.findall(block))
        yield from ((path.name, line) for line in re.findall(r"`shroff ([^`\n]+)`", text))


def mistake_in(line: str) -> str:
    """What of a command does not exist; empty where all does."""
    line = re.split(r" [|>&] | && |\$\(|…", line)[0]
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # cut within quotation marks
        words = line.split()
    command: click.Command = program
    while words and (word := words.pop(0)) not in {"...", "&", ";", "\\"}:
        if re.match(r"\[?--?[a-zA-Z]", word):
            name = word.strip("[]").partition("=")[0].removesuffix(PLACE)
            options = [
                param
                for each in (command, program, check)
                for param in each.params
                if name in (*param.opts, *param.secondary_opts)
            ]
            if not options and name != "--help":
                return f"{command.name} has no option {name}"
            if options and not getattr(options[0], "is_flag", False) and "=" not in word:
                words[:1] = []
        elif isinstance(command, click.Group):
            names = [part for part in word.strip("[]{}.,:;").replace(PLACE, "").split("|") if part]
            if all(item.isupper() for item in names):  # a word of the reader's own, or nothing but what is filled in
                return ""
            known = all_commands() if command is program else command.commands
            if unknown := [item for item in names if item not in known]:
                return f"{command.name} has no command {unknown[0]}"
            command = below(command, names[0])
    return ""


@cache
def below(group: click.Group, name: str) -> click.Command:
    """The command of a group with this name, made once; the group itself where there is none."""
    return group.get_command(click.Context(group), name) or group


def test_every_command_that_is_shown_exists():
    found = sorted(set(shown()))
    mistakes = [f"{file}: shroff {line}: {words}" for file, line in found if (words := mistake_in(line))]

    assert len(found) > 800
    assert mistakes == []


@pytest.mark.parametrize(
    "line",
    [
        "outbx list",
        "outbox lst",
        "check --jsn",
        "jobs run marts --wiat",
        "-C bank models promot m-1",
        "models promote|rolback NAME",
    ],
)
def test_the_law_finds_what_does_not_exist(line):
    assert mistake_in(line)


def test_a_group_without_a_command_lists_or_shows_its_help(tmp_path, capsys):
    from shroff.cli.main import run

    folder = tmp_path / "bank"
    assert run(["init", str(folder), "--template", "payments"]) == 0
    assert run(["-C", str(folder), "ingest", str(folder / "examples" / "payment.json"), "--as", "payment"]) == 0
    for name in all_commands():
        if isinstance(program.get_command(click.Context(program), name), click.Group):
            capsys.readouterr()
            status = run(["-C", str(folder), name])
            said = capsys.readouterr()

            assert status in {0, 2}, name
            assert "Missing command" not in said.err, name
            assert said.out or re.search("Run '|shroff.yaml|source|--out", said.err), (name, said.err)


def test_a_group_that_lists_takes_the_options_of_its_list(capsys):
    from shroff.cli.main import run

    for name in all_commands():
        group = program.get_command(click.Context(program), name)
        if isinstance(group, click.Group) and "list" in group.commands and not group.invoke_without_command:
            assert run([name, "--no-such", "1"]) == 2
            assert f"shroff {name} list --help" in capsys.readouterr().err, "as list says it"
