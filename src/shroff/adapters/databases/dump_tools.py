"""Run the backup programs of a database server, such as `pg_dump`: find them, and stream their output or input.

Passwords go into their environment, never into their arguments, which other users can see.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib import resources
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from shroff.errors import StorageError, UsageError
from shroff.json_types import TextMapping
from shroff.runtime.values import FrozenStruct

PIECE_BYTES = 4 * 1024 * 1024
UNFINISHED = "an unfinished shroff restore"  # comment on the schema while a restore fills it
_MADE = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?`?(?:\{prefix\})?(\w+)")
_VERSIONS = frozenset(f"{part}version" for part in ("", "people_", "notices_", "jobs_"))
_SAID_MAX = 2_000  # bytes shown of a failed program's error output


class ClientPrograms(FrozenStruct):
    """The client programs of a kind of server.

    Args:
        kind: Name of the server, for messages.
        package: Debian package with the programs; `{major}` stands for the server's major version.
        version: Pattern of the output of `--version`; its first group is the major version.
    """

    kind: str
    package: str
    version: re.Pattern[str]

    def find(self, name: str, folder: Path | None, server: int, place: str) -> tuple[str, str]:
        """Return path and version of a program. Raises: UsageError if it is missing, or older than the server."""
        package = self.package.format(major=server)
        path = _path(name, folder, f"{self.kind}'s client programs (Debian: {package})")
        major, version_text = _version(path, self.version)
        if major < server:
            raise UsageError(
                f"{version_text} is older than the server at {place}, which is {self.kind} {server}. "
                f"Install {package}, or set 'tools' under 'backup:' in shroff.yaml to its folder."
            )
        return path, version_text


def check_removable(place: str, tables: Iterable[str], what: str, *, is_left: bool, again: bool) -> None:
    """Check that existing tables were left by an interrupted restore, and that the user wants to remove them.

    Args:
        tables: Names of the tables, without a prefix.
        what: Description of the tables, for the message.
        is_left: Whether they have the mark of an unfinished restore, which a log in use does not have.
        again: Whether the user wants to remove the tables of an unfinished restore.

    Raises: UsageError with the remedy if the tables must stay. For tables without the mark, which may be a log in use,
        it names no command that removes them.
    """
    foreign_tables = sorted(set(tables) - _tables_of_ours())
    if is_left and again and not foreign_tables:
        return
    remedy = "Name an empty database with --store."
    if is_left and foreign_tables:
        remedy = (
            f"An interrupted restore left tables there, but not {', '.join(foreign_tables)}: move these elsewhere "
            f"and run the command again with --again, or name an empty database with --store."
        )
    elif is_left:
        remedy = "An interrupted restore left them: run the command again with --again, which removes them first."
    raise UsageError(f"{place}: {what}, so nothing is restored into it. {remedy}")


@cache
def _tables_of_ours() -> frozenset[str]:
    folder = resources.files("shroff.adapters")
    scripts = [file for path in folder.iterdir() for file in (path.iterdir() if path.is_dir() else [path])]
    texts = (file.read_text(encoding="utf-8") for file in scripts if file.name.endswith(".sql"))
    return _VERSIONS.union(*(_MADE.findall(text) for text in texts))


def _path(name: str, folder: Path | None, package: str) -> str:
    path = shutil.which(name, path=None if folder is None else str(folder))
    if path is None:
        where = "on PATH" if folder is None else f"in {folder}"
        raise UsageError(
            f"{name} is not {where}. Install {package}, or set 'tools' under 'backup:' in shroff.yaml to its folder."
        )
    return path


def _version(path: str, form: re.Pattern[str]) -> tuple[int, str]:
    try:
        output = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603 - a program that the settings name
    except OSError as error:
        raise UsageError(f"{path} cannot be started: {error.strerror}.") from None
    match = form.search(output)
    if match is None:
        raise UsageError(f"{path} --version prints no version. Is it the program of the database?")
    return int(match[1]), output.removeprefix(path).strip()


def dumped(command: Sequence[str], variables: TextMapping, secret: str) -> Generator[bytes, None, None]:
    """Run a program and yield its output in pieces of up to 4 MB.

    Args:
        secret: Password that is masked in messages.

    Raises: StorageError if the program fails, also after the last piece.
    """
    with _running(command, variables, secret, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield from iter(lambda: _read_stream(process.stdout), b"")


def feed(command: Sequence[str], variables: TextMapping, secret: str, pieces: Iterable[bytes]) -> None:
    """Run a program with these pieces as its input, and kill it if `pieces` raises.

    Raises: StorageError if the program fails.
    """
    with _running(command, variables, secret, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        for data in pieces:
            try:
                process.stdin.write(data)
            except BrokenPipeError:  # the program has ended; its error output says why
                break
        with suppress(BrokenPipeError):
            process.stdin.close()


@contextmanager
def _running(
    command: Sequence[str], variables: TextMapping, secret: str, *, stdin: int | None = None, stdout: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with TemporaryFile() as error_output:
        process = subprocess.Popen(  # noqa: S603 - a program that the settings name
            command,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.DEVNULL if stdout is None else stdout,
            stderr=error_output,
            env=os.environ | variables,
            start_new_session=True,  # Ctrl-C reaches only this process, which then kills the program
        )
        try:
            yield process
            code = process.wait()
        finally:
            process.kill()  # does nothing if it has ended
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()
            process.wait()
        if code:
            error_output.seek(0)
            text = error_output.read(32 * _SAID_MAX).decode("utf-8", "replace").strip()
            text = text.replace(secret, "***") if secret else text
            text = text[:_SAID_MAX]  # cut afterwards, so that no part of the secret is left
            raise StorageError(f"{Path(command[0]).name} ended with {code}: {text or 'it did not say why'}")


def _read_stream(stream: IO[bytes] | None) -> bytes:
    assert stream is not None
    return stream.read(PIECE_BYTES)
