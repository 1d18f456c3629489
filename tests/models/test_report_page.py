"""The report of a model: one page that stands alone, with every chart, and what its charts are made of."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from shroff.models.evaluation import folds as evaluation
from shroff.models.evaluation.cost_table import RuleResults, ScoredEvents
from shroff.models.evaluation.estimates import Estimate
from shroff.models.evaluation.folds import evaluate
from shroff.models.evaluation.metrics import RowsOfFold, Terms
from shroff.models.evaluation.thresholds import thresholds
from shroff.models.evaluation.windows import final_window, known_rows
from shroff.models.learners.learner import columns_for
from shroff.models.learners.training import learn_by, loaded, train
from shroff.models.metrics import METRICS_BY_NAME
from shroff.models.model_contributions import ROWS_MAX, SUM_ERROR, Dependence, dependences, drawn_rows
from shroff.models.registry import GateResult
from shroff.models.reports import pages
from shroff.models.reports.html import Extras, report_page
from shroff.models.reports.plots import DEPENDENCES_SHOWN, curves, dependence_plots
from shroff.runtime.values import replace
from shroff.training.leak_test import LeakPart
from tests.support.training_rows import DAY_MS, noisy_set, settings

TERMS = Terms(review_at=0.3, decline_at=0.8, false_decline=15, review=4, reviews_a_day=3)
PAGE_BYTES_MAX = 1_000_000


class Tags(HTMLParser):
    """The tags of a page, the links, and whether all that opens is closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.open, self.labels = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in {"href", "src"}]
        self.labels += [dict(attrs).get("aria-label")] if dict(attrs).get("role") == "img" else []
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(name="whole", scope="module")
def _whole():
    """A model that was trained and judged, with everything that its report shows."""
    given, told = noisy_set(3_000), settings(learner="xgboost", parameters={"trees": "15"})
    found = evaluate(given, told, TERMS, learn_by(told, told.parameters))
    window = final_window(told.split, given.as_of_ms)
    known = known_rows(given, window.train_start_ms, window.train_end_ms, given.as_of_ms, told.label_delay_ms)
    return given, found, train(given, known, told, told.parameters)


def extras_of(given, found, trained):
    rows = drawn_rows(found.tested.rows, 1)
    model = loaded(trained.fitted, trained.calibration, trained.negatives_kept)
    columns = [column[rows] for column in columns_for(model.inputs, given.inputs)]
    amounts = given.amounts_minor[found.tested.rows] / 100
    weighed = RowsOfFold(
        found.tested.frauds, amounts, given.times_ms[found.tested.rows] // DAY_MS, np.full(len(amounts), -1)
    )
    nothing = np.zeros(len(amounts), np.bool_)
    fixed = RuleResults(nothing, nothing, nothing)
    cutoffs = thresholds(ScoredEvents(found.tested.scores, weighed, fixed, found.tested.folds), TERMS, seed=1)
    leak = [LeakPart("cut_at_row", 1_000, None), LeakPart("later_labels", 7, "row 3: strong is 1, was <2>")]
    return Extras("<bank>", "EUR", [("Rows", "3,000")], dependences(model, columns), leak, cutoffs)


@pytest.fixture(name="page", scope="module")
def _page(whole):
    given, found, trained = whole
    gates = [GateResult("auc_roc", 0.9, "at least 0.8", passed=True), GateResult("brier", None, "at most 1", False)]
    importance = trained.fitted.importance
    return report_page("Model <m>", found, gates, importance, ["<b>"], extras_of(given, found, trained))


def test_the_page_stands_alone(page):
    tags = Tags(page)

    assert (tags.links, "script" in tags.tags, "link" in tags.tags, tags.open) == ([], False, False, [])
    assert "http" not in page
    assert "Model &lt;m&gt;" in page
    assert "<b>" not in page.replace("<p><b>", "")
    assert "was &lt;2&gt;" in page
    assert len(page.encode()) < PAGE_BYTES_MAX


def test_the_page_has_everything(page, whole):
    _, found, trained = whole
    heads = ["In one sentence", "Remarks", "Gates", "Metrics beside baselines", "Curves", "What the score looks at"]
    heads += ["How values move the score", "Slices", "Folds", "Leak test", "Where it comes from"]
    places = [page.index(f"<h2>{head}</h2>") for head in heads]

    assert places == sorted(places)
    charts_shown = ["Precision by recall", "Calibration", "Where scores lie", "Cost of a day"]
    charts_shown += ["Mean size of the contribution", "Share of the gain in training"]
    for name in [*charts_shown, *(path.name for path in trained.fitted.inputs)]:
        assert f"<figcaption>{name}</figcaption>" in page
    assert all(f"({name}):" in page for name in found.metrics), "what they mean names them as JSON does"
    assert "It failed Brier score." in page
    assert all(label for label in Tags(page).labels)


def test_figures_are_named_in_words_and_have_units(whole):
    given, found, trained = whole
    gates = [
        GateResult("leak_test", 1.0, "required", passed=True),
        GateResult("latency_p99", 0.0066312, "at most 1 ms", passed=True),
        GateResult("auc_roc", 0.93712, "at least 0.8", passed=True),
    ]
    page = report_page("m", found, gates, {}, (), extras_of(given, found, trained))
    shown = page[page.index("<h2>Gates") : page.index("<summary>What they mean")]

    assert [name for name in METRICS_BY_NAME if "_" in name and name in shown] == []
    for words in ("nothing leaks", "0.00663 ms", "AUC ROC", ">0.937<"):
        assert words in shown
    assert "1.0000" not in shown[: shown.index("<h2>Metrics")]


@pytest.mark.slow
def test_metrics_without_a_value_are_one_line_with_the_reason(whole):
    _, found, _ = whole
    lost = Estimate(None, None, None, None, (None, None), why="policy.yaml has no review_at")
    names = ("precision_at_review", "recall_at_review")
    page = report_page("m", replace(found, metrics=found.metrics | dict.fromkeys(names, lost)), [], {})

    assert "Not there: precision at review, recall at review (policy.yaml has no review_at)." in page
    assert ">Recall at review" not in page[page.index("<h2>Metrics") : page.index("<summary>")]
    slices = [replace(item, metrics=item.metrics | {"money_lost": None}) for item in found.slices]
    assert ">Money lost</th>" not in report_page("m", replace(found, slices=tuple(slices)), [], {})
    assert ">Money lost</th>" in report_page("m", found, [], {})


def test_precision_by_recall_begins_with_the_first_fraud_that_is_caught(whole):
    _, found, _ = whole
    tested = evaluation.Tested(
        np.arange(4), np.zeros(4, int), np.array([0.9, 0.8, 0.5, 0.1]), np.array([0, 1, 0, 1], bool)
    )
    drawn = curves(replace(found, tested=tested))
    first = re.search(r'<path class="mark" d="M([0-9.]+) ([0-9.]+)', drawn)

    assert first is not None
    assert [float(group) for group in first.groups()] == [117.0, 79.0], "half of the frauds, at a precision of one half"


@pytest.mark.slow
def test_a_report_is_the_same_for_the_same_model(whole):
    given, found, trained = whole
    pages_made = [report_page("m", found, [], {}, (), extras_of(given, found, trained)) for _ in range(2)]

    assert pages_made[0] == pages_made[1]


@pytest.mark.slow
def test_what_a_model_does_not_have_is_left_out(whole):
    _, found, trained = whole
    page = report_page("m", found, [], trained.fitted.importance)

    for head in ("Gates", "How values move the score", "Leak test", "Where it comes from"):
        assert f"<h2>{head}</h2>" not in page
    assert "Cost of a day" not in page


def test_contributions_of_the_drawn_rows_sum_to_their_margins(whole):
    given, _, trained = whole
    model = loaded(trained.fitted, trained.calibration, trained.negatives_kept)
    columns = [column[:200] for column in columns_for(model.inputs, given.inputs)]
    each = dependences(model, columns)
    base = model.contributions(columns)[:, -1]
    sums = base + sum(item.contributions for item in each)
    sizes = np.abs(base) + sum(np.abs(item.contributions) for item in each)

    assert (np.abs(sums - model.margins(columns)) <= SUM_ERROR * sizes).all()
    assert [item.size for item in each] == sorted((item.size for item in each), reverse=True)
    assert each[0].name == "strong"


def test_rows_are_drawn_by_lot_and_no_more_than_fit():
    many = np.arange(10_000) * 3
    drawn = drawn_rows(many, 1)

    assert len(set(drawn.tolist())) == ROWS_MAX
    assert set(drawn.tolist()) <= set(many.tolist())
    assert drawn.tolist() == sorted(drawn.tolist())
    assert drawn.tolist() == drawn_rows(many, 1).tolist() != drawn_rows(many, 2).tolist()
    assert drawn_rows(many[:5], 1).tolist() == many[:5].tolist()


def dependence(name, values, contributions, categories=()):
    return Dependence(name, categories, np.array(values, float), np.array(contributions, float), 1.0)


def test_dependence_is_shown_for_every_shape_of_input():
    cases = [
        dependence("wide", [0, 1, 2, 3, 100_000], [-1, 0, 0, 1, 2]),
        dependence("missing", [np.nan, 1, 2], [0.5, 0, 0]),
        dependence("all missing", [np.nan, np.nan], [0, 0]),
        dependence("constant", [7, 7], [0, 0]),
        dependence("negative", [-5, -1], [0.1, -0.2]),
        dependence("channel", [0, 1, 1, np.nan], [0.5, -0.5, -0.7, 0.1], ("a<b", "web")),
    ]
    text = dependence_plots(cases)

    assert text.count('role="img"') == 5
    assert "all missing" not in text
    assert "Missing in 33.3 %: +0.50 on average." in text
    assert "0 stands at the left end." in text
    assert "web (2 rows)" in text
    assert "-0.60" in text
    assert "a&lt;b" in text
    assert "nan" not in text
    assert dependence_plots(cases[:1] * 20).count("<figure>") == DEPENDENCES_SHOWN


# ---- parts of pages


def test_cells_are_escaped_and_keep_their_lines():
    parts = pages.environment().get_template("parts.html").module

    assert parts.num("1\n<2>") == '<td class="num">1<br>&lt;2&gt;</td>'
    assert parts.wide("amount_<far>") == '<td class="wide">amount_<wbr>&lt;far&gt;</td>'


@pytest.mark.parametrize(
    "axis, ticks",
    [
        (pages.ChartAxis("", 0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (pages.ChartAxis("", -3, 47), [0, 10, 20, 30, 40]),
        (pages.ChartAxis("", 0.001, 100, is_log=True), [0.001, 0.01, 0.1, 1, 10, 100]),
        (pages.ChartAxis("", 0.00001, 1, is_log=True), [0.0001, 0.01, 1]),
        (pages.ChartAxis("", 3, 30, is_log=True), [5, 10, 20]),
        (pages.ChartAxis("", 5, 5), [5]),
    ],
)
def test_ticks_are_round_and_within(axis, ticks):
    assert axis.ticks() == pytest.approx(ticks)


def test_what_lies_beyond_an_axis_stands_at_its_end():
    axis = pages.ChartAxis("", 1, 100, is_log=True)

    assert axis.share([0, 1, 10, 100, 1e6]).tolist() == pytest.approx([0, 0, 0.5, 1, 1])
