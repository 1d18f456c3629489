"""Two models on the same events: how much better one is so far, and the smallest difference that could be detected.

The interval is that of the paired difference: each bootstrap draw of keys is used for both models. The smallest
detectable difference is (1.960 + 0.842) times the standard deviation over the draws: a true difference of that size
leaves the 95 % interval without zero in 80 of 100 cases (Bloom, "Minimum detectable effects", Evaluation Review 19(5),
1995). It shrinks as the square root of the frauds grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from shroff.arrays import Floats, Ints, count_true
from shroff.errors import UsageError
from shroff.json_types import JsonObject
from shroff.language.values import DAY_MS, show_duration
from shroff.models.definitions import ModelSettings
from shroff.models.evaluation.estimates import Estimates, difference, estimate
from shroff.models.evaluation.folds import rows_read
from shroff.models.evaluation.intervals import key_blocks
from shroff.models.evaluation.metrics import RowsOfFold, Terms, judge
from shroff.models.evaluation.windows import known_rows
from shroff.models.metrics import metric_words
from shroff.models.registry import Stored
from shroff.project.definitions import Definitions
from shroff.project.scoring import Scorer, Scoring
from shroff.runtime.progress import Progress
from shroff.runtime.texts import Printed, many, one_line, table
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import Log
from shroff.training.sets.rows import build_set
from shroff.training.sets.sources import log_source
from shroff.training.shadow_scores import scores_of, tried_since
from shroff.training.tested_rows import counts_of, stored_rows
from shroff.training.train import plain_settings, terms_of

COMPARED = ("average_precision", "auc_roc", "money_saved")
TO_SEE = 1.959964 + 0.841621  # the 97.5 % and the 80 % points of the normal distribution
TRIED = "scored"  # compared on events that both have scored since both are in use,
TESTED_ON = "tested"  # or on events that are test rows of both


class Paired(FrozenStruct):
    """A metric of both models on the same rows.

    Args:
        champion, challenger: Its values; None if it has none.
        mean, low, high: Challenger's value less the champion's, with the 95 % interval.
        seen_from: Smallest true difference that these rows detect in four cases of five.
        frauds_wanted: Known frauds needed to detect a difference as large as `mean`.
    """

    name: str
    champion: float | None
    challenger: float | None
    mean: float | None
    low: float | None
    high: float | None
    seen_from: float | None
    frauds_wanted: int | None
    why: str = ""

    @property
    def verdict(self) -> str:
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return "open"
        return "better" if self.low > 0 else "worse"


@dataclass(frozen=True, slots=True, repr=False)
class Comparison(Printed):
    """Two models on the same events.

    Args:
        on: TRIED or TESTED_ON.
        since_seq: Both scored the events after this sequence number; 0 for test rows.
        events: Number that both scored.
        rows, frauds: Number with a known verdict, and of frauds among them.
        immature: Events younger than the label delay, left out even if labeled: of young events, frauds are known
            sooner.
        needs: What is missing for a comparison; empty if there is one.
        money_places: Decimal places of money in the project.
    """

    event: str
    champion: str
    challenger: str
    on: str
    since_seq: int
    events: int
    rows: int
    frauds: int
    immature: int
    unclear: int
    found: tuple[Paired, ...]
    needs: str = ""
    drawn: str = ""
    money_places: int = 2

    def __repr__(self) -> str:
        return _text(self)


def compare_tried(
    log: Log,
    definitions: Definitions,
    champion: Scorer,
    challenger: Scorer,
    event: str,
    *,
    as_of_ms: int,
    reading: Progress | None = None,
) -> Comparison:
    """Compare two models that are active or in shadow, on the events that both scored.

    Leave out events from before the end of either model's training data.

    Cost: two passes over the log, one for labels and one for scores.
    """
    since = [tried_since(log, event, scorer.id) or 0 for scorer in (champion, challenger)]
    after = max(since)
    learnt_ms = max(scorer.learnt_until_ms or 0 for scorer in (champion, challenger))
    settings = plain_settings(definitions, event, ())
    training_set = build_set(definitions, settings, log_source(log, definitions, event), as_of_ms)
    is_both = (training_set.seqs > after) & (training_set.times_ms >= learnt_ms)
    mature_ms = as_of_ms - settings.label_delay_ms
    known_events = known_rows(training_set, 0, mature_ms + 1, as_of_ms, settings.label_delay_ms)
    rows, verdicts = known_events.rows[is_both[known_events.rows]], known_events.verdicts[is_both[known_events.rows]]
    young = count_true(is_both & (training_set.times_ms > mature_ms))
    both = count_true(is_both)
    scores = _scores(log, definitions, event, (champion, challenger), after, training_set.seqs[rows], reading)
    read = rows_read(training_set, rows, verdicts, training_set.times_ms // DAY_MS, definitions.settings.money_places)
    lots = training_set.recorded.stands_for
    not_seen = 0 if lots is None else count_true(is_both & (lots == 0) & (training_set.times_ms <= mature_ms))
    unclear = both - young - len(rows) - not_seen
    head = event, champion.id, challenger.id, TRIED, after, both
    return _compare_rows(head, read, scores, definitions, settings, young, unclear)


def compare_tested(definitions: Definitions, champion: Stored, challenger: Stored) -> Comparison:
    """Compare two models of the registry on events of both models' tests, with the verdicts of the newer tests.

    The scores are those of the folds' models.

    Raises: UsageError if they score two event types or have no such events.
    """
    if champion.event != challenger.event:
        raise UsageError(f"{champion.id} scores {champion.event}, and {challenger.id} {challenger.event}.")
    tables = [_tested(scorer) for scorer in (champion, challenger)]
    newer = tables[0 if tables[0]["time"].max() > tables[1]["time"].max() else 1]
    # Sequence numbers of a model trained on files belong to a log that no longer exists, so rows are matched by id.
    ids = np.intersect1d(tables[0]["id"], tables[1]["id"])
    if not len(ids):
        message = f"{champion.id} and {challenger.id} were tested on no common event"
        raise UsageError(
            f"{message}. Put the newer one in shadow ('shroff models shadow {challenger.id}'), and compare then."
        )
    scores = [rows["score"][np.searchsorted(rows["id"], ids)] for rows in tables]
    rows_of_ids = np.searchsorted(newer["id"], ids)
    places = definitions.settings.money_places
    read = RowsOfFold(
        newer["fraud"][rows_of_ids],
        newer["amount_minor"][rows_of_ids] / 10.0**places,
        newer["time"][rows_of_ids] // DAY_MS,
        newer["key"][rows_of_ids],
        newer["counts"][rows_of_ids] if "counts" in newer else None,
    )
    event = champion.event
    settings = plain_settings(definitions, event, ())
    head = event, champion.id, challenger.id, TESTED_ON, 0, len(ids)
    return _compare_rows(head, read, scores, definitions, settings)


def tried_pair(scoring: Scoring, ids: Sequence[str]) -> tuple[Scorer, Scorer] | None:
    """Return champion and challenger if both are active or in shadow, else None.

    Without ids they are the champion and the one model beside it; one id names the model beside the champion.

    Raises: UsageError if it is not clear which models are meant.
    """
    by_id = {scorer.id: scorer for scorer in scoring.all}
    if len(ids) == 2:
        return (by_id[ids[0]], by_id[ids[1]]) if set(ids) <= by_id.keys() else None
    champion = scoring.champion
    if champion is None:
        raise UsageError(f"no model of {scoring.event} is active, so name two: shroff models compare ONE OTHER.")
    other_scorers = [scorer for scorer in scoring.all if scorer.id != champion.id and scorer.id in (ids or by_id)]
    if len(other_scorers) == 1:
        return champion, other_scorers[0]
    if not other_scorers and ids:
        return None
    names = ", ".join(other.id for other in other_scorers)
    if not other_scorers:
        remedy = "put one in shadow ('shroff models shadow ID'), or name two"
        raise UsageError(f"no model is tried beside {champion.id}: {remedy}.")
    raise UsageError(f"several are tried beside {champion.id}: name one of {names}.")


def _scores(
    log: Log,
    definitions: Definitions,
    event: str,
    models: tuple[Scorer, Scorer],
    after: int,
    seqs: Ints,
    reading: Progress | None,
) -> tuple[Floats, Floats]:
    columns = tuple(np.full(len(seqs), np.nan) for _ in models)
    for part in scores_of(log, definitions, event, models, after=after, progress=reading):
        rows = np.flatnonzero((seqs >= part.seqs[0]) & (seqs <= part.seqs[-1]))
        picked = np.searchsorted(part.seqs, seqs[rows])
        for column, model in zip(columns, models, strict=True):
            column[rows] = part.by_model[model.id][picked]
    return columns[0], columns[1]


def _tested(stored: Stored) -> JsonObject:
    """Return the test rows of a model, by id; of the last fold if an event is in several."""
    table = stored_rows(stored)
    if table is None:
        raise UsageError(f"{stored.id} was not trained here and has no test rows to compare on; put it in shadow.")
    ids, last = np.unique(table["id"].to_numpy()[::-1], return_index=True)
    rows = len(table) - 1 - last
    columns = {name: table[name].to_numpy()[rows] for name in ("score", "fraud", "amount_minor", "key")}
    counts = counts_of(table)
    columns |= {} if counts is None else {"counts": counts[rows]}
    return {"id": ids, "time": table["time"].cast("int64").to_numpy()[rows], **columns}


def _compare_rows(
    head: tuple[str, str, str, str, int, int],
    rows: RowsOfFold,
    scores: Sequence[Floats],
    definitions: Definitions,
    settings: ModelSettings,
    immature: int = 0,
    unclear: int = 0,
) -> Comparison:
    pairs, resampling = _paired(rows, scores, terms_of(definitions, settings.event), settings)
    counts = len(rows), count_true(rows.frauds), immature
    needs = _missing(head[-1], *counts, settings)
    return Comparison(*head, *counts, unclear, pairs, needs, resampling, definitions.settings.money_places)


def _paired(
    rows: RowsOfFold, scores: Sequence[Floats], terms: Terms, settings: ModelSettings
) -> tuple[tuple[Paired, ...], str]:
    if not len(rows):
        return (), ""
    blocks = key_blocks([rows.keys], settings.capacity.entity if settings.capacity else "")
    champion, challenger = (
        estimate([judge(rows, side, terms.outcomes(side))], terms, None, blocks, settings.seed) for side in scores
    )
    frauds = count_true(rows.frauds)
    pairs = tuple(_one(name, champion, challenger, frauds) for name in COMPARED)
    return pairs, f"{blocks.count:,} {blocks.kind}s: {blocks.why}"


def _one(name: str, champion_estimates: Estimates, challenger_estimates: Estimates, frauds: int) -> Paired:
    paired = difference(challenger_estimates, champion_estimates, name)
    differences = challenger_estimates.drawn[name] - champion_estimates.drawn[name]
    differences = differences[np.isfinite(differences)]
    seen_from = TO_SEE * float(np.std(differences, ddof=1)) if paired.low is not None and len(differences) > 1 else None
    frauds_wanted = None
    if seen_from and paired.mean:
        frauds_wanted = ceil(frauds * (seen_from / abs(paired.mean)) ** 2)
    challenger = challenger_estimates.by_name[name]
    champion = champion_estimates.by_name[name]
    reason = "" if paired.mean is not None else challenger.why or champion.why
    return Paired(
        name, champion.mean, challenger.mean, paired.mean, paired.low, paired.high, seen_from, frauds_wanted, reason
    )


def _missing(events: int, rows: int, frauds: int, young: int, settings: ModelSettings) -> str:
    if frauds and rows > frauds:
        return ""
    delay = show_duration(settings.label_delay_ms)
    if not rows:
        return (
            f"nothing to compare yet: of {many(events, 'event')} that both scored, {young:,} "
            f"{'is' if young == 1 else 'are'} younger than the label delay of {delay}. One fraud and one genuine event "
            "at least have to be known"
        )
    missing = "fraud" if not frauds else "genuine event"
    old = many(rows, "event that is", "events that are")
    return f"nothing to compare yet: of {old} old enough, none is known as a {missing}"


def _text(comparison: Comparison) -> str:
    where = "both scored" if comparison.on == "scored" else "folds of both were tested on"
    behind = f" after sequence number {comparison.since_seq:,}" if comparison.since_seq else ""
    verdict_text = f"{comparison.rows:,} of them with a verdict, {many(comparison.frauds, 'fraud')}"
    lines = [
        f"{comparison.challenger} against {comparison.champion} on {comparison.event}:",
        f"  {many(comparison.events, 'event')} that {where}{behind}, {verdict_text};",
        f"  {comparison.immature:,} are too young, {comparison.unclear:,} unclear.",
    ]
    if comparison.needs:
        return "\n".join([*lines, "", f"  {one_line(comparison.needs)}."])
    heads = ("", comparison.champion, comparison.challenger, "difference", "95 %", "", "seen from", "frauds wanted")
    lines += ["", table([_row(paired) for paired in comparison.found], heads), ""]
    lines.append("  `seen from`: the smallest difference that these labels detect with 80 % power.")
    lines.append("  `frauds wanted`: known frauds needed to detect the measured difference.")
    return "\n".join(lines)


def _row(pair: Paired) -> tuple[str, ...]:
    interval = "-" if pair.low is None or pair.high is None else f"{_number(pair.low)} to {_number(pair.high)}"
    frauds_wanted = "-" if pair.frauds_wanted is None else f"{pair.frauds_wanted:,}"
    values = (_number(value) for value in (pair.champion, pair.challenger, pair.mean))
    return metric_words(pair.name), *values, interval, pair.why or pair.verdict, _number(pair.seen_from), frauds_wanted


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.2f}"
