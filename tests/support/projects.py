"""Small projects and submissions for tests of the writer and the engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path

import msgspec

from shroff.events.intake import Intake, Submission
from shroff.events.redaction import keeping_hashed
from shroff.language.yaml import text as yamltext
from shroff.log.writer import Writer
from shroff.project.definitions import Definitions, load_definitions
from shroff.project.settings.systems import Systems, load_systems
from shroff.services import project as app
from shroff.streams.log import Log

NOW_MS = 1_780_000_000_000
FILES = {
    "shroff.yaml": "shroff: 1\nname: small\nmoney: EUR\n",
    "events.yaml": """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text?, amount: money }
entities:
  card: { payment: card }
""",
    "features.yaml": """
card:
  payments_1h: count(payment) over 1h
  spent_1d: sum(payment.amount) over 1d
  frauds: count(label where label.verdict == 'fraud')
""",
    "rules/large.yaml": """
- id: large
  on: payment
  by: card
  when: this.amount > 100
  reason: A payment of {this.amount}
  effect: review
  notify: analysts
""",
}


def write_files(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files of a project into a folder, which is made; gives the folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def definitions(changes: Mapping[str, str | None] | None = None) -> Definitions:
    """The small project, some of its files changed or left out."""
    return _definitions(tuple(sorted((changes or {}).items())))


@lru_cache(maxsize=32)
def _definitions(changes: tuple[tuple[str, str | None], ...]) -> Definitions:
    files = {**FILES, **dict(changes)}
    return load_definitions({name: text for name, text in files.items() if text is not None}).or_raise()


def systems_of(settings: str) -> Systems:
    """Where things are by a text of shroff.yaml that has no mistake."""
    top = yamltext.read(settings, "shroff.yaml", [])
    assert isinstance(top, yamltext.Mapping)
    return load_systems(top, [], [])


def writer(log: Log, changes: Mapping[str, str | None] | None = None) -> Writer:
    return Writer(log, definitions(changes), lambda: NOW_MS)


def payment(number: int, minute: int = 0, *, card: str | None = "c", amount: str = "5.00", id_: str = "") -> Submission:
    """A payment some minutes after noon."""
    at = f"2026-03-01T{12 + minute // 60:02d}:{minute % 60:02d}:00Z"
    return submission("payment", number, {"id": id_ or f"p{number}", "at": at, "card": card, "amount": amount})


def label(number: int, event: str, verdict: str, source: str, known_at: str) -> Submission:
    fields = {"event": event, "verdict": verdict, "source": source, "known_at": known_at}
    return submission("label", number, fields)


def submission(type_name: str, number: int, fields: Mapping[str, object]) -> Submission:
    """What validation makes of an event or label of the small project."""
    project = definitions()
    intake = Intake(project.events, project.settings, None)
    return intake.submit(
        type_name, fields, source="test", place=str(number), raw=msgspec.json.encode(fields), is_strict=False
    )


def documents(answers: Sequence[object]) -> list[dict[str, object]]:
    """The decisions among answers, read."""
    return [msgspec.json.decode(answer.document) for answer in answers if answer.document]


@contextmanager
def at_work(bank: Path) -> Iterator[app.Project]:
    """Another process, as good as, that writes the log and looks into its inbox."""
    project = app.open(bank)
    with project.log.writing() as (held, log), closing(project.inboxes.brief(held, log)) as served, served.attended():
        yield project


def intake_of(given):
    """What reads refused input again, of a project without named sources."""
    return Intake(given.events, given.settings, keeping_hashed(str))
