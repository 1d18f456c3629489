"""Functions of jobs: each makes the same calls as the command of its name, reports progress, returns plain values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import msgspec

from shroff import config
from shroff.errors import UsageError
from shroff.jobs.job import cut
from shroff.json_types import JsonMapping
from shroff.language.yaml import text as yamltext
from shroff.operations.declaration import ProgressSteps
from shroff.project.settings.systems import DECIDING_KEYS
from shroff.runtime.atomic_files import leads_out
from shroff.services.jobs.kinds import paths_of

if TYPE_CHECKING:
    from shroff.operations.declaration import Operation, OperationAnswer
    from shroff.services.jobs.kinds import FeaturesParams, JobParams, ReportParams
    from shroff.services.project import Project

Result = JsonMapping
SOURCES = "sources"


Seen = tuple[str, int, int, tuple[str, ...]]
UNKNOWN = 0


class JobRun(ProgressSteps):
    """Progress of one run of a job. Thread-safe.

    Args:
        due_ms: Time for which it runs: the schedule's due time, also if it starts later; so a daily job knows its day.
    """

    def __init__(self, due_ms: int, lines: tuple[str, ...] = ()) -> None:
        self.due_ms = due_ms
        self._lock = Lock()
        self._seen: Seen = ("", 0, UNKNOWN, lines)

    def step(self, name: str, done: int = 0, total: int = UNKNOWN) -> None:
        """Set the current step and its size; `total` is 0 if unknown. A new step is a line of the log."""
        with self._lock:
            before, _, _, lines = self._seen
            self._seen = (name, done, total, lines if name == before else cut((*lines, name)))

    def count(self, number: int) -> None:
        with self._lock:
            name, done, total, lines = self._seen
            self._seen = (name, done + number, total, lines)

    def say(self, text: str) -> None:
        with self._lock:
            name, done, total, lines = self._seen
            self._seen = (name, done, total, cut((*lines, text)))

    warn = say

    def counting(self, name: str, total: int = UNKNOWN) -> Callable[[int], None]:
        """Return a callback that counts a step, which begins with its first call."""

        def count(number: int) -> None:
            if self._seen[0] != name:
                self.step(name, 0, total)
            self.count(number)

        return count

    def seen(self) -> Seen:
        with self._lock:
            return self._seen


def path_of(project: Project, params: msgspec.Struct, name: str, feeds: Collection[str] = ()) -> Path:
    """Resolve a path parameter, following links, for reading or writing now.

    Args:
        feeds: Sources of shroff.yaml that are meant to read the output.

    Raises: UsageError if a link leads out of its folder, for a secret, or for an output that shroff.yaml uses
    otherwise.
    """
    text: str = getattr(params, name)
    below = paths_of(type(params))[name]
    home = project.context.paths.folder.resolve()
    path = (home / text).resolve()
    if leads_out(home, path) or not path.is_relative_to(home / below):
        raise UsageError(f"{name}: {text!r} leads to a place that jobs do not {'write' if below else 'read'}.")
    if below and any(path.is_relative_to(named) or named.is_relative_to(path) for named in _named(home, feeds)):
        words = f"{config.PROJECT_FILE} has something else there. Write another path below {below}/."
        raise UsageError(f"{name}: {text!r} is taken: {words}")
    return path


def _named(home: Path, feeds: Collection[str]) -> Iterator[Path]:
    """Yield the paths that texts of shroff.yaml may name, except in the sources `feeds`."""
    tree = yamltext.read(config.read_settings(home), config.PROJECT_FILE, [])
    top = tree.entries if isinstance(tree, yamltext.Mapping) else ()
    nodes = [value for key, value in top if key.text not in {*DECIDING_KEYS, SOURCES}]
    sources = [value for key, value in top if key.text == SOURCES and isinstance(value, yamltext.Mapping)]
    nodes += [value for source in sources for key, value in source.entries if key.text not in feeds]
    while nodes:
        if isinstance(node := nodes.pop(), yamltext.Scalar):
            path = (home / node.text.rpartition("://")[2].lstrip("/")).resolve()
            if path != home:
                yield path
        else:
            nodes += [entry for _, entry in node.entries] if isinstance(node, yamltext.Mapping) else node.items


def operation(declared: Operation[..., Any], project: Project, params: JobParams, run: JobRun) -> JsonMapping:
    """Run a long operation; its brief answer is the job's result."""
    given = msgspec.structs.asdict(params)
    given |= {name: str(path_of(project, params, name)) for name in paths_of(type(params)) if given[name] is not None}
    answer: OperationAnswer = project.run(declared.read(given), run)
    return answer.brief()


def features(project: Project, params: FeaturesParams, run: JobRun) -> Result:
    from shroff.log.columns.tables import Way

    out = path_of(project, params, "out")
    out.parent.mkdir(parents=True, exist_ok=True)
    way = Way("batch", run.counting("reading events"), run.counting("computing events"))
    report = project.tables.write_features(params.event, (), out, way)
    return {"file": params.out, "rows": report.rows, "columns": len(report.columns)}


def report(project: Project, params: ReportParams, run: JobRun) -> Result:
    """Compute the report of a notice; the writer of the log sends it, once for each day."""
    run.step("counting")
    day, is_new = project.notices.make_report(params.notice, params.day or "", run.due_ms)
    return {"notice": params.notice, "day": day.isoformat(), "made": is_new}
