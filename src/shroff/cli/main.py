"""The program `shroff`: run a command, report its error, and exit with a status."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

import shroff
from shroff.cli.failures import report
from shroff.cli.progress import CompileNote
from shroff.cli.session import Session, give_up
from shroff.errors import nearest
from shroff.operations.manifest import commands, is_known, load
from shroff.runtime import environment, logs
from shroff.runtime.process_wide import calm_libraries, compile_listeners, is_program

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


STARTING = (100_000, 20, 50)  # thresholds of the garbage collector, which frees few of the objects that imports create
EXIT_STATUS = (
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
        return list(commands())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if not is_known(cmd_name):
            return None
        own = getattr(load(cmd_name), cmd_name.replace("-", "_"), None)
        if isinstance(own, click.Command):
            return own
        from shroff.cli.operations import command_of

        return command_of(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        is_valid = name.startswith("-") or is_known(name)
        if not is_valid and not ctx.resilient_parsing:  # resilient while a shell asks for completions
            hint = nearest(name, commands()) or "'shroff --help' lists the commands."
            raise click.UsageError(f"there is no command {name!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete commands, from the table without imports, and the program's own options."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=words) for name, (_, words) in commands().items() if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in commands().items()])

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
@click.option("--traceback", is_flag=True, hidden=True, help="Show the Python traceback of an error.")
@click.version_option(shroff.__version__, prog_name="shroff", message="%(prog)s %(version)s")
@click.pass_obj
def program(session: Session, folder: Path | None, traceback: bool) -> None:
    """Detect fraud in payments and other money events, and give the reasons of every decision."""
    session.folder = folder
    session.shows_traceback = traceback


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command, or answer a shell that asks for completions, and exit with its status."""
    watch_interrupts()
    hold_streams()
    asked = environment.completion_request()
    if asked:
        from shroff.cli.completion import complete

        sys.exit(complete(program, asked))
    calm_libraries()
    if arguments is None:
        is_program.set()
    gc.set_threshold(*STARTING)
    code = run(list(sys.argv[1:] if arguments is None else arguments))
    try:
        sys.stderr.flush()
    except OSError:
        give_up(sys.stderr)
    if "duckdb" not in sys.modules:  # duckdb reports each object that is left at the end
        gc.freeze()  # skips the collections at the end of the process
    sys.exit(code)


def run(arguments: list[str]) -> int:
    session = Session(is_json="--json" in arguments)
    listener = CompileNote(session.say)
    compile_listeners.append(listener)
    try:
        logs.begin(session.log, *logs.settings())
        environment.share_credentials()
        code = _invoke(arguments, session)
        session.warn()
        session.flush()
    except BaseException as error:  # noqa: BLE001  # every error is reported with an exit status
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
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    return result if isinstance(result, int) else 0


# ---- Ctrl-C, which a library that is being imported may turn into an ImportError


_interrupts: list[int] = []


def watch_interrupts() -> None:
    """Record each Ctrl-C, and raise KeyboardInterrupt as usual."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)


def _interrupted(number: int, frame: FrameType | None) -> None:
    _interrupts.append(number)
    signal.default_int_handler(number, frame)


def meant_by(error: BaseException) -> BaseException:
    """Return KeyboardInterrupt for an ImportError that Ctrl-C caused while numpy was imported."""
    return KeyboardInterrupt() if _interrupts and isinstance(error, ImportError) else error


# ---- standard streams that the shell has closed, as in `shroff check >&-`


def hold_streams() -> None:
    """Replace closed standard streams by the null device.

    Otherwise the next opened file, such as the log, would get their number, and output would be written into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the smallest free number, which is this one
    streams: Any = sys  # a closed stream is None
    streams.stdin = streams.stdin or _nowhere("r")
    streams.stdout = streams.stdout or _nowhere("w")
    streams.stderr = streams.stderr or _nowhere("w")


def _nowhere(mode: str) -> Any:
    return open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123 (open to the end of the program)
