"""Long lists: after any row of changes, what is known of a list is what reading it from scratch gives."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroff import config
from shroff.errors import Problem, UsageError
from shroff.events import hash_keys
from shroff.events.redaction import HASHED
from shroff.log.active_files import followed
from shroff.log.history import control_at
from shroff.project import parse_cache, reference
from shroff.project.definitions import load_definitions
from shroff.project.lists import EMPTY, Entry, edited, entries, entry_of
from shroff.project.parse_cache import LISTS, ReadOnce, TextsVersion, text_version
from shroff.project.reference import load_list
from shroff.runtime import texts as runtime_texts
from shroff.runtime.texts import edit_of, grown, line_edit_of
from shroff.services import project as app
from shroff.streams.log import Record
from tests.support.effort import examples
from tests.support.projects import FILES, write_files

FILE = "lists/blocked.csv"
RULE = "- { id: listed, on: payment, by: card, effect: decline, when: this.card in lists.blocked }\n"


def hashed(value: str) -> str:
    return value if HASHED.fullmatch(value) else f"hashed:{sha256(value.encode()).hexdigest()[:32]}:"


VALUES = st.sampled_from(["a", "ab", "b", "c-1", "é", hashed("a"), hashed("b"), hashed("c-1"), "x,y", 'q"'])
TIMES = st.sampled_from(["", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"])
ENTRIES = st.builds(Entry, VALUES, st.sampled_from(["", "n", "n, m"]), st.just("ann"), TIMES)
LINES = st.sampled_from(
    [
        "a,,,\n",
        "ab,n\n",
        "b\n",
        f"{hashed('a')},,,2026-01-01T00:00:00Z\n",
        f"{hashed('ab')}\n",
        "hashed:none,,,\n",
        "\n",
        ",,,\n",
        '"c\nd",\n',
        "e,,,no time\n",
        "f,,,,,\n",
        "z",
    ]
)
STARTS = st.sampled_from(
    [
        EMPTY,
        EMPTY + "a,,,\nb,n,ann,\nab,,,\n",
        EMPTY + f"{hashed('a')},,,\nb,n,ann,\n{hashed('ab')},,,\n",
        EMPTY + f"{hashed('a')},,,\n{hashed('b')},n,ann,\n{hashed('ab')},,,\n",
        EMPTY + "a,,,\na,,,\n",
        EMPTY + f"a,,,\n{hashed('a')},,,\n",
        "value\nb\n",
        "\ufeffvalue\na\n",
        "",
    ]
)
CHANGES = st.lists(
    st.tuples(st.just("put"), ENTRIES) | st.tuples(st.just("out"), VALUES) | st.tuples(st.integers(0, 60), LINES),
    min_size=1,
    max_size=6,
)


def changed(text: str, what: str | int, by: Entry | str, read: ReadOnce, stands_for: Callable[[str], str]) -> str:
    """The text after a change: by `lists add`, by `lists remove`, or by hand at a place."""
    if isinstance(what, int):
        return text[:what] + str(by) + text[what + what % 3 :]
    problems: list[Problem] = []
    load_list(FILE, text.partition("\n")[0], problems)
    if problems:
        return text  # by hand its header was made one that is refused before
    put, out = ([by], []) if isinstance(by, Entry) else ([], [by])
    known = read.list_known(FILE, text)
    try:
        slow = edited(text, put * 2, out * 2, stands_for)  # two are looked for row by row
    except UsageError:
        return text
    assert edited(text, put, out, stands_for, known=known) == slow
    fast = edited(text, put, out, stands_for, rows=read.plain_rows(FILE, text))
    assert fast == edited(text, put, out, stands_for) == slow
    if fast.is_plain:
        read.keep_plain(FILE, fast.text, fast.entries)
    there = [entry for entry in entries(text) if stands_for(entry.value) == stands_for(out[0])] if out else []
    assert not out or entry_of(text, out[0], stands_for) == next(iter(there), None)
    return slow.text


@settings(max_examples=examples(2_000, usual=150))
@given(STARTS, CHANGES, st.sampled_from([str, hashed]), st.sampled_from([(0, 2), (0, 100), (100, 100)]))
def test_a_list_after_any_changes_is_what_reading_it_from_scratch_gives(text, changes, stands_for, limits):
    with patch.multiple(reference, _LONG=limits[0], _CHANGED_MAX=limits[1]):
        check_changes(text, changes, stands_for)


def check_changes(text: str, changes: list[tuple[str | int, Entry | str]], stands_for: Callable[[str], str]) -> None:
    read, version, before = ReadOnce(), TextsVersion(), list[tuple[Mapping[str, int | None], dict[str, int | None]]]()
    for what, by in [(0, ""), *changes]:
        text = changed(text, what, by, read, stands_for)
        problems, whole = list[Problem](), list[Problem]()
        found, new = read.list_file(FILE, text, problems), load_list(FILE, text, whole)
        at_once = list[Problem]()
        with patch.object(reference, "_AT_ONCE_MIN", 0):
            assert (load_list(FILE, text, at_once), at_once) == (new, whole)

        assert (found, problems) == (new, whole)
        assert (len(found.entries), found.entries.keys()) == (len(new.entries), new.entries.keys())
        before.append((found.entries, dict(found.entries)))
        assert all(entries_then == copied for entries_then, copied in before)  # nothing that was given is changed
        if not problems:
            mapped = read.mapped(found, hashed)
            assert mapped == new.mapped(hashed)
            assert mapped == load_list(FILE, mapped.text, [])
            assert read.mapped(read.list_file(FILE, mapped.text, problems), hashed) == mapped  # as the log has it
        texts = {"lists/a.csv": "value\n", FILE: text, "lists/c.csv": text[:5]}
        with patch.object(parse_cache, "_PIECE", 3):
            assert version.of(texts) == sha256(msgspec.json.encode(sorted(texts.items()))).hexdigest()[:32]


@given(
    st.lists(st.sampled_from(["a", "b\n", "\n", "é"]), max_size=8), st.lists(st.sampled_from(["a", "b\n"]), max_size=8)
)
def test_an_edit_in_whole_lines_gives_the_text_behind_it(before, after):
    before, after = "".join(before), "".join(after)
    with patch.object(runtime_texts, "_PIECE", 3):
        assert edit_of(before, after) == edit_of(before, after) == edit_of(f"{before}", f"{after}")
        longer = grown(before, after)
        assert (longer, edit_of(before, longer)) == (before + after, edit_of(before, before + after))
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


@pytest.mark.parametrize("field", ["text?", "text? hashed"])
@pytest.mark.parametrize("is_new", [True, False], ids=["a process for each", "one process"])
def test_a_row_of_a_long_list_goes_on_from_what_is_known(tmp_path, monkeypatch, field, is_new):
    rows = "".join(f"c-{number},,,\n" for number in range(2_000))
    events = FILES["events.yaml"].replace("text?,", f"{field},")
    folder = write_files(
        tmp_path / "small", {**FILES, "events.yaml": events, "rules/listed.yaml": RULE, FILE: EMPTY + rows}
    )
    payment = {"id": "p1", "at": "2026-03-01T12:00:01Z", "card": "c-1", "amount": "1.00"}
    project = app.open(folder)
    assert project.decide([payment], as_type="payment")[0].outcome == "decline"
    context = project.context
    load_definitions(in_the_log(project), context.log.hasher, read=context.read_once).or_raise()
    read, rows_of, digests = list[int](), reference.csv_rows, list[None]()

    def noted(file: str, text: str, problems: list[Problem]) -> object:
        read.append(len(text))
        return rows_of(file, text, problems)

    def counted(*given: object) -> object:
        digests.append(None)
        return hmac.new(*given)

    monkeypatch.setattr(reference, "csv_rows", noted)
    monkeypatch.setattr(hash_keys, "hmac", SimpleNamespace(new=counted))
    for put, out in ((["c-x"], []), (["c-y"], []), (["c-3"], []), ([], ["c-7"]), ([], ["c-x"])):
        opened = app.open(folder) if is_new else project
        for value in put:
            assert opened.lists.add("blocked", Entry(value, "anew")).in_force
        for value in out:
            assert opened.lists.remove("blocked", value).in_force
        if not is_new:  # what a service knows: its files, and those of the log
            context.reload()
            in_force = load_definitions(in_the_log(project), context.log.hasher, read=context.read_once).or_raise()
            assert in_force.reference == project.definitions.reference
    monkeypatch.undo()

    assert read
    assert max(read) < 300
    assert len(digests) < 50
    assert in_the_log(project) == app.open(folder).definitions.files


def in_the_log(project: app.Project) -> Mapping[str, str]:
    with project.log.reading() as log:
        return control_at(log).files


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
        found = [record for record in self.records if after < record.seq <= (upto or len(self.records))]
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
    kept, path, read = parse_cache.KeptTexts(), tmp_path / "a.yaml", list[str]()
    bytes_of = config.bytes_of
    monkeypatch.setattr(config, "bytes_of", lambda file: read.append(str(file)) or bytes_of(file))

    def texts(*contents: str) -> list[str]:
        found = []
        for content in contents:
            if not path.exists() or path.read_text() != content:
                path.write_text(content)
            found.append(kept.text(str(path), "a.yaml", []))
        return found

    assert texts("a: 1", "a: 1") == ["a: 1", "a: 1"]
    assert len(read) == 2  # it was changed a moment ago
    monkeypatch.setattr(parse_cache, "SETTLED_NS", -(10**12))
    assert texts("a: 1", "a: 1", "a: 12", "a: 12") == ["a: 1", "a: 1", "a: 12", "a: 12"]
    assert len(read) == 4


def test_a_text_that_this_process_wrote_is_not_read_for_a_moment_unless_another_has_written_since(
    tmp_path, monkeypatch
):
    kept, path, read = parse_cache.KeptTexts(), tmp_path / "a.csv", list[str]()
    bytes_of = config.bytes_of
    monkeypatch.setattr(config, "bytes_of", lambda file: read.append(str(file)) or bytes_of(file))
    monkeypatch.setattr(parse_cache, "SETTLED_NS", 10**15)
    text = "value\nc-1\n"
    config.write_text(path, text)
    kept.wrote(str(path), text)

    assert kept.text(str(path), "a.csv", []) is text
    assert (kept.written(str(path)) is text, read) == (True, [])
    config.write_text(path, "value\nc-2\n")
    assert kept.text(str(path), "a.csv", []) == "value\nc-2\n"
    config.write_text(path, text)
    kept.wrote(str(path), text)
    monkeypatch.setattr(parse_cache, "SETTLED_NS", 0)
    read.clear()
    assert (kept.text(str(path), "a.csv", []) is text, read) == (True, [str(path)])  # equal texts are one
    assert (kept.written(str(path)) is text, read) == (True, [str(path)])  # it was read to the byte
    config.write_text(path, "value\r\nc-2\r\n")
    kept.wrote(str(path), "value\r\nc-2\r\n")
    assert kept.text(str(path), "a.csv", []) == "value\nc-2\n"
    assert kept.written(str(path)) is None
