"""The operation that reads an experiment out: keys for which a rule takes effect against those of its shadow."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec.structs import astuple

from shroff.app.cases.result_operations import mature_after_ms
from shroff.errors import RefusalError, nearest
from shroff.language.values import day_at, show_decimal
from shroff.operations.declaration import OperationAnswer, OperationRequest, Param, operation
from shroff.project.policy import OUTCOMES
from shroff.runtime.texts import table

if TYPE_CHECKING:
    from shroff.app.cases.label_reports import LabelReports
    from shroff.app.project import Project
    from shroff.operations.declaration import ProgressSteps

OF_KEYS: Final = 1_000  # to which money refers


class ShowExperiment(OperationRequest["Experiment"]):
    """The rule."""

    rule: Annotated[str, Param("Id of a rule with 'rollout'.", metavar="RULE")]


class ExperimentArm(msgspec.Struct):
    """Mature events of a group of keys at which the rule was true, and what 1,000 keys cost by the policy."""

    group: str
    keys: int
    events: int
    fraud: int
    cost: str


class Experiment(OperationAnswer):
    """Two random groups of keys: with the rule (`active`), and without it (`shadow`).

    `saved` is what the rule saves of 1,000 keys for which it was true, with its 95 % confidence interval.
    All events so far are mature, and count, from the day `mature_from` on.
    """

    arms: list[ExperimentArm]
    saved: str
    low: str
    high: str
    mature_from: date

    def text(self) -> str:
        rows = [tuple(map(str, astuple(arm))) for arm in self.arms]
        found = f"The rule saves {self.saved} ({self.low} to {self.high}) of {OF_KEYS:,} keys for which it was true."
        return f"{table(rows, ExperimentArm.__struct_fields__)}\n\n{found} All are mature from {self.mature_from} on."


class NoExperimentError(RefusalError):
    """There is no such rule, or too few of its events are mature."""

    status, code, title = 404, "no-experiment", "There is no such experiment"


@operation(
    "experiment",
    right="read:decisions",
    http="GET /rules/{rule}/experiment",
    refusals=(NoExperimentError,),
    is_shared=True,
    examples=["shroff experiment many_payments"],
)
def show_experiment(
    project: Project, label_reports: LabelReports, progress: ProgressSteps, request: ShowExperiment
) -> Experiment:
    """Compare the keys for which a rule with 'rollout' takes effect with all others, in money.

    A rule with 'rollout: 10%' is active for a tenth of the keys, by hash, and runs in shadow for the others. So at the
    events at which it is true, two random groups of keys differ by the rule alone. A fraud that was approved costs its
    amount, a review and a false decline what the policy says; declined events without a label are genuine as often as
    those of the shadow. Events count from the first one at which the rule took effect, to the first one of a key that
    changed its group: after another share, an adoption or a stop.
    """
    import numpy as np

    from shroff.models.evaluation.exploration import TWO_SIDED
    from shroff.training.sets.labels import FRAUD_LABEL, GENUINE_LABEL

    definitions, id_ = project.definitions, request.rule
    rules = {rule.id: rule for rule in definitions.rules}
    if id_ not in rules:
        raise NoExperimentError(f"there is no rule {id_[:100]!r}. {nearest(id_, rules)}".rstrip())
    policy = definitions.policy(rules[id_].on)

    def money(units: float) -> str:
        return show_decimal(round(units), definitions.settings.money_places)

    curve = label_reports.maturity()
    events = label_reports.decided_events("", curve.as_of_ms, progress.counting("reading, events"))
    with project.log.reading() as log:
        hits = {row.seq: row for rows in log.hits_after() for row in rows if row.rule == id_ and row.key is not None}
    rows = events.rows_at(list(hits))
    found = [hits[seq] for seq in events.seqs[rows].tolist()]
    is_active, times_ms = np.array([not hit.shadow for hit in found], np.bool_), events.times_ms[rows]
    is_meant = times_ms >= times_ms[is_active].min(initial=curve.as_of_ms)
    _, codes = np.unique([hit.key or "" for hit in found], return_inverse=True)
    meant = np.flatnonzero(is_meant)
    _, first, places = np.unique(codes[meant], return_index=True, return_inverse=True)
    has_moved = is_active[meant] != is_active[meant[first]][places]
    is_meant &= times_ms < times_ms[meant[has_moved]].min(initial=curve.as_of_ms)
    young_ms = mature_after_ms(definitions, curve.known_shares())
    day = day_at(int(times_ms.max(initial=curve.as_of_ms)) + young_ms, project.context.systems.time_zone)
    is_old = is_meant & (times_ms <= curve.as_of_ms - young_ms)
    outcomes, labels = (np.array(codes)[rows] for codes in (events.outcomes, events.labels))
    is_fraud, is_control = labels == FRAUD_LABEL, is_old & ~is_active
    genuine = np.where(labels == GENUINE_LABEL, 1, 1 - is_fraud[is_control].sum() / max(is_control.sum(), 1))
    costs = (
        (outcomes == OUTCOMES.index("approve")) * is_fraud * events.amounts[rows]
        + (outcomes == OUTCOMES.index("review")) * (policy.review_minor or 0)
        + (outcomes == OUTCOMES.index("decline")) * ~is_fraud * genuine * (policy.false_decline_minor or 0)
    )
    arms, sums = [], []
    for group, mine in (("active", is_old & is_active), ("shadow", is_control)):
        sums.append((np.bincount(codes, costs * mine) * OF_KEYS)[np.bincount(codes, mine) > 0])
        if (keys := len(sums[-1])) < 2:
            raise NoExperimentError(
                f"{id_} has mature events of {keys} keys in the group {group}, and needs 2: give it 'rollout', and "
                f"wait for labels. All events so far are mature from {day} on."
            )
        arms.append(ExperimentArm(group, keys, int(mine.sum()), int((is_fraud & mine).sum()), money(sums[-1].mean())))
    saved = sums[1].mean() - sums[0].mean()
    half = TWO_SIDED * sum(part.var(ddof=1) / len(part) for part in sums) ** 0.5  # Welch's, of many keys
    return Experiment(arms, money(saved), money(saved - half), money(saved + half), day)
