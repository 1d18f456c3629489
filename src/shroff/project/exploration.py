"""`explore` and `sample` in policy.yaml: declines that are approved, and approvals that are reviewed, to get labels.

`project.policy` loads these settings; `engine.verdicts` draws the events. Reasons: docs/decisions/0014-models.md.
"""

from __future__ import annotations

from dataclasses import field

from shroff.errors import Problem
from shroff.language import loader
from shroff.language.keys import (
    DECIMAL,
    NUMBER,
    PERCENT,
    SCORE,
    TEXT,
    WHOLE,
    Key,
    MappingShape,
    One,
    Required,
    choice,
    mapping_shape,
)
from shroff.language.types import UNITS_MAX
from shroff.language.yaml.text import Mapping, Node
from shroff.runtime.values import frozen

INSTEAD = ("approve", "challenge", "review")
SEED_LENGTH_MIN = 16  # letters; a shorter seed could be guessed from approved events
_NEW_SEED = "Make one with: python3 -c 'import secrets; print(secrets.token_hex(16))'"
SEED = Key(
    "seed",
    f"A secret text of at least {SEED_LENGTH_MIN} letters. Anyone who knows it can predict which events are drawn. It "
    "is stored in policy.yaml, the log and snapshots, and is never part of an answer.",
    One("a text of 16 letters or more", r"^\s*\S.{14,}\S\s*$", kinds=(TEXT, NUMBER)),
    is_required=True,
    examples=("2f1d0c5be49a77c1",),
)


class _Exploration:
    """Exploration: a share of the score's declines that is approved to get labels.

    share: Share of events to explore, chosen by a hash of seed and id. Only events declined by the score alone are
        candidates, never those declined by a rule.
        Example: 2%
    at_most_a_day: Maximum number of explored events per day, by event time in UTC. Later ones are declined.
        Example: 20
    amount_at_most: Maximum amount of an explored event, in the project's money, by the expression in
        `costs.missed_fraud`; by default the first money field.
        Example: 100.00
    expires: Last day of the exploration, by event time in UTC.
        Example: 2027-12-31
    instead: The outcome of an explored event instead of `decline`; other effects of rules still apply.
        Default: approve
        Example: review
    """

    share = Required(PERCENT)
    at_most_a_day = Required(WHOLE)
    amount_at_most = Required(DECIMAL)
    expires = Required(One("a day such as 2027-12-31", r"^\d{4}-\d{1,2}-\d{1,2}$"))
    seed = SEED
    instead = choice(*INSTEAD)


EXPLORE = mapping_shape(_Exploration)


class _ApprovalSample:
    """Sample of approvals: a share of approved events that analysts review to find missed fraud.

    share: Share of approved events to review, chosen by a hash of seed and id.
        Example: 0.5%
    uncertain_share: Share of uncertain approvals to review instead, those with at least the score `uncertain_from`.
        Default: `share`
        Example: 10%
    uncertain_from: Score from which an approval is uncertain.
        Example: 0.30
    """

    share = Required(PERCENT)
    uncertain_share = PERCENT
    uncertain_from = SCORE
    seed = SEED


SAMPLE = mapping_shape(_ApprovalSample)


@frozen
class Sample:
    """Settings of the sample: a share in (0, 1] of approvals, and another from the score `uncertain_from` on."""

    share: float
    uncertain_share: float
    uncertain_from: float
    seed: str = field(repr=False)

    def propensity(self, score: float | None) -> float:
        """Return the probability that an approval is drawn; without a model its score is None."""
        return self.uncertain_share if score is not None and score >= self.uncertain_from else self.share


@frozen
class Explore:
    """Settings of exploration. The seed is never shown.

    Args:
        share: Share of candidate events in (0, 1], which is the propensity of each.
        amount_at_most_minor: In smallest units of the project's money.
        expires_ms: The first moment at which no event is explored any more.
    """

    share: float
    at_most_a_day: int
    amount_at_most_minor: int
    expires_ms: int
    seed: str = field(repr=False)
    instead: str = "approve"


def load_explore(node: Node | None, places: int, problems: list[Problem]) -> Explore | None:
    """Read `explore` of a policy; None if it is missing or wrong."""
    problem_count = len(problems)
    settings, share, seed = _draw(node, EXPLORE, "explore", problems)
    if settings is None:
        return None
    a_day = loader.decimal(
        settings.get("at_most_a_day"), problems, "at_most_a_day", 0, UNITS_MAX, is_above=True, is_whole=True
    )
    amount = loader.minor_units(settings.get("amount_at_most"), places, problems, "amount_at_most")
    expires_ms = loader.expiry_ms(settings.get("expires"), problems)
    instead = loader.one_of(settings.get("instead"), INSTEAD, problems, "instead")
    if (
        len(problems) > problem_count
        or share is None
        or a_day is None
        or amount is None
        or expires_ms is None
        or not seed
    ):
        return None
    return Explore(share, int(a_day), amount, expires_ms, seed, instead or "approve")


def load_sample(node: Node | None, problems: list[Problem]) -> Sample | None:
    """Read `sample` of a policy; None if it is missing or wrong."""
    problem_count = len(problems)
    settings, share, seed = _draw(node, SAMPLE, "sample", problems)
    if settings is None:
        return None
    uncertain = loader.percent(settings.get("uncertain_share"), problems, "uncertain_share")
    start = loader.score(settings.get("uncertain_from"), problems, "uncertain_from")
    if bool(uncertain) == (start is None):
        words = "uncertain_share, above 0%, and uncertain_from belong together."
        settings.report(problems, words, "Give both or neither.")
    if len(problems) > problem_count or share is None or not seed:
        return None
    return Sample(share, uncertain or share, start or 0.0, seed)


def _draw(
    node: Node | None, shape: MappingShape, name: str, problems: list[Problem]
) -> tuple[Mapping | None, float | None, str | None]:
    """Return the mapping of a draw, its share and its seed; each is None if it is missing or wrong."""
    settings = loader.mapping(node, problems, name, shape)
    if settings is None:
        return None, None, None
    share = loader.percent(settings.get("share"), problems, "share")
    if share == 0:
        settings.report(problems, "a share of 0% draws nothing.", f"Leave '{name}' out.")
    return settings, share, _seed(settings, problems)


def _seed(settings: Mapping, problems: list[Problem]) -> str | None:
    seed = loader.scalar(settings.get("seed"), problems, "seed")
    if seed is None:
        return None
    if len(seed.text.strip()) < SEED_LENGTH_MIN:
        seed.report(problems, f"seed has fewer than {SEED_LENGTH_MIN} characters.", _NEW_SEED)
        return None
    return seed.text.strip()
