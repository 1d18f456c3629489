"""An operation: counts the lines of the sink's file, as a command, a route, a call, and for the page and the job."""

from __future__ import annotations

from shroff.plugins.operations import OperationAnswer, OperationRequest, group, operation
from shroff.plugins.project import Project  # at run time: an operation finds its arguments by their types

group("spool", "Show what the sink `decided` has written.\n\nExamples:\n    shroff spool count")


class CountSpool(OperationRequest["Spooled"]):
    """All lines of the spool."""


class Spooled(OperationAnswer):
    """How many there are, and how many spool.yaml expects."""

    lines: int
    expected: int

    def text(self) -> str:
        return f"{self.lines} of {self.expected} lines."


@operation("spool count", right="read:decisions", http="GET /spool")
def count_spool(project: Project, request: CountSpool) -> Spooled:
    """Count the lines of the spool.

    Examples:
        shroff spool count
    """
    file = project.context.paths.folder / "out" / "decisions.jsonl"
    expected = project.definitions.added.get("spool", {}).values()
    return Spooled(lines=len(file.read_bytes().splitlines()) if file.exists() else 0, expected=sum(expected))
