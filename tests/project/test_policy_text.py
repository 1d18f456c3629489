"""Thresholds written into policy.yaml: whatever else stands there stays byte for byte."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.errors import DefinitionError, Problem, UsageError
from shroff.language.yaml.text import read
from shroff.project.policy import Policy, load_policy
from shroff.project.policy_text import costs_of, with_costs, with_cutoffs
from shroff.runtime.values import replace
from tests.support.declare import declare

TYPES = ("payment", "withdrawal", "login")
EVENTS = declare(
    "".join(
        f"{name}:\n  id: id\n  time: at\n  decide: true\n  fields: {{ id: text, at: time, amount: money }}\n"
        for name in TYPES
    )
)
NEW = [(0.25, 0.9), (0.25, None), (None, 0.125), (0.0, 1.0), (None, None)]
SCORE_FLOW = ["{ review_at: 0.6, decline_at: 0.92 }", "{review_at: '0.5'}", '{ "decline_at": 0.99 }', "{}"]
SCORE_BLOCK = [["review_at: 0.6  # people", "# between", "decline_at: 0.92"], ["decline_at: '0.9'"]]
OTHERS = {
    "without_model": ["without_model: rules", "'without_model': \"review\"   # {, score: 1}"],
    "costs": [
        "costs: {missed_fraud: TYPE.amount,   review: 4.00}",
        "costs:                 # score: { review_at: 0.1 }",
        "\"costs\": { false_decline: '15', }",
    ],
}
COSTS_BELOW = ["missed_fraud: >-", "  TYPE.amount", "reviews_a_day:   100"]


@dataclass(frozen=True)
class Line:
    """A line of a policy file, and whether `score` or the place where it will be stands on it."""

    text: str
    may_change: bool = False


@st.composite
def policies(draw: st.DrawFn) -> list[Line]:
    """policy.yaml as different people write it, for some event types."""
    lines = [Line(text) for text in draw(st.sampled_from([[], ["# ours", ""], ["---"]]))]
    for event in draw(st.permutations(TYPES))[: draw(st.integers(1, len(TYPES)))]:
        entries = draw(entries_of(event))
        name = draw(st.sampled_from([event, f'"{event}"', f"{event}  "]))
        indent = " " * draw(st.integers(1, 5))
        if draw(st.booleans()) or any(len(entry) > 1 for entry in entries):
            lines.append(Line(f"{name}:{draw(st.sampled_from(['', '   # the policy']))}", may_change=not entries))
            lines += [replace(line, text=f"{indent}{line.text}") for entry in entries for line in entry]
            if not entries:
                lines[-1] = Line(f"{name}: {{}}", may_change=True)
        else:
            lines += flow_lines(name, entries, indent, is_long=draw(st.booleans()))
        lines += draw(st.lists(st.sampled_from([Line(""), Line("# score: { review_at: 1 }")]), max_size=2))
    return lines


@st.composite
def entries_of(draw: st.DrawFn, event: str) -> list[list[Line]]:
    """The entries of a policy, each with its lines; one of several lines stands in no braces."""
    entries: list[list[Line]] = []
    for kind in draw(st.permutations(["score", *OTHERS]))[: draw(st.integers(0, 3))]:
        if kind != "score":
            first = draw(st.sampled_from(OTHERS[kind])).replace("TYPE", event)
            below = [f"    {text}".replace("TYPE", event) for text in COSTS_BELOW] if "  # score" in first else []
            entries.append([Line(text) for text in (first, *below)])
        elif draw(st.booleans()):
            entries.append([Line(f"score:  {draw(st.sampled_from(SCORE_FLOW))}", may_change=True)])
        else:
            block = [Line(f"   {text}", may_change=True) for text in draw(st.sampled_from(SCORE_BLOCK))]
            entries.append([Line("score:   # our thresholds", may_change=True), *block])
    return entries


def flow_lines(name: str, entries: list[list[Line]], indent: str, *, is_long: bool) -> list[Line]:
    """A policy in braces, on one line or on a line for each entry."""
    bare = [Line(re.sub(r"\s+#.*", "", entry[0].text), entry[0].may_change) for entry in entries]
    has_score = any(line.may_change for line in bare)
    if not is_long or not bare:
        return [Line(f"{name}: {{{', '.join(line.text for line in bare)}}}", may_change=True)]
    only = has_score and len(bare) == 1
    first = Line(f"{name}: {{  # in braces", may_change=only or not has_score)
    inner = [replace(line, text=f"{indent}{line.text}, # {at}") for at, line in enumerate(bare)]
    return [first, *inner, Line(f"{indent}}}", may_change=only)]


def loaded(text: str) -> dict[str, Policy]:
    problems: list[Problem] = []
    found = load_policy(read(text, "policy.yaml", problems), EVENTS, EVENTS.names(frozenset(), 2), {}, problems)

    assert problems == []
    return found


def without_cuts(policy: Policy) -> Policy:
    return replace(policy, review_at=None, decline_at=None)


@pytest.mark.slow
@given(
    policies(),
    st.sampled_from(TYPES),
    st.sampled_from(NEW),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["", "\ufeff"]),
    st.booleans(),
)
def test_only_the_score_of_one_type_changes(lines, event, cuts, line_end, mark, ends):
    text = mark + line_end.join(line.text for line in lines) + (line_end if ends else "")
    changed = with_cutoffs(text, event, *cuts)

    before, after = loaded(text), loaded(changed)
    assert (after.get(event, Policy()).review_at, after.get(event, Policy()).decline_at) == cuts
    assert without_cuts(after.get(event, Policy())) == without_cuts(before.get(event, Policy()))
    assert {**after, event: None} == {**before, event: None}
    assert not [text for text, may_change in touched(text, changed, lines, line_end) if not may_change]
    assert with_cutoffs(changed, event, *cuts) == changed


def touched(text: str, changed: str, lines: list[Line], line_end: str) -> list[tuple[str, bool]]:
    """The lines of a text that lie between what both texts begin with and what both end with."""
    before, after = text.split(line_end), changed.split(line_end)
    first = next(
        (at for at, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(map(len, (before, after)))
    )
    rest = min(len(before), len(after)) - first
    last = next((at for at in range(rest) if before[-1 - at] != after[-1 - at]), rest)
    marks = [line.may_change for line in lines] + [True]
    return list(zip(before, marks, strict=False))[first : len(before) - last]


@pytest.mark.parametrize("name", ["payments", "paysim", "orders", "cards"])
def test_a_templates_policy_takes_cut_offs_and_gives_them_back(root, name):
    text = (root / f"src/shroff/templates/{name}/policy.yaml").read_text(encoding="utf-8")
    (event, *_) = re.findall(r"^([a-z]+):", text, re.MULTILINE)
    changed = with_cutoffs(text, event, 0.25, 0.9)

    assert "  score: { review_at: 0.25, decline_at: 0.9 }" in changed.splitlines()
    assert [line for line in changed.splitlines() if not line.startswith("  score:")] == text.splitlines()
    assert with_cutoffs(changed, event, None, None) == text


@pytest.mark.parametrize("text", ["", "# nothing yet", "# nothing yet\r\n"])
def test_a_file_without_policies_gets_one(text):
    assert with_cutoffs(text, "payment", 0.5, None).splitlines()[-2:] == ["payment:", "  score: { review_at: 0.5 }"]
    assert with_cutoffs(text, "payment", None, None) == text


def test_a_policy_is_put_before_the_end_of_a_document():
    text = "---\nlogin:\n  without_model: rules\n...\n"

    assert with_cutoffs(text, "payment", 0.5, None) == (
        "---\npayment:\n  score: { review_at: 0.5 }\nlogin:\n  without_model: rules\n...\n"
    )


def test_what_is_written_too_oddly_is_left_alone_and_told():
    text = "? payment\n: score: { review_at: 0.5 }\n  without_model: rules\n"

    assert with_cutoffs(text, "payment", 0.25, None) == text.replace("0.5", "0.25")
    with pytest.raises(UsageError, match="Remove score by hand"):
        with_cutoffs(text, "payment", None, None)


def test_a_file_that_is_no_yaml_is_told_with_its_place():
    with pytest.raises(DefinitionError, match=r"policy.yaml:2:"):
        with_cutoffs("payment:\n  score: {review_at: 0.5\n", "payment", 0.25, None)
    with pytest.raises(UsageError, match="payment is not a mapping"):
        with_cutoffs("payment: rules\n", "payment", 0.25, None)


def test_of_a_score_with_the_same_cut_offs_only_the_numbers_change():
    text = "payment:\n  score:\n    decline_at:   '0.92'   # lawyers\n    # people\n    review_at: 0.60\n"

    assert with_cutoffs(text, "payment", 0.25, 0.9) == text.replace("'0.92'", "0.9").replace("0.60", "0.25")


@pytest.mark.parametrize(
    "text",
    [
        "payment:\n  costs:\n    missed_fraud: payment.amount   # all\n    review: 4\n  without_model: rules\n",
        "payment: {costs: {missed_fraud: payment.amount, review: '4'}, without_model: rules} # one line\n",
    ],
)
def test_costs_change_in_place_and_new_ones_join_them(text):
    changed = with_costs(text, "payment", {"review": "10", "reviews_a_day": "50"})

    assert costs_of(changed, "payment") == {"missed_fraud": "payment.amount", "review": "10", "reviews_a_day": "50"}
    assert with_costs(changed, "payment", {"review": "4"}).partition("#")[2] == text.partition("#")[2]
    assert with_costs(text, "payment", {}) == text
    with pytest.raises(UsageError, match="no costs of login"):
        with_costs(text, "login", {"review": "1"})
