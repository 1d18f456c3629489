"""Arms of experiments beside decisions, in the answers of the service."""

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

_POLICY = b'"policy":"'  # in a text, quotation marks are escaped


class ExperimentArms:
    """Adds `experiments` to decisions. A recorded decision has their names among its rules, under its receipt.

    An answer may repeat a decision of any age, so the log is read again for each version of the policy that is new
    here. `names` are those of all experiments in the log. A project without any pays 0.4 µs a decision.
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
        with self._lock:
            if self.are_known(documents):  # read meanwhile, for another request
                return
            with self._project.log.reading() as log:
                self.names = self._rule_hits.others(log) - DRAWS
            self._policies.update(map(_policy, documents))

    def beside(self, document: bytes) -> bytes:
        """A decision with the arm of its key in each experiment that decided about it."""
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
