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
from shroff.cli.progress import CompileNote
from shroff.cli.session import Session
from shroff.errors import nearest
from shroff.runtime import logs
from shroff.runtime.process_wide import calm_libraries, compile_listeners, is_program

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS: Final = {  # name: (module below shroff.cli, what it does)
    "demo": ("demo", "score payments of a synthetic bank live, with reasons"),
    "init": ("init", "create a new project that runs"),
    "check": ("check", "check all project files and run the rules' tests"),
    "ingest": ("ingest", "append events from files to the log and decide them"),
    "decide": ("decide", "read events and write decisions as JSON lines"),
    "score": ("score", "show what would be decided of events, and write nothing"),
    "run": ("run", "run a worker: decide events from Kafka, Redis Streams or files as they arrive"),
    "lanes": ("lanes", "show several lanes and activate project files in all of them"),
    "apply": ("apply", "make the project's files the active version, also in a running service"),
    "serve": ("serve", "run the HTTP service: events in, decisions out"),
    "source": ("source", "show the read position of the live source, or reset a part of it"),
    "sources": ("sources", "named sources: list, sync, confirm subscriptions, verify saved messages"),
    "produce": ("produce", "send the events of a file to the live source, at any pace"),
    "features": ("features", "compute features of events into a Parquet file"),
    "label": ("label", "record labels of events"),
    "train": ("train", "train a model on the labels so far, and evaluate it"),
    "training-set": ("training_set", "write the training data as Parquet"),
    "explain": ("explain", "explain a decision: reasons, features, rules"),
    "replay": ("replay", "compute one decision again from the log and compare"),
    "verify": ("verify", "compute the whole log again and compare"),
    "quarantine": ("quarantine", "show refused input, retry or drop it"),
    "outbox": ("outbox", "outgoing deliveries of sinks: show, deliver, retry, drop"),
    "notices": ("notices", "notifications: list, preview, test mails, failed letters"),
    "lists": ("lists", "show and change the lists that rules read"),
    "thresholds": ("thresholds", "choose thresholds of the score by cost and review capacity"),
    "models": ("models", "list, promote and roll back models"),
    "drift": ("drift", "compare a model's recent inputs with a reference"),
    "import-rules": ("import_rules", "import rules from Stripe Radar"),
    "backtest": ("backtest", "compare draft rules or models with past decisions"),
    "generate": ("generate", "synthetic data, with fraud: orders of a shop as Parquet"),
    "jobs": ("jobs", "background jobs, by hand or on a schedule"),
    "counts": ("counts", "count events by type, day, week or a field"),
    "facts": ("facts", "show the features of one card, user or other key at a time"),
    "summaries": ("summaries", "write five-minute counts and sums into SQL tables"),
    "funnel": ("funnel", "count drop-off and recovery of users by day and step"),
    "marts": ("marts", "build tables from the lake with your SQL and tests"),
    "export": ("export", "export decisions, events, flags or labels in log order"),
    "lake": ("lake", "events, decisions and features as Parquet in a folder or bucket"),
    "prune": ("prune", "move old events from the store to the lake"),
    "backup": ("backup", "back up the project, list, verify and remove backups"),
    "restore": ("restore", "restore a project from its backups into a new folder"),
    "migrate": ("migrate", "back up, then bring the tables up to this version"),
    "erase": ("erase", "erase personal fields of one entity's events"),
    "index": ("index", "index the log by key, for quick answers"),
    "snapshot": ("snapshot", "save the state, for a quicker start"),
    "watermark": ("watermark", "what late events are judged against; set it back"),
    "cases": ("cases", "the analysts' queue: list, show and answer cases"),
    "silences": ("silences", "silence a rule for a key until a time"),
    "users": ("users", "people who may sign in, and their roles"),
    "keys": ("keys", "API keys of programs"),
    "audit": ("audit", "show and verify the audit log"),
    "status": ("status", "events, cases, deliveries and the machine on one screen"),
    "doctor": ("doctor", "find problems and show their remedies"),
    "capacity": ("capacity", "estimate the machine that a rate of events needs"),
    "dashboards": ("dashboards", "write Grafana dashboards of the project's metrics"),
    "notebook": ("notebook", "write a notebook about the project"),
    "schema": ("schema", "Avro schemas of messages; JSON Schema of project files for editors"),
    "completion": ("completion", "shell completion of commands, event types and files"),
}

STARTING: Final = (100_000, 20, 50)  # what is imported makes many objects, and hardly any that the collector could free
EXIT_STATUS: Final = (
    ("0", "done"),
    ("1", "done, with a negative result such as a failed check"),
    ("2", "wrong usage, or invalid project files"),
    ("3", "the log, its disk or another system is unavailable now"),
    ("4", "done, but some input was quarantined or a whole file was unmatched"),
    ("5", "train --watch --once: files came, and no model was made of them"),
    ("70", "an internal error of shroff"),
    ("130", "stopped by Ctrl-C"),
    ("141", "the output pipe was closed"),
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
    help="One lane of a project with several, from 0 on; also allowed after the command.",
)
@click.option("--traceback", is_flag=True, hidden=True, help="Show the Python traceback of an error.")
@click.version_option(shroff.__version__, prog_name="shroff", message="%(prog)s %(version)s")
@click.pass_obj
def program(session: Session, folder: Path | None, lane: int | None, traceback: bool) -> None:
    """Detect fraud in payments and other money events, and give the reasons of every decision."""
    session.folder, session.lane, session.shows_traceback = folder, lane, traceback


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command, or answer a shell that asks how to go on, and leave with the exit code."""
    watch_interrupts()
    hold_streams()
    asked = config.completion_asked()
    if asked:
        from shroff.cli.completion import complete

        sys.exit(complete(program, asked))
    calm_libraries()
    if arguments is None:
        is_program.set()
    gc.set_threshold(*STARTING)
    code = run(list(sys.argv[1:] if arguments is None else arguments))
    if "duckdb" not in sys.modules:  # which tells of each object that a process leaves behind
        gc.freeze()  # nothing is collected once more, module by module, from a process that ends
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command; gives its exit code."""
    session = Session(is_json="--json" in arguments)
    listener = CompileNote(session.say)
    compile_listeners.append(listener)
    try:
        logs.begin(session.log, *logs.settings())
        config.share_credentials()
        code = _invoke(arguments, session)
        session.warn()
        session.flush()
    except BaseException as error:  # noqa: BLE001  # the outermost: whatever it is becomes words and an exit code
        return report(meant_by(error), session)
    finally:
        compile_listeners.remove(listener)
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
