"""Long lists: after any row of changes, what is known of a list is what reading it from scratch gives."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroff import config
from shroff.app import project as app
from shroff.errors import Problem, UsageError
from shroff.log.active_files import followed
from shroff.log.history import control_at
from shroff.project import read_once, reference
from shroff.project.lists import EMPTY, Entry, edited, entries
from shroff.project.read_once import LISTS, ReadOnce, TextsVersion, text_version
from shroff.project.reference import load_list
from shroff.runtime.texts import line_edit_of
from shroff.streams.log import Record
from tests.support.effort import examples
from tests.support.projects import FILES, write_files

FILE = "lists/blocked.csv"
RULE = "- { id: listed, on: payment, by: card, effect: decline, when: this.card in lists.blocked }\n"
VALUES = st.sampled_from(["a", "ab", "b", "c-1", "é", "H:a", "x,y", 'q"'])
TIMES = st.sampled_from(["", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"])
ENTRIES = st.builds(Entry, VALUES, st.sampled_from(["", "n", "n, m"]), st.just("ann"), TIMES)
LINES = st.sampled_from(
    [
        "a,,,\n",
        "ab,n\n",
        "b\n",
        "H:a,,,2026-01-01T00:00:00Z\n",
        "\n",
        ",,,\n",
        '"c\nd",\n',
        "e,,,no time\n",
        "f,,,,,\n",
        "z",
    ]
)
STARTS = st.sampled_from(
    [EMPTY, EMPTY + "a,,,\nb,n,ann,\nab,,,\n", EMPTY + "a,,,\na,,,\n", "value\nb\n", "\ufeffvalue\na\n", ""]
)
CHANGES = st.lists(
    st.tuples(st.just("put"), ENTRIES) | st.tuples(st.just("out"), VALUES) | st.tuples(st.integers(0, 60), LINES),
    min_size=1,
    max_size=6,
)


def as_is(value: str) -> str:
    """Stands for a value as `str` does, without the shorter way that `str` takes."""
    return value


def hashed(value: str) -> str:
    return value if value.startswith("H:") else f"H:{value}"


def changed(text: str, what: str | int, by: Entry | str, read: ReadOnce) -> str:
    """The text after a change: by `lists add`, by `lists remove`, or by hand at a place."""
    if isinstance(what, int):
        return text[:what] + str(by) + text[what + what % 3 :]
    problems: list[Problem] = []
    load_list(FILE, text.partition("\n")[0], problems)
    if problems:
        return text  # by hand its header was made one that is refused before
    put, out = ([by], []) if isinstance(by, Entry) else ([], [by])
    known = read.list_known("blocked")
    try:
        slow = edited(text, put, out, as_is)
    except UsageError:
        return text
    assert edited(text, put, out, str, known=known) == slow
    assert edited(text, put, out, str) == slow
    return slow.text


@settings(max_examples=examples(2_000, usual=150))
@given(STARTS, CHANGES)
def test_a_list_after_any_changes_is_what_reading_it_from_scratch_gives(text, changes):
    read, version = ReadOnce(), TextsVersion()
    for what, by in [(0, ""), *changes]:
        text = changed(text, what, by, read)
        problems, whole = list[Problem](), list[Problem]()
        found, new = read.list_file(FILE, text, problems), load_list(FILE, text, whole)

        assert (found, problems) == (new, whole)
        if not problems:
            mapped = read.mapped(found, hashed)
            assert mapped == new.mapped(hashed)
            assert mapped == load_list(FILE, mapped.text, [])
        texts = {"lists/a.csv": "value\n", FILE: text, "lists/c.csv": text[:5]}
        assert version.of(texts) == text_version(texts)


@given(
    st.lists(st.sampled_from(["a", "b\n", "\n", "é"]), max_size=8), st.lists(st.sampled_from(["a", "b\n"]), max_size=8)
)
def test_an_edit_in_whole_lines_gives_the_text_behind_it(before, after):
    before, after = "".join(before), "".join(after)
    found = line_edit_of(before, after)

    assert before[: found.at] + found.text + before[found.at + len(found.gone) :] == after
    assert before[found.at : found.at + len(found.gone)] == found.gone
    assert found.at == 0 or before[found.at - 1] == "\n"
    for part, text in ((found.gone, before), (found.text, after)):
        assert part.endswith("\n") or not part or text.endswith(part)


class KilledError(BaseException):
    """The process ends here."""


def test_a_process_that_ends_at_any_step_of_a_change_leaves_the_old_list_or_the_new_one(tmp_path, monkeypatch):
    folder = write_files(tmp_path / "small", {**FILES, "rules/listed.yaml": RULE, FILE: EMPTY + "c1,,ann,\n"})
    fields = {"id": "p1", "at": "2026-03-01T12:00:01Z", "card": "c1", "amount": "1.00"}
    app.open(folder).decide([fields], as_type="payment")
    steps = 0
    for number in range(100):
        before, entry = entries((folder / FILE).read_text()), Entry(f"n{number}")
        with monkeypatch.context() as patched:
            end_at(patched, number)
            try:
                app.open(folder).lists.add("blocked", entry)
            except KilledError:
                steps += 1
            else:
                break

        assert entries((folder / FILE).read_text()) in (before, [*before, entry])
        assert app.open(folder).lists.add("blocked", Entry(f"m{number}")).in_force
    report = app.open(folder).verify(["online"])

    assert (steps >= 4, report.mismatches) == (True, 0)


def end_at(patched: pytest.MonkeyPatch, number: int) -> None:
    """Have the process end at the next but `number` step that reaches the disk."""
    left = [number]

    def stepping(step: Callable[..., object]) -> Callable[..., object]:
        def taken(*given: object, **named: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise KilledError
            return step(*given, **named)

        return taken

    patched.setattr(os, "fsync", stepping(os.fsync))
    patched.setattr(Path, "replace", stepping(Path.replace))


def test_a_row_of_a_long_list_goes_on_from_what_is_known(tmp_path, monkeypatch):
    rows = "".join(f"c-{number},,,\n" for number in range(2_000))
    folder = write_files(tmp_path / "small", {**FILES, "rules/listed.yaml": RULE, FILE: EMPTY + rows})
    project = app.open(folder)
    assert project.check().is_ok
    read, rows_of = list[int](), reference._rows

    def noted(file: str, text: str, problems: list[Problem]) -> object:
        read.append(len(text))
        return rows_of(file, text, problems)

    monkeypatch.setattr(reference, "_rows", noted)
    for change in (lambda: project.lists.add("blocked", Entry("c-x")), lambda: project.lists.remove("blocked", "c-7")):
        change()
        project.opened.reload()
        assert len(project.definitions.reference.lists["blocked"]) in {2_000, 2_001}

    assert read
    assert max(read) < 200


def test_versions_of_a_list_are_those_of_its_texts():
    read, text = ReadOnce(), EMPTY
    for number in range(20):
        text += f'c-{number},"é\t",,\n'
        assert read.version(LISTS, {FILE: text}) == text_version({FILE: text})


class SomeLog:
    """The control events of a log, and how many were asked for."""

    place = "log.db"

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.given = 0

    def take(self, files: dict[str, str]) -> None:
        seq = len(self.records) + 1
        body = control_at(self).change_to(files, {"lists": str(seq)})
        self.records.append(Record(seq, "control", "control", str(seq), 0, body, decided=False))

    def controls(self, after: int = 0, upto: int | None = None) -> list[Record]:
        found = [one for one in self.records if after < one.seq <= (upto or len(self.records))]
        self.given += len(found)
        return found


def test_what_is_active_is_followed_and_another_log_in_the_same_place_is_read_from_its_start():
    read, logs = ReadOnce(), (SomeLog(), SomeLog())
    for at in (0, 1, 0):
        log = logs[at]
        for number in range(4):
            log.take({FILE: EMPTY + 900 * f"b{at},,,\n" + number * "a,,,\n", "rules/a.yaml": f"{at} {number}"})
            control, seq = followed(log, read)
            whole = control_at(log)

            assert (control.files, control.versions, seq) == (whole.files, whole.versions, len(log.records))
    logs[0].given = 0
    followed(logs[0], read)

    assert logs[0].given == 1


def test_a_text_is_kept_while_its_file_is_as_it_was_and_was_not_just_changed(tmp_path, monkeypatch):
    kept, path, read = read_once.KeptTexts(), tmp_path / "a.yaml", list[str]()
    bytes_of = config.bytes_of
    monkeypatch.setattr(config, "bytes_of", lambda one: read.append(str(one)) or bytes_of(one))

    def texts(*contents: str) -> list[str]:
        found = []
        for content in contents:
            if not path.exists() or path.read_text() != content:
                path.write_text(content)
            found.append(kept.text(str(path), "a.yaml", []))
        return found

    assert texts("a: 1", "a: 1") == ["a: 1", "a: 1"]
    assert len(read) == 2  # it was changed a moment ago
    monkeypatch.setattr(read_once, "SETTLED_NS", -(10**12))
    assert texts("a: 1", "a: 1", "a: 12", "a: 12") == ["a: 1", "a: 1", "a: 12", "a: 12"]
    assert len(read) == 4
