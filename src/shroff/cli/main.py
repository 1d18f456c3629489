"""The program `shroff`: runs the command that was named, and turns what it raises into words and an exit code.

A command's module is imported when it is asked for, so that `shroff --help` stays quick.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

import shroff
from shroff import config
from shroff.cli.failures import report
from shroff.cli.session import Session
from shroff.errors import nearest

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS: Final = {  # name: (module below shroff.cli, what it does)
    "demo": ("demo", "a made-up bank: payments stream in and are decided, with reasons"),
    "init": ("init", "write a new project that runs"),
    "check": ("check", "find every mistake in the project's files, test the rules"),
    "ingest": ("ingest", "bring files of events in, deciding on the way"),
    "decide": ("decide", "events in, one JSON line each; decisions out"),
    "run": ("run", "a worker: events from Kafka, Redis Streams or files, decided as they come"),
    "lanes": ("lanes", "how each of several lanes is; tell all of them what is in force"),
    "apply": ("apply", "make the project's files the active version, also in a running service"),
    "serve": ("serve", "the service: events posted by programs, decided as they come"),
    "source": ("source", "how far the live source was read; let a part of it begin anew"),
    "sources": ("sources", "named sources: their messages, subscriptions, and saved messages judged"),
    "produce": ("produce", "send the events of a file to the live source, at any pace"),
    "features": ("features", "compute features of events into a Parquet file"),
    "label": ("label", "record what was found out about events"),
    "train": ("train", "fit a model to the labels so far, and judge it"),
    "training-set": ("training_set", "write what train would learn from as Parquet"),
    "explain": ("explain", "say why an event was decided as it was"),
    "replay": ("replay", "compute one decision again from the log and compare"),
    "verify": ("verify", "compute the whole log again and compare"),
    "quarantine": ("quarantine", "look at input that was refused, bring it back in or drop it"),
    "outbox": ("outbox", "how far each sink is, and what is stuck; deliver, put back, drop"),
    "notices": ("notices", "who is told what; previews, test mails, letters that were refused"),
    "lists": ("lists", "show and change the lists that rules read"),
    "thresholds": ("thresholds", "weigh costs and capacity into cut-offs of the score"),
    "models": ("models", "list, promote and roll back models"),
    "drift": ("drift", "what a model reads, recently against a reference"),
    "import-rules": ("import_rules", "carry rules of Stripe Radar over to this project"),
    "backtest": ("backtest", "judge old events by new rules or models"),
    "generate": ("generate", "synthetic data, with fraud: orders of a shop as Parquet"),
    "jobs": ("jobs", "work in the background, by hand and by the clock"),
    "counts": ("counts", "how many events of each type, by day, week or a field"),
    "facts": ("facts", "the features of one card, user or other key at a moment"),
    "summaries": ("summaries", "counts and sums of five minutes into SQL tables"),
    "funnel": ("funnel", "drop-off and recovery of users by day, and how far they come"),
    "marts": ("marts", "tables that SQL of yours makes of the lake, with tests"),
    "export": ("export", "decisions, events, flags or labels, in log order"),
    "lake": ("lake", "events, decisions and features as Parquet in a folder or bucket"),
    "prune": ("prune", "move old events from the store to the lake"),
    "erase": ("erase", "take away what is personal of one entity's events"),
    "index": ("index", "note where the events of each key stand, for quick answers"),
    "snapshot": ("snapshot", "save state, for a quicker start"),
    "cases": ("cases", "what analysts have to look at: the queue, one case, an answer"),
    "silences": ("silences", "rules that are silent for a key until a time"),
    "users": ("users", "people who may sign in, and what they may do"),
    "keys": ("keys", "keys of programs that call the API"),
    "audit": ("audit", "the record of who did what, and whether it is whole"),
    "doctor": ("doctor", "say in plain words what is wrong and what to do"),
    "notebook": ("notebook", "write a notebook that opens the project"),
    "schema": ("schema", "schemas of Avro messages; JSON Schema of project files for editors"),
    "completion": ("completion", "let a shell complete commands, event types and files"),
}

STARTING: Final = (50_000, 20, 50)  # what is imported makes many objects, and hardly any that the collector could free
EXIT_STATUS: Final = (
    ("0", "done"),
    ("1", "done, and the answer is no"),
    ("2", "wrong use, or definitions that keep the command from running"),
    ("3", "the log, its disk or something else outside cannot be had now"),
    ("4", "some input was quarantined or a whole file unmatched, the rest is done"),
    ("70", "a mistake in shroff itself"),
    ("130", "stopped by Ctrl-C"),
    ("141", "nobody read the output on"),
)


class CommandGroup(click.Group):
    """The command `shroff`, with its sub-commands imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module = import_module(f"shroff.cli.{COMMANDS[cmd_name][0]}")
            command: click.Command = getattr(module, cmd_name.replace("-", "_"))
            return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        is_known = name in COMMANDS or name.startswith("-")
        if not is_known and not ctx.resilient_parsing:  # resilient: a shell asks how the line may go on
            hint = nearest(name, COMMANDS) or "'shroff --help' lists the commands."
            raise click.UsageError(f"there is no command {name!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands that are there, from the table alone, and the options of the program itself."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=words) for name, (_, words) in COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Example"):
            formatter.write("  shroff init mybank --template payments\n  shroff -C mybank check\n")
        words = "; ".join(f"{status} {meaning}" for status, meaning in EXIT_STATUS)
        formatter.write("\n")
        formatter.write_text(f"Every command has --help with an example, and --json. Exit status: {words}.")


@click.command(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "-C",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The project's folder.  [default: the nearest parent with a shroff.yaml]",
)
@click.option(
    "--lane",
    metavar="N",
    type=click.IntRange(min=0),
    help="One lane of a project that has several, from 0 on; also behind the command.",
)
@click.option("--traceback", is_flag=True, hidden=True, help="Show where in the program an error was raised.")
@click.version_option(shroff.__version__, prog_name="shroff", message="%(prog)s %(version)s")
@click.pass_obj
def program(session: Session, folder: Path | None, lane: int | None, traceback: bool) -> None:
    """Decide payments and other money events, every decision with its reasons."""
    session.folder, session.lane, session.shows_traceback = folder, lane, traceback


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command, or answer a shell that asks how to go on, and leave with the exit code."""
    watch_interrupts()
    hold_streams()
    asked = config.completion_asked()
    if asked:
        from shroff.cli.completion import complete

        sys.exit(complete(program, asked))
    config.calm_libraries()
    gc.set_threshold(*STARTING)
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run one command; gives its exit code."""
    session = Session(is_json="--json" in arguments)
    try:
        code = _invoke(arguments, session)
        session.warn()
        session.flush()
    except BaseException as error:  # noqa: BLE001  # the outermost: whatever it is becomes words and an exit code
        return report(meant_by(error), session)
    return code


def _invoke(arguments: list[str], session: Session) -> int:
    if not arguments:
        arguments = ["--help"]
    try:
        with program.make_context("shroff", arguments, obj=session) as context:
            result: Any = program.invoke(context)
    except click.exceptions.Exit as left:
        return left.exit_code
    return result if isinstance(result, int) else 0


# ---- Ctrl-C, also where a library that is just being imported makes another error of it


_interrupts: list[int] = []


def watch_interrupts() -> None:
    """Remember from here on that Ctrl-C came, and raise KeyboardInterrupt as ever."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)


def _interrupted(number: int, frame: FrameType | None) -> None:
    _interrupts.append(number)
    signal.default_int_handler(number, frame)


def meant_by(error: BaseException) -> BaseException:
    """The error that was meant: numpy's import, interrupted, fails with an ImportError that says nothing of it."""
    return KeyboardInterrupt() if _interrupts and isinstance(error, ImportError) else error


# ---- standard streams that were closed before the program began, as by `shroff check >&-`


def hold_streams() -> None:
    """Let what was closed lead nowhere: nothing is there to be read, and what is written is lost, as was asked.

    Else the next file to be opened would have its number, and the log would stand where output goes.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the smallest number that is free: this one
    streams: Any = sys  # whose streams are None where they were closed
    streams.stdin = streams.stdin or _nowhere("r")
    streams.stdout = streams.stdout or _nowhere("w")
    streams.stderr = streams.stderr or _nowhere("w")


def _nowhere(mode: str) -> Any:
    return open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123 (open to the end of the program)
