"""Report an error of a command: a message or a problem document, and an exit code."""

from __future__ import annotations

import sys
import traceback
from dataclasses import asdict
from logging import ERROR
from typing import Final

import click

from shroff.cli.session import Session, dump, give_up
from shroff.errors import (
    DefinitionError,
    InputError,
    LogBusyError,
    NotAllowedError,
    NotThereYetError,
    OvertakenError,
    RefusalError,
    ReplayError,
    ShroffError,
    SignInError,
    StateError,
    StorageError,
    TransientError,
    UsageError,
    os_words,
)
from shroff.json_types import JsonObject
from shroff.runtime.logs import failure
from shroff.runtime.texts import problem_text

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
BROKEN_PIPE = 141  # 128 + SIGPIPE
_OPTIONS = {  # option by the name of its Python argument
    "as_of": "--as-of",
    "end": "--to",
    "expires": "--expires",
    "from": "--from",
    "overlap": "--overlap",
    "recent": "--recent",
    "reference": "--reference",
    "start": "--from",
    "to": "--to",
    "trained_until": "--trained-until",
}
_BAD_REQUESTS = (400, 422)  # refusals that are wrong usage on a command line; others keep their own code
MISTAKE = 70  # an internal error: EX_SOFTWARE of sysexits.h

# The first match counts. LogBusyError has status 3 rather than 2, since the log may be free later.
KINDS: Final[tuple[tuple[type[BaseException], str, str, int], ...]] = (
    (DefinitionError, "definition-errors", "The project's files have mistakes", 2),
    (NotThereYetError, "not-there-yet", "Not available yet", 2),
    (UsageError, "wrong-use", "Invalid request", 2),
    (NotAllowedError, "not-allowed", "You do not have permission", 2),
    (SignInError, "not-signed-in", "Sign-in required", 2),
    (click.ClickException, "wrong-use", "Invalid request", 2),
    (InputError, "invalid-input", "The input was refused", 2),
    (LogBusyError, "log-busy", "Another process writes this log", 3),
    (TransientError, "try-again", "Temporary failure; try again later", 3),
    (StorageError, "storage", "The storage of the log fails", 3),
    (ReplayError, "not-reproduced", "The log does not reproduce its records", 1),
    (OvertakenError, "overtaken", "Another process has taken over this log", 3),
    (StateError, "wrong-state", "Stored and computed values differ", 3),
    (OSError, "storage", "A file cannot be read or written", 3),
    (KeyboardInterrupt, "stopped", "Stopped", INTERRUPTED),
    (click.exceptions.Abort, "stopped", "Stopped", INTERRUPTED),
)


def report(error: BaseException, session: Session) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, BrokenPipeError):
        return _leave_quietly()
    type_, title, code = _kind(error)
    if code == MISTAKE:
        session.mistake = failure("a command", error)
    try:
        if session.is_json and not session.has_written:
            session.line(dump(problem_document(error, type_, title, session)))
        elif session.is_json:
            session.complain(dump(problem_document(error, type_, title, session)), ERROR)
        else:
            session.say(_words(error, session), ERROR)
        if session.shows_traceback:
            session.say("".join(traceback.format_exception(error)))
        session.flush()
    except BrokenPipeError:
        return _leave_quietly()
    except OSError as full:  # not again, since standard output leads nowhere from here on
        return report(full, session)
    return code


def problem_document(error: BaseException, type_: str, title: str, session: Session) -> JsonObject:
    """Return the problem document (RFC 9457) of an error."""
    document: JsonObject = {"type": type_, "title": title, "detail": _detail(error, session)}
    if session.mistake is not None:
        document["instance"] = f"urn:shroff:error:{session.mistake.fields['error_id']}"
    if isinstance(error, DefinitionError):
        document["errors"] = [asdict(problem) for problem in error.problems]
    return document


def _kind(error: BaseException) -> tuple[str, str, int]:
    for kind, type_, title, code in KINDS:
        if isinstance(error, RefusalError) and kind is UsageError and error.status not in _BAD_REQUESTS:
            return error.code, error.title, code
        if isinstance(error, kind):
            return type_, title, code
    return "internal-error", "Internal error", MISTAKE


def _words(error: BaseException, session: Session) -> str:
    if isinstance(error, DefinitionError):
        from shroff.project.loader import line_of

        folder = session.opened.context.paths.folder if session.opened is not None else None
        lines = ((problem, line_of(folder, problem) if folder is not None else "") for problem in error.problems)
        shown = [problem_text(problem, line) for problem, line in lines]
        return "\n\n".join([*shown, "Nothing was done. Fix the errors, then run 'shroff check'."])
    if isinstance(error, KeyboardInterrupt | click.exceptions.Abort):
        return f"\nStopped. {session.stopped}".rstrip()
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f"'{error.ctx.command_path} --help' shows its usage."
        return f"{error.ctx.get_usage()}\nshroff: {_detail(error, session)}\n{hint}"
    return f"shroff: {_detail(error, session)}"


def _detail(error: BaseException, session: Session) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, DefinitionError):
        count = len(error.problems)
        return f"{count} mistake{'s' if count > 1 else ''} in the project's files; nothing was done"
    if isinstance(error, UsageError):
        # An error may begin with the name of a Python argument, which becomes its option
        name, colon, rest = str(error).partition(": ")
        return f"{_OPTIONS.get(name, name)}{colon}{rest}"
    if isinstance(error, ShroffError):
        return str(error)
    if isinstance(error, OSError):
        return f"{os_words(error)}."
    if isinstance(error, KeyboardInterrupt | click.exceptions.Abort):
        return f"stopped before the end. {session.stopped}".rstrip()
    return (
        f"this is a bug in shroff, not in your files. No answered event is lost. Report this line, or the file that "
        f"'shroff doctor --bundle FILE' writes: {session.mistake or type(error).__name__}"
    )


def _leave_quietly() -> int:
    """Exit quietly after a closed pipe, as in `shroff export decisions | head`."""
    give_up(sys.stdout)
    return BROKEN_PIPE
