"""The law of decision tables: their rules hit as the first row does, and gaps and overlaps are those of a grid."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from random import Random

import pytest

from shroff.language.expression import Node, ThisField
from shroff.language.row import compile_row
from shroff.project.definitions import Loaded, load_definitions
from tests.support.effort import long_after

pytestmark = pytest.mark.slow

FILES = {
    "shroff.yaml": "shroff: 1\nname: law\nmoney: EUR\n",
    "events.yaml": """
payment:
  id: payment_id
  time: at
  decide: true
  fields:
    payment_id: text
    at: time
    card: text
    amount: money?
    share: real?
    tries: integer?
    channel: choice(pos, web)?
    country: text?
    known: boolean?
entities:
  card: { payment: card }
""",
}
EFFECTS = ("decline", "challenge", "review", "note")
CONSTANTS: Mapping[str, Sequence[str]] = {
    "amount": ("0", "10", "10.50", "500", "1_000"),
    "share": ("0.25", "0.5", "0.75"),
    "tries": ("-2", "0", "3", "2.5", "4"),
    "channel": ("'pos'", "'web'"),
    "country": ("'GB'", "'DE'", "'FR'"),
    "known": ("true", "false"),
}
SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    "<": lambda value, limit: value < limit,
    "<=": lambda value, limit: value <= limit,
    ">": lambda value, limit: value > limit,
    ">=": lambda value, limit: value >= limit,
    "==": lambda value, limit: value == limit,
    "!=": lambda value, limit: value != limit,
}
Value = str | float | bool | None
Test = Callable[[Value], bool]


@dataclass
class Cell:
    """A cell: its text, its meaning, and the constants in it."""

    text: str
    test: Test
    limits: tuple[float, ...] = ()
    asks_missing: bool = False


@dataclass
class Made:
    """A table of random cells: rows of cells by column."""

    columns: list[str]
    rows: list[list[Cell]]

    def text(self, number: int) -> str:
        head = " | ".join([*(f"this.{name}" for name in self.columns), "effect"])
        lines = [" | ".join([*(cell.text for cell in row), EFFECTS[at % 4]]) for at, row in enumerate(self.rows)]
        table = "\n".join(f"    {line}" for line in [head, *lines])
        return f"- id: t{number}\n  on: payment\n  by: card\n  table: |\n{table}\n"

    def hits(self, point: Sequence[Value]) -> list[bool]:
        return [all(cell.test(value) for cell, value in zip(row, point, strict=True)) for row in self.rows]

    def grid(self, column: int) -> list[Value]:
        """More than enough values of a column: each constant, its neighbors, and what lies between."""
        name, cells = self.columns[column], [row[column] for row in self.rows]
        missing = [None] if any(cell.asks_missing for cell in cells) else []
        if name in {"channel", "country", "known"}:
            own: dict[str, list[Value]] = {
                "channel": ["pos", "web"],
                "country": ["GB", "DE", "FR", "XX"],
                "known": [True, False],
            }
            return [*own[name], *missing]
        limits = sorted({limit for cell in cells for limit in cell.limits} or {0.0})
        step = {"amount": 0.01, "share": 0.125, "tries": 1.0}[name]
        far = [limit + times * step for limit in limits for times in (-2, -1, 0, 1, 2)]
        whole = [value for value in far if name != "tries" or value == int(value)]
        whole += [float(int(limit)) for limit in limits] + [float(int(limit) + 1) for limit in limits]
        rounded = sorted({round(value, 3) for value in whole})
        return [*(value for value in rounded if value >= 0 or limits[0] < 0), *missing]


def limit_of(text: str) -> float:
    return float(text.replace("_", ""))


def random_cell(name: str, random: Random) -> Cell:
    if random.random() < 0.3:
        return Cell(random.choice(["", "-"])[: random.randint(0, 1)], lambda value: True)
    if random.random() < 0.05:
        return Cell("is missing", lambda value: value is None, asks_missing=True)
    constants = CONSTANTS[name]
    if name == "known":
        word = random.choice(constants)
        return Cell(word, lambda value: value is (word == "true"))
    if name in {"channel", "country"}:
        chosen = random.sample(constants, random.randint(1, 2))
        texts = {text.strip("'") for text in chosen}
        if len(chosen) == 1 and random.random() < 0.5:
            return Cell(chosen[0], lambda value: value in texts)
        if random.random() < 0.5:
            return Cell(f"not in [{', '.join(chosen)}]", lambda value: value is not None and value not in texts)
        return Cell(f"in [{', '.join(chosen)}]", lambda value: value in texts)
    signs = random.sample([*SIGNS], random.randint(1, 2))
    limits = [random.choice(constants) for _ in signs]

    def test(value: Value) -> bool:
        pairs = zip(signs, limits, strict=True)
        return value is not None and all(SIGNS[sign](float(value), limit_of(limit)) for sign, limit in pairs)

    text = " and ".join(f"{sign} {limit}" for sign, limit in zip(signs, limits, strict=True))
    return Cell(text, test, tuple(map(limit_of, limits)))


def random_table(random: Random) -> Made:
    columns = random.sample([*CONSTANTS], random.randint(1, 3))
    return Made(columns, [[random_cell(name, random) for name in columns] for _ in range(random.randint(1, 5))])


def numbers_in(text: str) -> set[int]:
    return {int(number) - 1 for number in re.findall(r"\d+", text)}


def loaded_tables(tables: Sequence[Made]) -> Loaded:
    text = "".join(table.text(number) for number, table in enumerate(tables))
    return load_definitions({**FILES, "rules/tables.yaml": text})


def warnings_of(loaded: Loaded, number: int) -> list[str]:
    return [warning.message for warning in loaded.warnings if re.search(rf" t{number} ", f"{warning.message} ")]


def value_of(text: str, name: str) -> Value:
    if text == "missing":
        return None
    if name in {"channel", "country"}:
        return text
    return text == "true" if name == "known" else float(text)


@pytest.mark.parametrize("seed", long_after(1, [1, 2]))
def test_gaps_overlaps_and_rows_that_never_hit_are_those_of_a_grid(seed: int) -> None:
    random = Random(seed)
    tables = [random_table(random) for _ in range(500)]
    loaded = loaded_tables(tables)
    assert loaded.problems == []
    said: dict[int, list[str]] = {number: [] for number in range(len(tables))}
    for warning in loaded.warnings:
        found = re.search(r"\bt(\d+)\b", warning.message)
        assert found is not None
        said[int(found[1])].append(warning.message)

    for number, table in enumerate(tables):
        points = [table.hits(point) for point in product(*(table.grid(at) for at in range(len(table.columns))))]
        first = {hits.index(True) for hits in points if any(hits)}
        over = {
            (low, high)
            for high, row in enumerate(table.rows)
            for low in range(high)
            if high in first and any(cell.text not in {"", "-"} for cell in row)
            if any(hits[low] and hits[high] for hits in points)
        }
        gaps = [words for words in said[number] if words.startswith("no row")]
        never = {at for words in said[number] if "never hits" in words for at in numbers_in(words.split(" of ")[0])}
        overlaps = {
            (low, high)
            for words in said[number]
            if " overlaps " in words
            for high in numbers_in(words.split(" of ")[0])
            for low in numbers_in(words.split(" overlaps ")[1])
        }

        assert bool(gaps) is not all(any(hits) for hits in points), table.text(number)
        assert never == set(range(len(table.rows))) - first, table.text(number)
        assert overlaps == over, table.text(number)
        for example in gaps[0].split(" hits ")[1].removesuffix(".").split("; nor ") if gaps else ():
            told = dict(part.split(" ", 1) for part in example.split(", "))
            point = [value_of(told[f"this.{name}"].replace("another text", "XX"), name) for name in table.columns]
            assert not any(table.hits(point)), (table.text(number), example)


def test_the_rules_of_a_table_hit_as_its_first_row_that_is_true_does() -> None:
    random = Random(3)
    tables = [random_table(random) for _ in range(200)]
    definitions = loaded_tables(tables).or_raise()
    types = definitions.events.types["payment"]

    def leaf(node: Node) -> Callable[[Mapping[str, Value]], Value]:
        assert isinstance(node, ThisField)
        return lambda row: row[node.name]

    for number, table in enumerate(tables):
        rules = [rule for rule in definitions.rules if rule.id.partition(".")[0] == f"t{number}"]
        whens = [compile_row(rule.when, leaf) for rule in rules]
        for point in product(*([*table.grid(at), None] for at in range(len(table.columns)))):
            row: dict[str, Value] = dict(zip(table.columns, point, strict=True))
            if isinstance(row.get("amount"), float):
                row["amount"] = round(100 * float(row["amount"] or 0))
            if isinstance(row.get("tries"), float):
                row["tries"] = int(row["tries"] or 0)
            hits = table.hits(point)

            assert types is not None
            assert [when(row) is True for when in whens] == [
                at == (hits.index(True) if any(hits) else -1) for at in range(len(hits))
            ]
