"""Versions of a rule by time, and which recorded hits are hits of rules, from the control events of a log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct, field

from shroff.engine.exploration import DRAWS
from shroff.json_types import TextDict, TextMapping
from shroff.log.history import Control
from shroff.project.policy_text import POLICY, experiment_names
from shroff.rules.texts import rule_texts, tag_of
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import HitRow, Log, LogReader

FOLDER = "rules/"
_CHANGES_POLICY = b'"policy.yaml"'  # part of the body of each control event that changes the file


class VersionOfRule(FrozenStruct):
    """A version of a rule, from a sequence number on. Its text is empty if the rule was removed.

    `file` and `file_tag` identify the file and its text, by which the author is found.
    """

    seq: int
    at_ms: int
    file: str
    file_tag: str
    text: str


class Histories(Struct):
    """Versions of every rule, oldest first; `follow` continues. For one thread."""

    of: dict[str, list[VersionOfRule]] = {}
    _control: Control = field(default_factory=Control)
    _seen: int = 0

    def follow(self, log: Log) -> None:
        """Add versions activated since the last call. Cost: reads the changed rule files."""
        for record in log.controls(self._seen):
            old_files = self._rules_files()
            self._control.take(record)
            new_files = self._rules_files()
            if old_files != new_files:
                self._take(record.seq, record.time_ms, new_files)
            self._seen = record.seq

    def versions(self, id: str) -> Sequence[VersionOfRule]:
        return list(reversed(self.of.get(id, ())))

    def _rules_files(self) -> TextDict:
        return {name: text for name, text in self._control.files.items() if name.startswith(FOLDER)}

    def _take(self, seq: int, at_ms: int, files: TextMapping) -> None:
        current = {
            id: VersionOfRule(seq, at_ms, name.removeprefix(FOLDER), tag_of(text), rule.text)
            for name, text in files.items()
            for id, rule in rule_texts(text).items()
        }
        for id, version in current.items():
            # Compare with the rule's last text; empty if it has none.
            history = self.of.get(id)
            if (history[-1].text if history else "") != version.text:
                self.of.setdefault(id, []).append(version)
        for id in self.of.keys() - current.keys():
            last = self.of[id][-1]
            if last.text:
                gone = VersionOfRule(seq, at_ms, last.file, tag_of(files.get(f"{FOLDER}{last.file}", "")), "")
                self.of[id].append(gone)


class RecordedRuleHits:
    """The one definition of a rule's hit, for one log.

    A rule's hit is a recorded hit whose name is the id of a rule, active at that event or in shadow. For replays the
    log also records exploration draws (`engine.exploration.DRAWS`) and arms of experiments of policy.yaml among hits. A
    name is never both a rule and an experiment, so the names of all experiments that the log ever had tell them apart
    in each version. Reads each control event once.
    """

    def __init__(self) -> None:
        self._control = Control()
        self._others = set(DRAWS)
        self._read_to = 0

    def after(self, log: LogReader, after: int = 0, upto: int | None = None) -> Iterator[list[HitRow]]:
        """Yield the log's hits without draws and experiments."""
        others = self.others(log)
        for rows in log.hits.after(after, upto):
            yield [row for row in rows if row.rule not in others]

    def others(self, log: LogReader) -> frozenset[str]:
        """Return the names among recorded hits that are not rules: draws, and all experiments that the log ever had."""
        for record in log.controls(self._read_to):
            self._read_to = record.seq
            if _CHANGES_POLICY in record.body:
                self._control.take(record, POLICY)
                self._others |= experiment_names(self._control.files.get(POLICY, ""))
        return frozenset(self._others)
