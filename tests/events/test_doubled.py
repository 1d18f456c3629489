"""A key that is used twice in one JSON object is a mistake of its line, and nothing else is taken for one."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.events.formats.encodings import doubled_key, may_double, read_lines
from shroff.events.intake import Intake, Submission
from tests.support.projects import definitions

DOUBLED = [
    ('{"id":"p","id":"q"}', "id"),
    ('{"id":"p","id":"p"}', "id"),
    ('{"id" : "p", "id"\t:"q"}', "id"),
    ('{"id":"p","\\u0069d":"q"}', "id"),
    ('{"payment":{"id":"p","card":"c","id":"q"}}', "id"),
    ('{"a":[{"b":1},{"b":1,"b":2}]}', "b"),
    ('{"at":"12:00:00","note":"\\":","at":1}', "at"),
    ('{"":1,"":1}', ""),
    ('{"n":1.' + "0" * 5_000 + ',"n":2}', "n"),
]
SINGLE = [
    "{}",
    '{"id":"p","at":"2026-03-01T12:00:00Z"}',
    '{"id" : "p" , "at"\t: 1 }',
    '{"note":"he said \\"yes\\": \\":\\":"}',
    '{"note":"\\"id\\":","id":1}',
    '{"payment":{"id":"p"},"label":{"id":"p"}}',
    '{"a":[{"b":1},{"b":2}]}',
]


@pytest.mark.parametrize(("line", "key"), DOUBLED)
def test_a_doubled_key_is_found_wherever_it_stands(line, key):
    assert may_double(line.encode(), msgspec.json.decode(line))
    assert doubled_key(line.encode()) == key


@pytest.mark.parametrize("line", SINGLE)
def test_nothing_else_is_one(line):
    assert doubled_key(line.encode()) is None


class Pairs(list):
    """An object's keys and values, as they stand in a text."""


def pairs(values):
    return st.lists(st.tuples(KEYS, values), max_size=4).map(Pairs)


KEYS = st.sampled_from(["a", "b", '":', 'a":', " ", "\\", ""])
VALUES = st.recursive(
    st.one_of(st.none(), st.integers(-9, 9), st.text(alphabet='a":, \\{}\n', max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), pairs(inner)),
    max_leaves=6,
)


def text_of(value: object, blank: str) -> str:
    if isinstance(value, Pairs):
        inside = (f"{json.dumps(key)}{blank}:{blank}{text_of(item, blank)}" for key, item in value)
        return "{" + f",{blank}".join(inside) + "}"
    if isinstance(value, list):
        return "[" + ",".join(text_of(item, blank) for item in value) + "]"
    return json.dumps(value)


def has_doubled(value: object) -> bool:
    if isinstance(value, Pairs):
        keys = [key for key, _ in value]
        return len(set(keys)) < len(keys) or any(has_doubled(item) for _, item in value)
    return isinstance(value, list) and any(map(has_doubled, value))


@given(pairs(VALUES), st.sampled_from(["", " ", "\t", " \n "]))
def test_of_any_text_all_doubled_keys_are_found_and_no_others(value, blank):
    raw = text_of(value, blank).encode()
    found = may_double(raw, msgspec.json.decode(raw)) and doubled_key(raw) is not None

    assert found == has_doubled(value)


# ---- in files


def submitted(path: Path, as_type: str | None = "payment") -> list[Submission]:
    project = definitions()
    with read_lines(path) as lines:
        return list(Intake(project.events, project.settings, None).submissions(lines, path.name, as_type))


ORDINARY = '{"id":"p1","at":"2026-03-01T12:00:00Z","card":"c","amount":"5.00"}'
TWICE = [
    ORDINARY.replace('"card":"c"', '"card":"c","card":"c"'),
    ORDINARY.replace('"card":"c"', '"card":"c","card":null'),
    ORDINARY.replace('"card":"c"', '"card":null,"card":null'),
    ORDINARY.replace('"amount":"5.00"', '"amount":"9.00","amount":"5.00"'),
    ORDINARY.replace('"amount":"5.00"', '"amount" : 9,"amount" : 5'),
]


@pytest.mark.parametrize("line", TWICE)
@pytest.mark.parametrize("form", ["{}", '{{"payment":{}}}'])
def test_the_line_is_refused_with_the_key_and_its_bytes_and_the_others_go_on(line, form, tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(form.format(item) for item in (ORDINARY, line, ORDINARY)) + "\n", encoding="utf-8")
    first, second, third = submitted(path, "payment" if form == "{}" else None)

    assert first.event == third.event is not None
    assert second.refusal == f"the key {doubled_key(line.encode())!r} is used twice in one object; leave one"
    assert second.raw() == form.format(line).encode() + b"\n"


def test_in_a_list_over_several_lines_only_the_element_is_refused_and_keeps_its_bytes(tmp_path):
    path = tmp_path / "in.json"
    path.write_text("[\n" + ",\n".join([ORDINARY, TWICE[0], ORDINARY]) + "\n]\n", encoding="utf-8")
    first, second, third = submitted(path)

    assert first.event == third.event is not None
    assert second.refusal == "the key 'card' is used twice in one object; leave one"
    assert second.raw() == TWICE[0].encode()
