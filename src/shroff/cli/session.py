"""One call of the program: the opened project, and its output to standard output and standard error."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from logging import INFO
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click
from msgspec import Struct

from shroff.errors import UsageError
from shroff.runtime import logs
from shroff.runtime.texts import argument, cut, harmless, help_of, many, one_line, table

if TYPE_CHECKING:
    from types import FrameType

    from shroff.runtime.logs import Told
    from shroff.services.project import Project

__all__ = ["argument", "cut", "harmless", "many", "one_line", "table"]  # of texts, for all commands
Function = TypeVar("Function", bound=Callable[..., Any])


class Session(Struct):
    """One call of the program.

    Answers go to standard output; progress, hints and errors to standard error. With `is_json` standard output gets one
    JSON document, the answer or an error.
    """

    folder: Path | None = None
    is_json: bool = False
    shows_traceback: bool = False
    has_written: bool = False
    has_said_for_whom: bool = False
    stopped: str = ""  # message for Ctrl-C: what is done and stored
    mistake: Told | None = None  # internal error that ended this call
    _project: Project | None = None

    @property
    def project(self) -> Project:
        """The project, which is opened on first use. Raises: UsageError if there is none."""
        if self._project is None:
            from shroff.services import project as app

            self._project = app.open() if self.folder is None else app.open_exactly(self.folder)
            context = self._project.context
            context.waiting = self.lasts
            context.waits = self.waits
            context.via = "command"
            logs.keep_errors_in(self._project.context.paths.state)
        return self._project

    def empty_folder(self) -> Path | None:
        """Return the named or current folder if it is empty and not inside a project; else None."""
        from shroff import config
        from shroff.runtime.atomic_files import children

        folder = self.folder or Path.cwd()
        if self.folder is None:
            with suppress(UsageError):
                config.find_project(folder)
                return None
        return folder if folder.is_dir() and not children(folder) else None

    def project_or_folder(self) -> Project:
        """Return the project; if it cannot be found, one of the named or current folder without its files."""
        from shroff.services.project import project_in

        try:
            return self.project
        except UsageError:
            return project_in(self.folder or Path.cwd())

    @property
    def opened(self) -> Project | None:
        """The project, if the command has opened it."""
        return self._project

    def answer(self, document: Mapping[str, object], text: str) -> None:
        """Print the command's answer: the document with `--json`, else the text."""
        if self.is_json:
            self.line(dump(document))
        elif text:
            self.show(text)

    def show(self, text: str) -> None:
        """Write text for people to standard output, with control characters escaped (see `harmless`)."""
        self.line(harmless(text))

    def line(self, text: str) -> None:
        """Write a line to standard output, unchanged."""
        self.write(text.encode("utf-8", "backslashreplace") + b"\n")

    def write(self, data: bytes) -> None:
        """Write bytes to standard output; for a terminal, control characters are escaped."""
        self.has_written = True
        if sys.stdout.isatty():
            data = harmless(data.decode("utf-8", "backslashreplace")).encode()
        self._put(sys.stdout.buffer.write, data)

    def flush(self) -> None:
        self._put(sys.stdout.flush)

    def _put(self, write: Callable[..., object], *data: bytes) -> None:
        """Write to standard output. Raises: OSError if that fails; later output is then discarded."""
        try:
            write(*data)
        except BrokenPipeError:
            raise
        except OSError as error:
            give_up(sys.stdout)
            raise OSError(error.errno, error.strerror, "standard output") from None

    def say(self, text: str, level: int = INFO) -> None:
        """Write text for people to standard error, with control characters escaped (see `harmless`)."""
        self.complain(harmless(text), level)

    def complain(self, text: str, level: int = INFO) -> None:
        """Write a line to standard error, unchanged; if logs are JSON, as a log record."""
        if logs.is_json():
            logs.say(level, text.strip().removeprefix("shroff: "))
        else:
            self.log(text)

    def log(self, text: str) -> None:
        """Write a line of the log in one piece, since several threads may write. Errors are ignored."""
        self.flush()
        with suppress(OSError):
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def waits(self, words: str) -> None:
        """Set the message for a Ctrl-C during a wait."""
        self.stopped = words

    def lasts(self, words: str) -> None:
        """Print what the command waits for, once."""
        if not self.has_said_for_whom:
            self.has_said_for_whom = True
            self.say(f"shroff: {words}")

    def warn(self) -> None:
        """Print each warning of the project once."""
        while self._project is not None and self._project.warnings:
            self.say(f"shroff: {self._project.warnings.pop(0)}")

    def next(self, *commands: str) -> None:
        """Suggest next commands, with the same `-C` as this one."""
        if not self.is_json or sys.stderr.isatty():
            self.say("Next: " + "   or: ".join(one_line(self._of_this_project(words)) for words in commands))

    def _of_this_project(self, command: str) -> str:
        if not command.startswith("shroff "):
            return command
        words = [] if self.folder is None or command.startswith("shroff -C ") else ["-C", argument(self.folder)]
        return " ".join([program_word(), *words, command.removeprefix("shroff ")])


class Examples(click.Command):
    """Base of commands and groups whose help ends with examples."""

    examples: Sequence[str] = ()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Example" if len(self.examples) == 1 else "Examples"):
            formatter.write("".join(f"  {example}\n" for example in self.examples))


class ExampleCommand(Examples):
    """A command whose help ends with examples."""


class ExampleGroup(Examples, click.Group):
    """A group of commands whose help ends with examples.

    Without a subcommand it runs `list`, else `show` if that needs no argument, else shows its help.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {name for param in self.params for name in param.opts}
        leading = next((word for word in args if word not in own), "-")
        bare = leading.startswith("-") and leading not in ctx.help_option_names
        if bare and not self.invoke_without_command and not ctx.resilient_parsing:
            commands = ((name, self.commands.get(name)) for name in ("list", "show"))
            alone = (
                name for name, command in commands if command and not any(param.required for param in command.params)
            )
            listing = next(alone, None)
            args = ["--help"] if listing is None else [listing, *args]
        return super().parse_args(ctx, args)


def command(name: str, *, group: click.Group | None = None) -> Callable[[Callable[..., Any]], ExampleCommand]:
    """Return a decorator that makes a function a command with `--json`. The function's first argument is the session.

    The docstring is the help.
    """

    def decorate(function: Callable[..., Any]) -> ExampleCommand:
        words, examples = help_of(function.__doc__)
        result = click.command(name, cls=ExampleCommand, help=words)(json_option(click.pass_obj(function)))
        result.examples = examples
        if group is not None:
            group.add_command(result)
        return result

    return decorate


def json_option(function: Function) -> Function:
    """Add the option `--json`, which sets `is_json` of the session."""

    def keep(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value:
            context.obj.is_json = True

    words = "Print JSON on standard output, and nothing else."
    return click.option("--json", is_flag=True, expose_value=False, callback=keep, help=words)(function)


@contextmanager
def finished_first() -> Iterator[Event]:
    """Yield an event that the first Ctrl-C or SIGTERM sets, so that work can finish; the second one raises.

    Raises: KeyboardInterrupt at the second signal.
    """
    stop = Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    previous = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def program_word() -> str:
    """Return the name by which a shell finds this program: `shroff` if that is on the path, else as it was called."""
    called = sys.argv[0]
    if Path(called).name != "shroff" or "/" not in called or same_file(called, shutil.which("shroff")):
        return "shroff"
    return argument(called)


def same_file(called: str, found: str | None) -> bool:
    return found is not None and Path(called).resolve() == Path(found).resolve()


def give_up(stream: TextIO) -> None:
    """Redirect a stream to the null device, so that Python reports no error when it flushes it at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def dump(document: object) -> str:
    """Return a document as one line of JSON."""
    return json.dumps(document, ensure_ascii=False, separators=(", ", ": "))
