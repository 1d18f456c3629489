"""Any text is read or refused with a place in it; what is printed reads back as the same expression."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shroff.language.aggregates import AGGREGATES
from shroff.language.checker import check
from shroff.language.functions import FUNCTIONS
from shroff.language.parser import tokens
from shroff.language.printer import text_of
from shroff.language.syntax import ExpressionError
from shroff.runtime.values import replace
from tests.laws.expressions import SCOPE, texts, typed
from tests.support.effort import examples

WORDS = """
    and or not in is missing else when where over last delayed including matching since of true false this flag
    payment payment.amount this.amount this.name this.at card card.mean label row row.Col row['a b'] score lists.blocked
    tables.bins[ ].country ( ) [ ] , . .. == != < <= > >= + - * / 7d 0ms 182d12h 1 0.5 1_000 'ö' ''
""".split()
AGGREGATE_SCOPE = replace(SCOPE, entity="card")
PIECES = st.sampled_from([*WORDS, *FUNCTIONS, *AGGREGATES]) | st.text(max_size=3)


def refusal(text: str) -> ExpressionError | None:
    try:
        check(text, SCOPE)
    except ExpressionError as error:
        return error
    return None


def read_or_refuse(text: str) -> None:
    error = refusal(text)

    assert error is None or (error.message and 0 <= error.start < error.end and error.start <= len(text))


@settings(max_examples=examples(300))
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_its_place(text):
    read_or_refuse(text)


@settings(max_examples=examples(400))
@given(st.lists(PIECES, max_size=25), st.sampled_from(["", " "]))
def test_words_of_the_language_in_any_order_are_read_or_refused(pieces, between):
    read_or_refuse(between.join(pieces))


@settings(max_examples=examples(300))
@given(texts(), st.data())
def test_a_text_with_a_slip_is_read_or_refused(text, data):
    at = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(at, min(at + 5, len(text))))

    read_or_refuse(text[:at] + data.draw(PIECES) + text[end:])


@given(texts())
def test_tokens_lie_one_after_the_other_and_cover_all_but_spaces(text):
    found = tokens(text)

    assert [text[token.start : token.end] for token in found] == [token.text for token in found]
    assert [token.start for token in found] == sorted(token.start for token in found)
    assert "".join(token.text for token in found).replace(" ", "") == text.replace(" ", "")


@given(texts())
def test_spaces_and_line_ends_change_nothing(text):
    assume("'" not in text)
    wide = " ".join(token.text for token in tokens(text)).replace(" ", "\n  ")

    assert typed(wide.replace(" .\n  ", " . ")) == typed(text)


@settings(max_examples=examples(400))
@given(texts())
def test_what_is_printed_reads_back_as_the_same_expression(text):
    node = typed(text)
    printed = text_of(node)

    assert check(printed, SCOPE) == node, printed
    assert text_of(check(printed, SCOPE)) == printed


@pytest.mark.parametrize(
    "aggregate",
    [
        "count(payment) over 1h",
        "sum(payment.amount where payment.channel == 'pos' and this.fee > 2 * payment.fee) over 7d including this",
        "quantile(payment.amount, 0.95) over 90d",
        "mean(payment.amount) over last 10 including this",
        "share(payment where payment.ok) over 7d delayed 7d",
        "distinct(payment.name) over 48h matching payment.mail",
        "min(payment.amount * 2) over 182d12h",
        "sum(card.spent of payment) over 30d",
        "last(payment.at)",
    ],
)
def test_an_aggregate_is_printed_as_it_reads_back(aggregate):
    node = check(aggregate, AGGREGATE_SCOPE)

    assert check(text_of(node), AGGREGATE_SCOPE) == node
