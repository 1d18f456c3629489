"""Alerts of a range of the log: decisions whose outcome needs review, rules that notify analysts, sampled approvals,
and denials by customers.

Few events are alerts, so only sequence numbers, outcomes and hits are scanned. An event is read and decoded only if it
raises an alert, with the definitions active at its sequence number.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from shroff.cases.case import FRAUD, SAMPLE, SCORE_PARTS, Alert
from shroff.engine.exploration import SAMPLED
from shroff.engine.stored import damaged, stored, telling_damage
from shroff.events.event import Event
from shroff.events.labels import VerdictInForce
from shroff.explain.key_events import KeyFinder
from shroff.json_types import TextMapping
from shroff.language.values import key_text, parse_duration, rescale_half_even
from shroff.log.flags import CUSTOMER, FeedLabel, standings_before
from shroff.log.history import Control, Records
from shroff.log.writer import Prepared
from shroff.project.definitions import Definitions, load_definitions
from shroff.project.parse_cache import ReadOnce
from shroff.project.policy import OUTCOMES
from shroff.project.settings.casework import CaseSettings, Matcher, first_match, matchers
from shroff.project.table_files import table_name
from shroff.rules.definitions import Rule
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.log import DecisionRow, HitRow, Log, Record
from shroff.streams.log_columns import DecisionColumns

NOTIFIED = "analysts"  # value of `notify` by which a rule raises an alert
NOT_THEM = "the customer says that it was not them"
APPEALED = "the customer says that the decision is wrong"
AT_ONCE = 500  # events whose decisions are read at once
RECENT = 4_096  # cached decisions; 2 to 3 KB each
_NAMES_ALONE = ("lists/", "tables/")  # files of which `_header_only` keeps the first line


class _AlertVersion(FrozenStruct):
    definitions: Definitions
    records: Records
    keyed: KeyFinder
    rules: Mapping[str, Rule]
    queues: Mapping[str, Matcher]
    auto_close: Mapping[str, Matcher]


class _Reason(FrozenStruct, gc=False):
    code: str
    text: str


class _AlertDecision(FrozenStruct, gc=False):
    outcome: str = ""
    score: float | None = None
    reasons: tuple[_Reason, ...] = ()
    rules: tuple[str, ...] = ()


class _Raised(Struct):
    """Reasons for alerts at one sequence number: the outcome, the sample, and hits of rules that notify analysts."""

    wants_review: bool = False
    is_sampled: bool = False
    rule_hits: list[HitRow] = []


class RecentDecisions:
    """Cache of the newest decisions with certain outcomes that this process wrote to its log.

    It saves reading a decision back from a frame, which costs 130 µs. One thread writes, another one reads.
    """

    def __init__(self, outcomes: Collection[str]) -> None:
        self._outcomes = frozenset(outcomes)
        self._decisions_by_seq: dict[int, tuple[Record, DecisionRow]] = {}  # oldest first

    def take(self, prepared: Prepared) -> None:
        """Cache the matching decisions of a batch that is in the log. Cost: 0.05 µs a decision, and 5 µs a cached
        one.
        """
        records = prepared.batch.records
        decisions = prepared.batch.decisions
        outcomes = decisions.outcomes if isinstance(decisions, DecisionColumns) else [row.outcome for row in decisions]
        for row in [decisions[index] for index, outcome in enumerate(outcomes) if outcome in self._outcomes]:
            self._decisions_by_seq.pop(row.seq, None)  # the log may have been set back and written again
            self._decisions_by_seq[row.seq] = records[row.seq - records[0].seq], row
        while len(self._decisions_by_seq) > RECENT:
            del self._decisions_by_seq[next(iter(self._decisions_by_seq))]

    def at(self, seq: int) -> tuple[Record, DecisionRow] | None:
        return self._decisions_by_seq.get(seq)


class ActiveVersions:
    """The active version at each sequence number of a log, read on demand.

    Of lists and tables it keeps only the header lines, unless event types make keys from them: alerts need no more, and
    a list may have been changed a thousand times.
    """

    def __init__(self, log: Log, settings: CaseSettings) -> None:
        self._log = log
        self._settings = settings
        self._read_to = 0
        self._files: list[tuple[int, TextMapping]] = []
        self._control = Control()
        self._cached: tuple[TextMapping, _AlertVersion] | None = None
        self._read = ReadOnce()

    def read_to(self, upto: int) -> None:
        for record in self._log.controls(self._read_to):
            self._control.take(record)
            types = self._control.files.get("events.yaml", "")
            files = {name: _header_only(name, text, types) for name, text in self._control.files.items()}
            if not self._files or self._files[-1][1] != files:
                self._files.append((record.seq, files))
            self._read_to = record.seq
        self._read_to = max(self._read_to, upto)

    def at(self, seq: int) -> _AlertVersion:
        """Return the version active at a sequence number. Raises: StorageError if it can no longer be read."""
        before = bisect_left(self._files, seq, key=lambda file: file[0])
        files = self._files[max(0, before - 1)][1]
        if self._cached is None or (self._cached[0] is not files and self._cached[0] != files):
            self._cached = files, _version(files, self._read, self._settings)
        return self._cached[1]


def _header_only(name: str, text: str, types: str) -> str:
    """Reduce a list or table to its first line, which names the columns.

    A table by which the event types make keys, such as the ring of a card, is kept whole.
    """
    is_named_alone = name.startswith(_NAMES_ALONE) and f"tables.{table_name(name)}[" not in types
    return text[: text.find("\n") + 1] or text if is_named_alone else text


def _version(files: TextMapping, read: ReadOnce, settings: CaseSettings) -> _AlertVersion:
    with telling_damage():
        definitions = load_definitions(files, read=read).or_raise()
    records = Records(definitions.events, definitions.settings.money_places)
    rules = {rule.id: rule for rule in definitions.rules}
    closing = {mark: settings.auto_close[rule.name] for mark, rule in settings.close_rules.items()}
    places = definitions.settings.money_places
    routes = [matchers(routes, definitions.events, places) for routes in (settings.queues, closing)]
    return _AlertVersion(definitions, records, KeyFinder(definitions, records), rules, *routes)


def said_by(label: FeedLabel) -> str:
    """Return the reason of an alert that a customer's answer raises."""
    return NOT_THEM if label.verdict == FRAUD else APPEALED


class AlertRules:
    """Raises the alerts of one log.

    Args:
        settings: Today's settings: what raises an alert, which entity it is about, and its deadline.
        money_places: Today's decimals of amounts; amounts of earlier versions are rescaled to them.
        recent: Cache to consult before the log.
    """

    def __init__(
        self, log: Log, settings: CaseSettings, money_places: int, recent: RecentDecisions | None = None
    ) -> None:
        self._log = log
        self._settings = settings
        self._money_places = money_places
        self._recent = recent or RecentDecisions(())
        outcomes = "|".join(settings.outcomes).encode()
        self._outcome_lines = re.compile(rb"(?m)^(\d+) (?:" + outcomes + rb")$")
        self._versions = ActiveVersions(log, settings)

    def alerts(self, after: int, upto: int) -> list[Alert]:
        """Return the alerts of sequence numbers in (after, upto], ordered by sequence number and entity.

        Cost: 0.2 µs a decision and 2 µs a hit; 20 µs an alert, or 150 µs if it is read from the log.
        Raises: StorageError if the log is damaged, or an active version can no longer be read.
        """
        raised = self._raised_seqs(after, upto)
        if not raised:
            return []
        ordered = sorted(raised)
        alerts = list[Alert]()
        for start in range(0, len(ordered), AT_ONCE):
            part = ordered[start : start + AT_ONCE]
            records: dict[int, tuple[Record, DecisionRow | None]] = {}
            for seq in part:
                recent = self._recent.at(seq)
                if recent is not None:
                    records[seq] = recent
            records |= self._read([seq for seq in part if seq not in records])
            for seq in part:
                record, decision = records[seq]
                alerts += self._alerts_of(record, raised[seq], decision)
        return alerts

    def denied(self, labels: Sequence[FeedLabel]) -> list[Alert]:
        """Return alerts for events without one that customers deny, at the sequence numbers of these labels.

        There is none for an event that a stronger source already called fraud, that is not in the log, or whose type is
        not declared.
        Cost: 200 µs each, and a pass over the labels since the first of these events.
        Raises: as `alerts`.
        """
        if not labels:
            return []
        self._versions.read_to(labels[-1].seq)
        records = self._denied_records(labels)
        first = min((record.seq for record in records.values()), default=labels[-1].seq)
        standings = standings_before(self._log, labels, first)
        denials = [
            (label, records[label.event], standings.get(label.event)) for label in labels if label.event in records
        ]
        alerts = [self._denied(*denial) for denial in denials]
        return [alert for alert in alerts if alert is not None]

    def _denied_records(self, labels: Sequence[FeedLabel]) -> dict[str, Record]:
        ids: dict[str, list[str]] = {}
        for label in labels:
            type_, id_ = label.named
            ids.setdefault(type_, []).append(id_)
        records = [
            record for type_, ids_of_type in ids.items() for record in self._log.find(type_, ids_of_type).values()
        ]
        return {f"{record.type}/{record.id}": record for record in records}

    def _denied(self, label: FeedLabel, record: Record, verdict_before: VerdictInForce | None) -> Alert | None:
        if (
            verdict_before is not None
            and verdict_before.verdict == label.verdict == FRAUD
            and verdict_before.source != CUSTOMER
        ):
            return None
        version = self._versions.at(record.seq)
        event = version.records.decode(record)
        if not isinstance(event, Event):
            return None
        row = self._decisions([record]).get((record.type, record.id))
        alert_facts = _AlertMaker(self._log, version, self._settings, self._money_places, record, row, event, _Raised())
        alert = alert_facts.denied(label)
        if verdict_before is None:
            return alert
        return replace(
            alert, label=verdict_before.verdict, label_source=verdict_before.source, label_ms=verdict_before.known_at_ms
        )

    # ---- sequence numbers with alerts

    def _raised_seqs(self, after: int, upto: int) -> dict[int, _Raised]:
        raised: dict[int, _Raised] = {}
        for text in self._log.decisions.outcome_lines(after, upto):
            for match in self._outcome_lines.finditer(text):
                raised.setdefault(int(match[1]), _Raised()).wants_review = True
        hits = [row for rows in self._log.hits.after(after, upto) for row in rows if not row.shadow]
        if raised or hits:
            self._versions.read_to(upto)
        for row in hits:
            if row.rule == SAMPLED:
                raised.setdefault(row.seq, _Raised()).is_sampled = True
                continue
            rule = self._versions.at(row.seq).rules.get(row.rule)
            if rule is not None and rule.notify == NOTIFIED:
                raised.setdefault(row.seq, _Raised()).rule_hits.append(row)
        return raised

    def _read(self, seqs: Collection[int]) -> dict[int, tuple[Record, DecisionRow | None]]:
        """Read records and their decisions from the log. Raises: StorageError if a record is missing."""
        records = self._log.records_at(seqs) if seqs else {}
        for seq in seqs:
            if seq not in records:
                raise damaged(f"the record at sequence number {seq}", "it is not there")
        rows = self._decisions(records.values())
        return {seq: (record, rows.get((record.type, record.id))) for seq, record in records.items()}

    def _decisions(self, records: Iterable[Record]) -> dict[tuple[str, str], DecisionRow]:
        ids: dict[str, list[str]] = {}
        for record in records:
            if record.decided:
                ids.setdefault(record.type, []).append(record.id)
        return {
            (type_, id_): row
            for type_, ids_of_type in ids.items()
            for id_, row in self._log.decisions.of(type_, ids_of_type).items()
        }

    # ---- alerts of one sequence number

    def _alerts_of(self, record: Record, raised: _Raised, row: DecisionRow | None) -> list[Alert]:
        version = self._versions.at(record.seq)
        event = version.records.decode(record)
        if not isinstance(event, Event):  # its type was no longer declared when the version became active
            return []
        return _AlertMaker(self._log, version, self._settings, self._money_places, record, row, event, raised).alerts()


class _AlertMaker(FrozenStruct):
    """Makes the alerts of one event."""

    log: Log
    version: _AlertVersion
    settings: CaseSettings
    money_places: int
    record: Record
    row: DecisionRow | None
    event: Event
    raised: _Raised

    def alerts(self) -> list[Alert]:
        base, decided = self._base()
        alerts: dict[tuple[str, str], Alert] = {}
        if self.raised.wants_review:
            rules = self._rules(decided)
            asking_rules = [rule for rule in rules if rule.effect == base.outcome] or rules
            whose = self._whose(self.event.type, asking_rules)
            alerts[whose] = _about(
                base, whose, tuple(rule.id for rule in asking_rules), *self._top_reason(decided, asking_rules)
            )
        if self.raised.is_sampled:  # its own case, even if the key is under review for another reason
            whose = self.event.type, self.event.id
            alerts[whose] = _about(base, whose, (SAMPLED,), SAMPLED, SAMPLE)
        for hit in self.raised.rule_hits:
            rule = self.version.rules[hit.rule]
            is_of_rule = hit.key is not None and self.event.type not in self.settings.about
            whose = (rule.by, hit.key or "") if is_of_rule else self._whose(self.event.type, [rule])
            existing = alerts.get(whose)
            if existing is None:
                alerts[whose] = _about(base, whose, (rule.id,), rule.id, self._reason_text(rule, decided))
            elif rule.id not in existing.rules:
                alerts[whose] = replace(existing, rules=(*existing.rules, rule.id))
        return [alert for _, alert in sorted(alerts.items())]

    def denied(self, label: FeedLabel) -> Alert:
        """Return the alert for a customer's denial. A deadline that had passed by then starts again."""
        base, decided = self._base()
        whose = self._whose(self.event.type, self._rules(decided))
        due_ms = base.due_ms if base.due_ms > label.known_at_ms else label.known_at_ms + self.settings.within_ms
        return replace(_about(base, whose, (), "", said_by(label)), seq=label.seq, due_ms=due_ms)

    def _base(self) -> tuple[Alert, _AlertDecision]:
        """Return the alert without entity and reason, and the decision, which is empty if there is none."""
        row = self.row
        decided = _AlertDecision()
        if row is not None:
            decided = stored(row.document, _AlertDecision, f"the decision at sequence number {row.seq}")
        hits = {*decided.rules, *(hit.rule for hit in self.raised.rule_hits)}
        queue = first_match(self.version.queues, self.event, decided.score, hits)
        base = Alert(
            self.record.seq,
            "",
            "",
            self.event.type,
            self.event.id,
            self.event.time_ms,
            self._due_ms(queue),
            "" if row is None else row.outcome,
            None if decided.score is None else round(decided.score * SCORE_PARTS),
            stake=self._stake(),
            queue=queue,
            auto_close=first_match(self.version.auto_close, self.event, decided.score, hits),
        )
        return base, decided

    def _rules(self, decided: _AlertDecision) -> list[Rule]:
        rules = (self.version.rules.get(name) for name in decided.rules)
        return [rule for rule in rules if rule is not None]

    def _whose(self, event: str, rules: Sequence[Rule]) -> tuple[str, str]:
        """Return entity and key of the alert: by the settings, else its rules, else the first entity with a key, else
        the event.
        """
        entities = [name for name, text in self.version.definitions.events.entities.items() if event in text.keys]
        entity_name = self.settings.about.get(event)
        for entity in dict.fromkeys(
            [*([entity_name] if entity_name in entities else []), *(rule.by for rule in rules), *entities]
        ):
            if entity not in entities:
                continue
            key = self.version.keyed.keys(self.event, [entity]).get(entity)
            if key is not None:
                return entity, key_text(key[0] if len(key) == 1 else key)
        return event, self.event.id

    def _top_reason(self, decided: _AlertDecision, rules: Sequence[Rule]) -> tuple[str, str]:
        if rules:
            return rules[0].id, self._reason_text(rules[0], decided)
        return "", decided.outcome if decided.score is None else f"score {decided.score:.4f}"

    def _reason_text(self, rule: Rule, decided: _AlertDecision) -> str:
        """Return the rule's reason as stored with the decision or flag; else its id in words."""
        for reason in decided.reasons:
            if reason.code == rule.id:
                return reason.text
        seq = self.record.seq
        for rows in self.log.flags.after(seq - 1, seq):
            for row in rows:
                if row.rule == rule.id:
                    return row.reason
        return rule.id.replace("_", " ")

    def _stake(self) -> int | None:
        """Return the amount of the event, chosen by today's summary settings, which belong to no version."""
        type_ = self.version.definitions.events.types[self.event.type]
        summary = self.settings.summaries.get(self.event.type, type_.summary)
        type_ = replace(type_, summary=tuple(name for name in summary if name in type_.field_names))
        if type_.amount_field is None:
            return None
        units = self.event.values[type_.at(type_.amount_field.name)]
        places = self.version.definitions.settings.money_places
        return None if units is None else rescale_half_even(_integer(units), places, self.money_places)

    def _due_ms(self, queue: str) -> int:
        type_ = self.version.definitions.events.types[self.event.type]
        field_name = self.settings.until.get(self.event.type)
        if field_name in type_.field_names and type_.fields[type_.at(field_name)].type.kind == "time":
            value = self.event.values[type_.at(field_name)]
            if value is not None:
                return _integer(value)
        due = self.settings.queues.get(queue, {}).get("due")
        return self.event.time_ms + (parse_duration(due) if due else self.settings.within_ms)


def _about(base: Alert, whose: tuple[str, str], rules: tuple[str, ...], rule: str, reason: str) -> Alert:
    entity, key = whose
    routes = {"queue": "", "auto_close": ""} if rule == SAMPLED else {}
    return replace(base, entity=entity, key=key, rules=rules, rule=rule, reason=reason, **routes)


def _integer(value: object) -> int:
    assert isinstance(value, int)
    return value


def strength(outcome: str) -> int:
    """Rank an outcome from weak to strong; an event without a decision ranks lowest."""
    return OUTCOMES.index(outcome) if outcome in OUTCOMES else -1
