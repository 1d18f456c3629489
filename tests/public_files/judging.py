"""What a proposal made of a file, compared with the declared meaning of each column.

Only texts that a user can read are used: the answer of `init --json`, the project's files and `export`.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from shroff.cli.main import run
from tests.public_files.making import Column, Made, Row

FIT: Final = {  # the types that fit what a column means
    "id": {"text"},
    "ref": {"text", "choice"},
    "key": {"text", "choice"},
    "time": {"time"},
    "money": {"money", "number", "real", "integer"},
    "number": {"number", "integer", "real"},
    "flag": {"boolean", "choice", "text", "integer"},
    "category": {"choice", "text", "integer"},
    "text": {"text", "choice"},
    "month": {"text", "choice", "time"},
    "personal": {"text"},
}
HITS_MAX: Final = 0.06  # share of the events
UNSAID: Final = {"nothing", "part", "leak"}  # need no field
_REFERENCE = re.compile(r"\b(row|item)((?:\.[A-Za-z_]\w*|\['(?:[^'\\]|\\.)*'\])+)")
_PART = re.compile(r"\.([A-Za-z_]\w*)|\['((?:[^'\\]|\\.)*)'\]")


class Finding(NamedTuple):
    """Something that is neither right nor asked about."""

    check: str  # whole, order, time, money, id, label, entity, value
    column: str
    said: str = ""
    right: str = ""

    @property
    def key(self) -> str:
        return f"{self.check}: {self.column}" if self.column else self.check


@dataclass
class Outcome:
    """What the program answered, and what it keeps."""

    init: Mapping[str, Any]
    ingest: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Any] = field(default_factory=dict)
    events: Sequence[tuple[str, Mapping[str, Any]]] = ()
    labels: Sequence[Mapping[str, Any]] = ()
    decisions: Sequence[Mapping[str, Any]] = ()
    texts: str = ""

    @property
    def is_made(self) -> bool:
        return "guesses" in self.init

    @property
    def said(self) -> list[str]:
        """What the proposal asks or tells, each a text."""
        said = [*self.init.get("guesses", ()), *map(json.dumps, self.init.get("questions", ()))]
        return [text for text in said if not re.search("kept beside the log|only its end can be read", text)]


def called(*words: str) -> str:
    """Standard output of a command."""
    raw = io.BytesIO()
    out, err = (io.TextIOWrapper(file, encoding="utf-8", write_through=True) for file in (raw, io.BytesIO()))
    with redirect_stdout(out), redirect_stderr(err):
        run([*words])
    return raw.getvalue().decode()


def tried(folder: Path, file: Path) -> Outcome:
    """A project proposed from a file, the file taken by it, and what it keeps."""
    init = json.loads(called("init", str(folder), "--from", str(file), "--json"))
    if "guesses" not in init:
        return Outcome(init)
    labels = ["--labels", str(file)] if "label" in _files_of(folder)["events"] else []
    ingest = json.loads(called("-C", str(folder), "ingest", str(file), *labels, "--json"))
    return kept(folder, init, ingest)


def kept(folder: Path, init: Mapping[str, Any], ingest: Mapping[str, Any]) -> Outcome:
    """What a project keeps after these answers of `init` and `ingest`."""
    files = _files_of(folder)
    types = [spec["fields"] for spec in files["events"].values() if "fields" in spec]
    personal = sorted({name for fields in types for name, type_ in fields.items() if "personal" in type_})
    shown = ["--personal", ",".join(personal)] if personal else []
    lines = called("-C", str(folder), "export", "events", *shown).splitlines()
    events = [(name, dict(event)) for line in lines for name, event in json.loads(line).items()]
    decisions = [json.loads(line) for line in called("-C", str(folder), "export", "decisions").splitlines()]
    verdicts: list[Any] = []
    if "label" in files["events"]:
        verdicts = [json.loads(line) for line in called("-C", str(folder), "export", "labels").splitlines()]
    return Outcome(init, ingest, files, events, verdicts, decisions)


def _files_of(folder: Path) -> dict[str, Any]:
    return {
        name: yaml.load((folder / f"{name}.yaml").read_text(encoding="utf-8"), yaml.BaseLoader)
        for name in ("events", "features", "shroff")
    }


def references(expression: str) -> list[tuple[str, str]]:
    """`row` or `item`, and the path, of each column that an expression reads."""
    return [
        (root, ".".join(name or quoted for name, quoted in _PART.findall(path)))
        for root, path in _REFERENCE.findall(expression)
    ]


class Judged:
    """A file and what was made of it."""

    def __init__(self, made: Made, outcome: Outcome) -> None:
        self.made, self.kind, self.outcome = made, made.kind, outcome
        self.findings: list[Finding] = []
        self.reading = {name for name, _, rest in (text.partition(": ") for text in outcome.said) if _of_reading(rest)}
        self.wrong: list[Finding] = []  # columns whose type does not fit, none of them critical
        self.asked = 0
        if not outcome.is_made:
            words = json.dumps(outcome.init)
            self.findings.append(Finding("whole", "", words[:300], f"{len(made.rows)} events"))
            return
        self.spec = outcome.files["events"]["payment"]
        self.columns = {
            name: list(self._columns(spec)) for name, spec in outcome.files["events"].items() if "fields" in spec
        }
        self._whole()
        self._id()
        self._values()
        self._time()
        self._money()
        self._entity()
        self._label()
        self._share()
        self._rules()

    def is_said(self, *names: str) -> bool:
        """Whether a guess or a question names one of these."""
        return any(
            re.search(rf"(?<!\w){re.escape(name)}(?!\w)", said) for said in self.outcome.said for name in names if name
        )

    def find(self, check: str, column: str, said: object, right: object, *names: str) -> None:
        if check == "value":
            is_said = not self.reading.isdisjoint(names)
        else:
            is_said = self.is_said(*names)
        if is_said:
            self.asked += 1
        else:
            self.findings.append(Finding(check, column, f"{said}"[:120], f"{right}"[:120]))

    def _columns(self, spec: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
        """Name and type of each field, and the declared columns that it reads."""
        mapping = next(iter(spec.get("from", {}).values()), {})
        has_items = "each" in mapping
        header = mapping.get("columns")
        renamed = dict(zip(header, self.kind.columns, strict=False)) if header else {}
        by_header = {self.kind.names.get(name, name): name for name in self.kind.columns}
        for name, type_ in spec["fields"].items():
            expression = mapping.get(name)
            paths = [("row", name)] if expression is None else references(expression)
            columns = [
                self._declared(renamed.get(path, by_header.get(path, path)))
                for root, path in paths
                if root == "item" or not has_items
            ]
            yield name, type_, [column for column in columns if column]

    def _declared(self, path: str) -> str:
        plain = re.sub("[@#]", "", path.removeprefix(self.kind.prefix))
        return next((name for name in self.kind.columns if re.sub("[@#]", "", name) == plain), "")

    def _whole(self) -> None:
        answer = self.outcome.ingest
        if answer.get("appended") != len(self.made.rows):
            counts = ", ".join(
                f"{answer.get(name)} {name}" for name in ("appended", "quarantined", "untaken", "duplicates")
            )
            self.findings.append(Finding("whole", "", answer.get("detail", counts), f"{len(self.made.rows)} events"))

    def _id(self) -> None:
        declared = next((name for name, column in self.kind.columns.items() if column.role == "id"), "")
        name = self.spec["id"]
        read = next((columns for field_, _, columns in self.columns["payment"] if field_ == name), [])
        self.rows: dict[str, Row] = {}
        ids = [f"{row.raw[read[0]]}" for row in self.made.rows] if len(read) == 1 else []
        by_id = dict(zip(ids, self.made.rows, strict=False))
        if ids and all(by_id[text].raw == row.raw for text, row in zip(ids, self.made.rows, strict=True)):
            self.rows = by_id
        else:

            def place(text: str) -> tuple[int, ...]:
                return tuple(map(int, re.findall(r"\d+", text.rpartition(":")[2])))

            ids = sorted({event[name] for _, event in self.outcome.events}, key=place)
            if len(ids) == len(self.made.rows):
                self.rows = dict(zip(ids, self.made.rows, strict=True))
            else:
                firsts = {text: place(text)[-1] for text in ids}
                count = len(self.made.rows)
                self.rows = {text: self.made.rows[at - 1] for text, at in firsts.items() if 0 < at <= count}
        if (read[:1] != [declared]) if declared else bool(read):
            self.find("id", declared, f"{name} reads {read}", declared or "no column", name)

    def _pairs(self, name: str, field_: str) -> Iterator[tuple[Any, Row]]:
        for kind, event in self.outcome.events:
            row = self.rows.get(f"{event.get(self.outcome.files['events'][kind]['id'])}")
            if kind == name and row is not None:
                yield event.get(field_, event.get(f"{field_}.original")), row

    def _values(self) -> None:
        """Every value that is kept means what the file says, or there is a word of it."""
        self.fits: dict[str, bool] = {}
        for name, columns in self.columns.items():
            for field_, type_, read in columns:
                if not read:
                    continue
                column = next((each for each in read if self.kind.columns[each].is_main), read[0])
                declared = self.kind.columns[column]
                kind = re.match(r"\w+", type_)
                assert kind is not None
                pairs = list(self._pairs(name, field_))
                differs = next(
                    (pair for pair in pairs if not _is_same(pair[0], type_, column, declared, pair[1])), None
                )
                if declared.is_main and isinstance(self.made.rows[0].values[column], timedelta):
                    starts = {_time(value) - row.values[column] for value, row in pairs if value is not None}
                    differs = None if len(starts) <= 1 else pairs[0]
                if differs is not None:
                    value, row = differs
                    self.find(
                        "value",
                        column,
                        f"{field_} ({type_}): {value}",
                        f"{row.raw[column]!r} is {row.values[column]}",
                        field_,
                        column,
                    )
                fits = kind[0] in FIT.get(declared.role, {kind[0]}) and (
                    declared.role != "leak" or self.is_said(field_, column)
                )
                fits = fits and (declared.role != "personal" or "personal" in type_ or "hashed" in type_)
                self.fits[column] = self.fits.get(column, True) and fits and differs is None
                if not fits:
                    self.wrong.append(Finding("column", column, f"{field_}: {type_}", declared.role))

    def _time(self) -> None:
        declared = next(
            (name for name, column in self.kind.columns.items() if column.is_main and column.role == "time"), ""
        )
        name = self.spec["time"]
        read = next((columns for field_, _, columns in self.columns["payment"] if field_ == name), [])
        if (declared not in read) if declared else bool(read):
            self.find("time", declared, f"{name} reads {read}", declared or "no column", name)
        if "time" in self.kind.asks and not self.is_said(name, declared, "times"):
            self.findings.append(Finding("time", declared, f"{name}, nothing said", "asked about"))
        times = [_time(event[self.outcome.files["events"][kind]["time"]]) for kind, event in self.outcome.events]
        if self.kind.order != "none" and times != sorted(times) and not self.is_said("order", "newest"):
            self.findings.append(Finding("order", declared, "kept as the lines are, newest first", "oldest first"))

    def _money(self) -> None:
        declared = next(
            (name for name, column in self.kind.columns.items() if column.is_main and column.role == "money"), ""
        )
        features = json.dumps(self.outcome.files["features"])
        used = re.search(r"(?:sum|mean)\((?:abs\()?payment\.(\w+)", features)
        name = used[1] if used else ""
        fields = {field_: (type_, read) for field_, type_, read in self.columns["payment"]}
        type_, read = fields.get(name, ("", []))
        if (declared not in read) if declared else bool(name):
            self.find("money", declared, f"{name or 'no field'} reads {read}", declared or "no column", name)
            return
        if not declared:
            return
        money = self.outcome.files["shroff"]["money"]
        currency = money["currency"] if isinstance(money, dict) else money
        coded = re.search(r" in (\w+)", type_)
        code = fields.get(coded[1], ("", [""]))[1] if coded else []
        if self.kind.code and self.kind.code not in code:
            self.find("money", declared, type_, f"in the currency of {self.kind.code}", name, "currencies")
        if self.kind.currency and currency != self.kind.currency:
            self.find("money", declared, currency, self.kind.currency, "currency")
        if not (self.kind.code or self.kind.currency) and not self.is_said(name, "currency", "currencies"):
            self.findings.append(Finding("money", declared, currency, "the currency is asked about"))

    def _entity(self) -> None:
        keys = [name for name, column in self.kind.columns.items() if column.role == "key"]
        read_by = {field_: columns for field_, _, columns in self.columns["payment"]}
        for entity, of in self.outcome.files["events"]["entities"].items():
            read = read_by.get(of["payment"], [])
            if not set(read) & set(keys):
                self.find(
                    "entity", (read or [""])[0], f"{entity} reads {read}", f"one of {keys}", entity, of["payment"]
                )

    def _label(self) -> None:
        declared = next((name for name, column in self.kind.columns.items() if column.role == "label"), "")
        label = self.outcome.files["events"].get("label")
        if not declared or label is None:
            if declared or label is not None:
                self.find(
                    "label", declared, label and "a label is proposed", declared or "no label", declared or "verdict"
                )
            return
        mapping = next(iter(label["from"].values()))
        read = [path for _, path in references(mapping["verdict"])]
        if declared not in read:
            self.find("label", declared, mapping["verdict"], declared, "verdict")
        by_event = {each["event"].partition("/")[2]: each for each in self.outcome.labels}
        at = {f"{event[self.spec['id']]}": event[self.spec["time"]] for _, event in self.outcome.events}
        for event_id, row in self.rows.items():
            found = by_event.get(event_id, {})
            verdict, known_at = found.get("verdict"), found.get("known_at", "")
            if verdict != row.values[declared] or (event_id in at and _time(known_at) < _time(at[event_id])):
                said = f"{event_id}: {verdict}, known at {known_at}"
                self.findings.append(Finding("label", declared, said, row.values[declared]))
                break

    def _share(self) -> None:
        for name, column in self.kind.columns.items():
            if name not in self.fits:
                is_right = column.role in UNSAID or (column.role == "label" and "label" in self.outcome.files["events"])
                is_right = is_right or all(row.values[name] in {None, ""} for row in self.made.rows)
                self.fits[name] = is_right
                if not is_right:
                    self.wrong.append(Finding("column", name, "no field", column.role))

    def _rules(self) -> None:
        """The proposed rule sends few events to people; `no_rate` hits all whose currency has no rate yet."""
        count = len(self.outcome.decisions)
        hits = sum(bool({*decision["rules"]} - {"no_rate"}) for decision in self.outcome.decisions)
        if hits > HITS_MAX * count:
            self.findings.append(Finding("rule", "", f"hits {hits} of {count}", "a few"))


def _of_reading(guess: str) -> bool:
    """Whether a guess about a field says that its values may be read otherwise."""
    return (
        re.search(r"could also be [^;]*%|else read|are they|rounded|units|count steps|months only|days only", guess)
        is not None
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _is_same(value: Any, type_: str, name: str, column: Column, row: Row) -> bool:
    raw, meant = row.raw[name], row.values[name]
    if "hashed" in type_ or column.role == "part":
        return True
    if value is None:
        return meant in {None, ""} or f"{raw}".strip() in {"", "?", "-", "null"} or "personal" in type_
    if isinstance(meant, timedelta):
        return True
    if meant is None and not type_.startswith(("text", "choice")):
        return False
    if type_.startswith("time"):
        return isinstance(meant, datetime) and abs(_time(value) - meant) < timedelta(milliseconds=1)
    if type_.startswith(("money", "number", "integer", "real")):
        exact = meant if isinstance(meant, Decimal) else f"{raw}"
        if column.role == "money" and not type_.startswith("money") and re.fullmatch(r"-?\d+", f"{raw}"):
            exact = f"{raw}"  # no money, so the number that stands there
        if type(raw) is str and column.role in {"ref", "key", "id", "category"} and re.match(r"0\d", raw):
            return False
        try:
            wanted = Decimal(re.sub(r"[,$£%]", "", exact) if type(exact) is str else exact)
            return abs(Decimal(f"{value}") - wanted) <= abs(wanted) * (
                Decimal("1e-9") if type_.startswith("real") else 0
            )
        except InvalidOperation:
            return False
    if type_.startswith("boolean"):
        return f"{value}".lower() == f"{raw}".lower()
    written = json.dumps(raw) if isinstance(raw, bool | float) else f"{raw}"
    return f"{value}".strip() == written.strip() or value in {f"{raw}".upper(), meant} or _is_equal(value, raw)


def _is_equal(value: Any, raw: Any) -> bool:
    try:
        return type(raw) is not str and float(value) == float(raw)
    except (TypeError, ValueError):
        return False


def judged(made: Made, folder: Path, content: bytes | None = None) -> Judged:
    file = folder / made.kind.file_name
    file.write_bytes(made.content() if content is None else content)
    return Judged(made, tried(folder / "project", file))
