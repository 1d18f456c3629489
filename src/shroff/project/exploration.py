"""`explore` and `sample` in policy.yaml: declines that are approved and approvals that are reviewed, to get labels.

Docs: docs/decisions/0014-models.md. What is drawn is decided in `engine.verdicts`.
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
    """Settings of the sample of approvals: shares in (0, 1] of all and of those with at least a score."""

    share: float
    uncertain_share: float
    uncertain_from: float
    seed: str = field(repr=False)

    def propensity(self, score: float | None) -> float:
        """Probability that an approval with this score is drawn; None without a model."""
        return self.uncertain_share if score is not None and score >= self.uncertain_from else self.share


@frozen
class Explore:
    """Settings of exploration: the events, their share, and the end. The seed is shown nowhere.

    Args:
        share: Of the events, in (0, 1]; the propensity of each.
        amount_at_most_minor: In smallest units of the project's money.
        expires_ms: The first moment at which nobody is let through any more.
    """

    share: float
    at_most_a_day: int
    amount_at_most_minor: int
    expires_ms: int
    seed: str = field(repr=False)
    instead: str = "approve"


def load_explore(node: Node | None, places: int, problems: list[Problem]) -> Explore | None:
    """Read `explore` of a policy; None if it is missing or wrong."""
    before = len(problems)
    found, share, seed = _draw(node, EXPLORE, "explore", problems)
    if found is None:
        return None
    a_day = loader.decimal(
        found.get("at_most_a_day"), problems, "at_most_a_day", 0, UNITS_MAX, is_above=True, is_whole=True
    )
    amount = loader.minor_units(found.get("amount_at_most"), places, problems, "amount_at_most")
    expires_ms = loader.day_end_ms(found.get("expires"), problems, "expires")
    instead = loader.one_of(found.get("instead"), INSTEAD, problems, "instead")
    if len(problems) > before or share is None or a_day is None or amount is None or expires_ms is None or not seed:
        return None
    return Explore(share, int(a_day), amount, expires_ms, seed, instead or "approve")


def load_sample(node: Node | None, problems: list[Problem]) -> Sample | None:
    """Read `sample` of a policy; None if it is missing or wrong."""
    before = len(problems)
    found, share, seed = _draw(node, SAMPLE, "sample", problems)
    if found is None:
        return None
    uncertain = loader.percent(found.get("uncertain_share"), problems, "uncertain_share")
    start = loader.score(found.get("uncertain_from"), problems, "uncertain_from")
    if bool(uncertain) == (start is None):
        words = "uncertain_share, above 0%, and uncertain_from belong together."
        found.report(problems, words, "Give both or neither.")
    if len(problems) > before or share is None or not seed:
        return None
    return Sample(share, uncertain or share, start or 0.0, seed)


def _draw(
    node: Node | None, shape: MappingShape, name: str, problems: list[Problem]
) -> tuple[Mapping | None, float | None, str | None]:
    """The mapping, the share and the seed of a draw; None where they are left out or wrong."""
    found = loader.mapping(node, problems, name, shape)
    if found is None:
        return None, None, None
    share = loader.percent(found.get("share"), problems, "share")
    if share == 0:
        found.report(problems, "a share of 0% draws nothing.", f"Leave '{name}' out.")
    return found, share, _seed(found, problems)


def _seed(of: Mapping, problems: list[Problem]) -> str | None:
    found = loader.scalar(of.get("seed"), problems, "seed")
    if found is None:
        return None
    if len(found.text.strip()) < SEED_LENGTH_MIN:
        found.report(problems, f"seed has fewer than {SEED_LENGTH_MIN} characters.", _NEW_SEED)
        return None
    return found.text.strip()
