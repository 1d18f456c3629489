"""The law of the record: whatever is changed, taken out, put in or moved in it is found."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from shroff.people.access import local
from shroff.people.audit import BREAKS_MAX, FIRST, Act, AuditEntry, AuditHead, hash_of, row_of, sealing, verify
from shroff.runtime.values import replace

SEAL = sealing(b"the project's key")
TEXTS = st.text(max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS.filter(lambda text: text.isprintable()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=5,
)
ACTS = st.builds(
    lambda name, action, subject, before, after: Act(local(name, "command"), action, subject, before, after),
    TEXTS,
    st.sampled_from(["user.add", "user.role", "label.add"]),
    TEXTS,
    VALUES,
    VALUES,
)


@st.composite
def records(draw: st.DrawFn, least: int = 1) -> list[AuditEntry]:
    rows: list[AuditEntry] = []
    for number, act in enumerate(draw(st.lists(ACTS, min_size=least, max_size=8)), 1):
        rows.append(row_of(act, number, draw(st.integers(0, 2**45)), rows[-1].hash if rows else FIRST))
    return rows


def head_of(rows: list[AuditEntry]) -> AuditHead:
    number, hash = (rows[-1].number, rows[-1].hash) if rows else (0, FIRST)
    return AuditHead(number, hash, SEAL(number, hash))


def rehashed(row: AuditEntry, previous: bytes) -> AuditEntry:
    """The row as one would write it who knows how hashes are made."""
    values = [getattr(row, name) for name in AuditEntry.__struct_fields__][:-2]
    return replace(row, previous=previous, hash=hash_of(*values, previous))


@given(records(least=0))
def test_a_record_that_nobody_touched_is_whole(rows: list[AuditEntry]) -> None:
    assert not verify(rows, head_of(rows), SEAL).breaks
    assert verify(rows, head_of(rows), SEAL).rows == len(rows)


@given(records(), st.data())
def test_any_change_of_any_column_is_found_at_its_row(rows: list[AuditEntry], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from(AuditEntry.__struct_fields__))
    was = getattr(rows[at], name)
    other = {int: st.integers(0, 2**45), str: TEXTS, bytes: st.binary(min_size=32, max_size=32)}[type(was)]
    now = data.draw(other)
    assume(now != was)
    changed = [*rows[:at], replace(rows[at], **{name: now}), *rows[at + 1 :]]

    assert verify(changed, head_of(rows), SEAL).breaks[0][0] == at + 1


@given(records(least=2), st.data())
def test_each_changed_row_is_a_break_of_its_own(rows: list[AuditEntry], data: st.DataObject) -> None:
    at = data.draw(st.sets(st.integers(0, len(rows) - 1), min_size=1))
    changed = [replace(row, subject=row.subject + "x") if place in at else row for place, row in enumerate(rows)]
    found = verify(changed[:-1], head_of(rows), SEAL)  # and the last one is cut off

    assert [row for row, _ in found.breaks] == [place + 1 for place in sorted(at - {len(rows) - 1})] + [len(rows)]
    assert found.rows == min([*at, len(rows) - 1])
    assert len(verify([replace(row, name="x") for row in changed * 60], None, SEAL).breaks) == BREAKS_MAX


@given(records(), st.data())
def test_a_row_that_is_taken_out_is_found(rows: list[AuditEntry], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(rows) - 1))
    found = verify([*rows[:at], *rows[at + 1 :]], head_of(rows), SEAL)

    assert found.breaks[0][0] == at + 1


@given(records(), st.integers(1, 8))
def test_rows_that_are_cut_off_at_the_end_are_found(rows: list[AuditEntry], count: int) -> None:
    left = rows[: max(0, len(rows) - count)]

    ((at, why),) = verify(left, head_of(rows), SEAL).breaks
    assert ("cut off" in why, at) == (True, len(left) + 1)


@given(records(least=2), st.data())
def test_rows_that_change_places_are_found(rows: list[AuditEntry], data: st.DataObject) -> None:
    earlier, later = sorted(data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=2, max_size=2, unique=True)))
    moved = list(rows)
    moved[earlier], moved[later] = moved[later], moved[earlier]

    assert verify(moved, head_of(rows), SEAL).breaks[0][0] == earlier + 1


@given(records(), ACTS, st.data())
def test_a_row_that_is_put_in_is_found(rows: list[AuditEntry], act: Act, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(rows)))
    made = row_of(act, at + 1, 0, rows[at - 1].hash if at else FIRST)

    assert verify([*rows[:at], made, *rows[at:]], head_of(rows), SEAL).breaks


@given(records(), st.data())
def test_a_chain_that_is_written_anew_lacks_the_seal(rows: list[AuditEntry], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(rows) - 1))
    made = [*rows[:at], replace(rows[at], subject=rows[at].subject + "x"), *rows[at + 1 :]]
    for place in range(at, len(made)):
        made[place] = rehashed(made[place], made[place - 1].hash if place else FIRST)
    forged = AuditHead(made[-1].number, made[-1].hash, sealing(b"another key")(made[-1].number, made[-1].hash))

    assert "not sealed" in verify(made, forged, SEAL).breaks[0][1]
    assert verify(made, replace(forged, seal=head_of(rows).seal), SEAL).breaks
    assert verify(made, head_of(rows), SEAL).breaks
    assert verify(made, None, SEAL).breaks


@given(records(least=2), st.data())
def test_an_older_copy_that_is_whole_is_found_by_what_was_noted(rows: list[AuditEntry], data: st.DataObject) -> None:
    upto = data.draw(st.integers(0, len(rows) - 1))
    older = rows[:upto]
    noted = rows[-1].number, rows[-1].hash

    assert not verify(older, head_of(older), SEAL).breaks
    assert "gone" in verify(older, head_of(older), SEAL, noted).breaks[0][1]
    assert not verify(rows, head_of(rows), SEAL, noted).breaks
    assert not verify(rows, head_of(rows), SEAL, (rows[0].number, rows[0].hash)).breaks
    assert "remade" in verify(rows, head_of(rows), SEAL, (rows[0].number, bytes(32))).breaks[0][1]


@given(ACTS, ACTS)
def test_different_acts_have_different_hashes(act: Act, other: Act) -> None:
    first, second = row_of(act, 1, 0, FIRST), row_of(other, 1, 0, FIRST)

    assert (first.hash == second.hash) == (first == second)
