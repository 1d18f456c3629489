"""Operations on experiments: compare arm B with arm A in money, and end an experiment of policy.yaml."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from functools import partial

from msgspec import UNSET, UnsetType
from msgspec.structs import asdict

from shroff.errors import RefusalError, ShroffError, nearest
from shroff.language.values import day_at, show_decimal
from shroff.operations.declaration import Argument, OperationAnswer, OperationRequest, ProgressSteps, operation
from shroff.operations.numbers import name_of
from shroff.project.definitions import Definitions
from shroff.project.policy import OUTCOMES
from shroff.rules.keys import EXPERIMENT
from shroff.runtime.texts import table
from shroff.services.labels.reports import LabelReports
from shroff.services.project import Project
from shroff.services.results.operations import NOT_KNOWN, LabelsAsOf, ResultRow, mature_after_ms, result_row
from shroff.services.thresholds.cutoffs import AppliedCutoffs, EndedExperiment, ScoreCutoffs

OF_KEYS = 1_000  # keys to which amounts refer
SHOWN = "events challenged reviewed declined caught missed false_declines unlabeled_declines".split()


class ShowExperiment(OperationRequest["Experiment"]):
    """The experiment, and when its labels are known.

    Args:
        rule (RULE): A rule with 'rollout', or the name of an experiment of policy.yaml.  [default: the first]
    """

    rule: Argument = ""
    as_of: LabelsAsOf = None


class ExperimentArm(ResultRow):
    """Mature events of a group of keys at which the rule was true, and what 1,000 keys cost by the policy."""

    keys: int
    cost_per_1000: str


class Experiment(OperationAnswer):
    """Two random groups of keys: arm B, for which the rule takes effect, and arm A.

    `saved` is what arm B saves of 1,000 keys for which the rule was true, with its 95 % confidence interval.
    All events so far are mature, and count, from the day `mature_from` on.
    """

    rule: str
    arms: list[ExperimentArm]
    saved: str
    low: str
    high: str
    mature_from: date

    def text(self) -> str:
        heads = ("arm", "keys", *(name_of(number).lower() for number in SHOWN), f"cost per {OF_KEYS:,} keys")
        rows = [[arm.value, arm.keys, *arm_figures(arm), arm.cost_per_1000] for arm in self.arms]
        saving = f"Arm B of {self.rule} saves {self.saved} ({self.low} to {self.high}) of {OF_KEYS:,} keys."
        return f"{table(rows, heads)}\n\n{saving} {self.verdict} All are mature from {self.mature_from} on."

    @property
    def verdict(self) -> str:
        if float(self.low) > 0:
            return "Arm B is better."
        return "Arm A is better." if float(self.high) < 0 else "Neither arm is proven better yet."


def arm_figures(arm: ExperimentArm) -> list[object]:
    figures = {number: getattr(arm, number) for number in SHOWN}
    if arm.has_no_labeled_decline:
        figures["false_declines"] = NOT_KNOWN
    return list(figures.values())


class NoExperimentError(RefusalError):
    """There is no such experiment, or too few of its events are mature."""

    status, code, title = 404, "no-experiment", "There is no such experiment"


@operation("experiment", right="read:decisions", http="GET /experiments", refusals=(NoExperimentError,), is_shared=True)
def show_experiment(
    project: Project, label_reports: LabelReports, progress: ProgressSteps, request: ShowExperiment
) -> Experiment:
    """Compare the keys that an experiment or the rollout of a rule has drawn with all others, in money.

    A rule with 'rollout: 10%' is active for a tenth of the keys, by hash, and runs in shadow for the others. So at the
    events at which it is true, two random groups of keys differ by the rule alone; those of an experiment of
    policy.yaml differ by its thresholds and rules. A fraud that was approved costs what the policy says, else its
    amount; so do a review and a false decline. Declined events without a label are genuine as often as those of arm A.
    Events count from the first one of arm B to the first one of a key that changed its arm.

    Examples:
        shroff experiment
        shroff experiment many_payments --as-of 2026-06-30
    """
    import numpy as np

    from shroff.models.evaluation.exploration import TWO_SIDED
    from shroff.services.results.figures import tallies
    from shroff.training.sets.labels import FRAUD_LABEL, GENUINE_LABEL

    definitions, known = project.definitions, experiments_in(project.definitions)
    if not (id_ := request.rule or next(iter(known), "")):
        raise NoExperimentError("no rule has a 'rollout' and no event type of policy.yaml an 'experiment'. Add one.")

    def money(units: float) -> str:
        return show_decimal(round(units), definitions.settings.money_places)

    curve = label_reports.maturity(as_of=request.as_of)
    events = label_reports.decided_events("", curve.as_of_ms, progress.counting("reading, events"))
    hits, shadow_of = dict[int, str](), dict[str, bool]()
    with project.log.reading() as log:
        for hit in (hit for rows in log.hits.after() for hit in rows if hit.rule == id_):
            if hit.key is not None and (hits or not hit.shadow):
                if shadow_of.setdefault(hit.key, hit.shadow) is not hit.shadow:
                    break
                hits[hit.seq] = hit.key
        on = [record.type for record in log.records_at(list(hits)[:1]).values()]
    policy = definitions.policy("".join(on))
    rows = events.rows_at(list(hits))
    keys_of, times_ms = [hits[seq] for seq in events.seqs[rows].tolist()], events.times_ms[rows]
    is_active = ~np.array([shadow_of[key] for key in keys_of], np.bool_)
    _, codes = np.unique(keys_of, return_inverse=True)
    young_ms = mature_after_ms(definitions, curve.known_shares())
    day_of = partial(day_at, zone=project.context.systems.time_zone)
    day = day_of(int(times_ms.max(initial=curve.as_of_ms)) + young_ms)
    is_old = times_ms <= curve.as_of_ms - young_ms
    outcomes, labels = (np.array(codes)[rows] for codes in (events.outcomes, events.labels))
    is_fraud, is_control = labels == FRAUD_LABEL, is_old & ~is_active
    genuine = np.where(labels == GENUINE_LABEL, 1, 1 - is_fraud[is_control].sum() / max(is_control.sum(), 1))
    approved, _, reviewed, declined = (outcomes == code for code in range(len(OUTCOMES)))
    costs = approved * is_fraud * events.costs[rows] + reviewed * (policy.review_minor or 0)
    costs = costs + declined * ~is_fraud * genuine * (policy.false_decline_minor or 0)
    span = day_of(int(times_ms.min(initial=curve.as_of_ms))), day_of(curve.as_of_ms)
    arm_of = np.full(len(events.seqs), -1)
    arm_of[rows[is_old]] = is_active[is_old]
    arms, sums = [], []
    for arm, mine, tally in zip("AB", (is_control, is_old & is_active), tallies(events, arm_of, 2), strict=True):
        sums.append((np.bincount(codes, costs * mine) * OF_KEYS)[np.bincount(codes, mine) > 0])
        if (keys := len(sums[-1])) < 2:
            known += [rule.id for rule in definitions.rules]
            meant = "" if id_ in known else nearest(id_, known)
            raise NoExperimentError(
                f"experiment {id_[:100]} has mature events of {keys} keys in arm {arm}, and needs 2: wait for labels, "
                f"or give a rule 'rollout'. All events so far are mature from {day} on. {meant}".rstrip()
            )
        row = result_row(definitions, span, arm, tally, None, is_mature=True)
        arms.append(ExperimentArm(keys=keys, cost_per_1000=money(sums[-1].mean()), **asdict(row)))
    saved = sums[0].mean() - sums[1].mean()
    half = TWO_SIDED * sum(part.var(ddof=1) / len(part) for part in sums) ** 0.5  # Welch's interval, for many keys
    ends = {"saved": money(saved), "low": money(saved - half), "high": money(saved + half)}
    return Experiment(rule=id_, arms=arms, **ends, mature_from=day)


def experiments_in(definitions: Definitions) -> list[str]:
    return [rule.id for rule in definitions.evaluated if rule.rollout < 1 and not rule.drawn_as]


class EndExperiment(OperationRequest[AppliedCutoffs]):
    """The experiment of policy.yaml, and whether all keys get the policy of arm B from now on; with a reason.

    Args:
        rule (NAME): Name of the experiment.
        reason (TEXT): Why; it is in the audit log.
        promote: Use the thresholds and rules of arm B for all keys.
    """

    rule: str
    reason: str = ""
    promote: bool = False


@operation(
    "end-experiment",
    right="set:thresholds",
    of_two="thresholds",
    http="POST /experiments/end",
    refusals=(NoExperimentError,),
)
def end_experiment(
    project: Project, cutoffs: ScoreCutoffs, definitions: Definitions, request: EndExperiment
) -> AppliedCutoffs:
    """End an experiment of policy.yaml: all keys get the policy of arm A, or with --promote that of arm B.

    With --promote, 'shadow' changes in the files of the rules that arm B switches; if arm B is not the better one by
    'shroff experiment', a warning says so.

    Examples:
        shroff end-experiment stricter
        shroff end-experiment stricter --promote --reason 'saves 2,800 in 30 days'
    """
    name, reason = request.rule, f"{request.rule}: {request.reason}".removesuffix(": ")
    event = next((experiment.on for experiment in definitions.experiments if experiment.id == name), None)
    if event is None:
        raise NoExperimentError(f"policy.yaml has no experiment {name[:100]!r}.")
    warning: str | UnsetType = UNSET
    if request.promote:
        with suppress(ShroffError):  # too few labels yet, or the lake cannot be reached: only the warning is missing
            shown = project.run(ShowExperiment(rule=name))
            if float(shown.low) <= 0:
                saved = f"Arm B saves {shown.saved} ({shown.low} to {shown.high}) of {OF_KEYS:,} keys."
                warning = f"{shown.verdict} {saved}"
    policy = definitions.policy(event).of([EXPERIMENT] if request.promote else [])
    ends = EndedExperiment(name, request.promote, warning)
    return cutoffs.write(event, (policy.review_at, policy.decline_at), reason=reason, ends=ends)
