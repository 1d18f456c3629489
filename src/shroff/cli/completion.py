"""`shroff completion`, and the completions that a shell offers for a word.

The shell runs the program with an environment variable set (click's protocol) and waits for the answer at each key
press. So nothing heavy is imported: event types are read from the text of events.yaml, even if it has errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class, shell_complete

from shroff import config
from shroff.cli.session import Session, command
from shroff.errors import ShroffError
from shroff.runtime import environment

if TYPE_CHECKING:
    from shroff.language.yaml.text import Node

Offer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

SHELLS = {  # file to which a shell's script is added
    "bash": "~/.bashrc",
    "zsh": "~/.zshrc",
    "fish": "~/.config/fish/completions/shroff.fish",
}


@command("completion")
@click.argument("shell", metavar="|".join(SHELLS), type=click.Choice(list(SHELLS)))
def completion(session: Session, shell: str) -> None:
    """Print a script that lets a shell complete commands, options, event types and files.

    Examples:
        shroff completion bash >> ~/.bashrc
        shroff completion fish | source
    """
    program = click.get_current_context().find_root().command
    shell_class = get_completion_class(shell)
    assert shell_class is not None, "click knows the three shells"
    script = shell_class(program, {}, "shroff", environment.COMPLETION_VARIABLE).source().rstrip()
    session.answer({"shell": shell, "script": script}, script)
    session.next(f"shroff completion {shell} >> {SHELLS[shell]}")


def complete(program: click.Command, instruction: str) -> int:
    return shell_complete(program, {}, "shroff", environment.COMPLETION_VARIABLE, instruction)


def _project(context: click.Context) -> config.ProjectPaths | None:
    folder: Path | None = context.find_root().params.get("folder")
    try:
        return config.find_project(folder or Path())
    except ShroffError:
        return None


def _types(context: click.Context) -> dict[str, bool]:
    """Read the event types of events.yaml, each with whether it is decided; empty without a project."""
    from shroff.events.keys import EVENTS
    from shroff.language.yaml import text as yamltext

    paths = _project(context)
    try:
        text = "" if paths is None else config.read_files(paths.folder, [], ("events.yaml",)).get("events.yaml", "")
    except ShroffError:
        text = ""
    root = yamltext.read(text, "events.yaml", [])
    entries = root.entries if isinstance(root, yamltext.Mapping) else ()
    return {key.text: _is_decided(value) for key, value in entries if key.text not in EVENTS.names}


def _is_decided(node: Node) -> bool:
    from shroff.language.yaml.text import Mapping, Scalar

    decide = node.get("decide") if isinstance(node, Mapping) else None
    return isinstance(decide, Scalar) and decide.text == "true"


# ---- completions


def offers(find: Callable[[click.Context], Iterable[str]]) -> Offer:
    """Return a completion that calls `find` when a shell asks."""

    def offer(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        return [CompletionItem(word) for word in find(context) if word.startswith(begun)]

    offer.__doc__ = find.__doc__
    return offer


def words(*options: str) -> Offer:
    return offers(lambda _: options)


backends = words("local", "dask", "spark")
clusters = words("dask", "spark")
formats = words("csv", "jsonl", "parquet", "avro")
label_sources = words("chargeback", "analyst", "customer", "import")
verdicts = words("fraud", "genuine", "unclear")


def words_in_turn(*options: str) -> Offer:
    """Return a completion of a list with commas, which omits words that the list has."""

    def offer(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        before, comma, last = begun.rpartition(",")
        present = before.split(",")
        return [
            CompletionItem(before + comma + word) for word in options if word.startswith(last) and word not in present
        ]

    return offer


feature_engines = words("batch", "online", "naive")
engines = words_in_turn("online", "batch", "naive")


def files(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Offers files, which the shell itself finds."""
    return [CompletionItem(begun, type="file")]


event_types = offers(_types)


@offers
def event_types_and_labels(context: click.Context) -> Iterable[str]:
    """Offers what lines of a file can be."""
    return *_types(context), "label"


@offers
def references(context: click.Context) -> Iterable[str]:
    """Offers the decided types, as `payment/p-1` begins with one."""
    return [f"{name}/" for name, is_decided in _types(context).items() if is_decided]


@offers
def list_names(context: click.Context) -> Iterable[str]:
    paths = _project(context)
    return [] if paths is None else sorted(file.stem for file in paths.folder.glob("lists/*.csv"))


@offers
def model_ids(context: click.Context) -> Iterable[str]:
    paths = _project(context)
    return [] if paths is None else sorted(file.parent.name for file in paths.models.glob("[!.]*/manifest.json"))


def labelled(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Offers the type of an event or, of a file, its name; after an event the verdicts."""
    if context.params.get("what"):
        return verdicts(context, parameter, begun)
    return [*references(context, parameter, begun), *files(context, parameter, begun)]
