"""Fixtures: real servers, one of each kind for a whole run, started when the first test asks for it."""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import pytest

from tests.support import workers
from tests.support.patience import PATIENCE_S
from tools.servers.errors import ServerError, UnavailableError
from tools.servers.keep import Kept, kept
from tools.servers.kinds import KINDS


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Kept]:
    """A server by its kind. Where it cannot be had its tests are skipped with the reason; in CI they fail."""
    is_worker = workers.NAME in os.environ
    base = tmp_path_factory.getbasetemp()
    folder: Path = (base.parent if is_worker else base) / "servers"
    owner = os.getppid() if is_worker else os.getpid()

    def found(kind: str) -> Kept:
        try:
            return kept(kind, folder, owner)
        except UnavailableError as error:
            if os.environ.get("CI"):
                pytest.fail(f"{kind} must be there in CI: {error}")
            pytest.skip(reason=f"{kind} cannot be had here: {error}")

    return found


def start_all(folder: Path, kinds: Iterable[str]) -> None:
    """Start servers of these kinds, side by side and beside the run, which waits for those that it asks for."""
    owner = os.getpid()
    if os.fork():
        return  # this process is forked again, and so has no threads of ours
    starting = [threading.Thread(target=_start, args=(kind, folder / "servers", owner)) for kind in kinds]
    for item in starting:
        item.start()
    for item in starting:
        item.join()
    os._exit(0)


def _start(kind: str, folder: Path, owner: int) -> None:
    with contextlib.suppress(UnavailableError, ServerError):  # told again to each test that asks for it
        kept(kind, folder, owner)


# For how long the program waits for an answer of a server, which is there in tests but may have much else to do: 5 or
# 10 s by itself. Tests of servers that are away set less.
ANSWERS: Final = {
    "kafka": ("shroff.adapters.kafka.topics", "shroff.adapters.kafka.dead_letters", "shroff.adapters.sources.kafka"),
    "redis": ("shroff_plugins.connectors.redis_server",),
}


def of(kind: str) -> Callable[..., Kept]:
    """A fixture that gives the run's server of a kind."""

    def fixture(server: Callable[[str], Kept]) -> Kept:
        found = server(kind)
        for name in ANSWERS.get(kind, ()):
            vars(importlib.import_module(name))["ANSWER_S"] = PATIENCE_S
        return found

    return pytest.fixture(scope="session", name=kind)(fixture)


kafka, registry, redis, postgres, mariadb, mongo, s3, gcs, azure, mail, pubsub = (of(kind) for kind in KINDS)
