"""Add the arms of experiments to decisions in responses."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.engine.exploration import DRAWS
from shroff.explain.explanation import ExperimentLine
from shroff.log.rule_history import RecordedRuleHits
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shroff.services.project import Project

_POLICY = b'"policy":"'  # cannot occur inside a text, where quotation marks are escaped


class ExperimentArms:
    """The experiments of a project's log, whose arms are added to decisions as `experiments`.

    A recorded decision has the names of its experiments only among its rules, which its receipt covers. A response may
    repeat a decision of any age, so the log is read again for each policy version seen for the first time. `names` are
    the names of all experiments in the log. Costs 0.4 µs a decision if a project has none.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._rule_hits = RecordedRuleHits()
        self._lock = Lock()
        self.names = frozenset[str]()
        self._policies = set[bytes]()

    def are_known(self, documents: Sequence[bytes]) -> bool:
        return all(_policy(document) in self._policies for document in documents)

    def read(self, documents: Sequence[bytes]) -> None:
        """Read the log's experiments for the policy versions of these decisions."""
        with self._lock:
            if self.are_known(documents):  # another thread has read them meanwhile
                return
            with self._project.log.reading() as log:
                self.names = self._rule_hits.others(log) - DRAWS
            self._policies.update(map(_policy, documents))

    def beside(self, document: bytes) -> bytes:
        """Return a decision with its arm of each experiment that affected it."""
        if not self.names:
            return document
        hits = from_json(document, type=_Hits)
        arms = [ExperimentLine(name, "A") for name in hits.shadow_rules if name in self.names]
        arms += [ExperimentLine(name, "B") for name in hits.rules if name in self.names]
        return document[:-1] + b',"experiments":' + to_json(arms) + b"}" if arms else document


class _Hits(FrozenStruct):
    rules: tuple[str, ...]
    shadow_rules: tuple[str, ...]


def _policy(document: bytes) -> bytes:
    start = document.rfind(_POLICY) + len(_POLICY)
    return document[start : document.find(b'"', start)]
