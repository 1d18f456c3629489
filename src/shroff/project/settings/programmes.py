"""The key `scheme_programmes` of shroff.yaml: the fields that programmes of card schemes need, and their limits."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import msgspec

from shroff.errors import Problem
from shroff.language.keys import ANY, DECIMAL, NAME, PERCENT, Many, One, Required, choice, mapping_shape, own_names
from shroff.language.shapes import load_shape
from shroff.language.values import parse_share
from shroff.language.yaml import text as yamltext
from shroff.runtime.values import FrozenStruct, replace

ENUMERATION = "enumeration"
_COUNT = One("a count such as 1500", "^[0-9]{1,9}$", kinds=("string", "number"))
_DAY = One("a day such as 2026-12-01", "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")
_VALUES = own_names("fields with values", Many("values", ANY))


class _Limit:
    """A limit.

    name: Of several limits of one name, a month has the newest that is valid on its last day.
        Example: VAMP merchant
    scheme: Values of the scheme's field, in any case.
        Example: [mastercard, mc]
    since: First day of the limit.
        Example: 2026-04-01
    by: Whether merchants are measured, each apart for each acquirer, or acquirers.
        Default: merchant
        Example: acquirer
    counts: Stages of [disputes](../howto/answer-disputes.md), each once for a payment, or `enumeration`.
        Example: [early_fraud_warning, dispute]
    codes: Only disputes with these reason codes.
        Example: [4837, 4863]
    payments: Which payments are measured.
        Default: card_not_present
        Example: all
    divisor: Month of the settled payments that divide reports.
        Default: same_month
        Example: previous_month
    limit: The share, reached only with all minimums.
        Example: 1.5%
    reports: Minimum of reports.
        Default: 0
        Example: 1500
    money: Minimum money of reported payments.
        Default: 0
        Example: 50000
    settled: Minimum of these payments.
        Default: 0
        Example: 1000
    source: Who says so, and when.
        Example: contract of 2026-05-03
    """

    name = Required(ANY)
    scheme = Required(Many("values of the scheme's field", ANY))
    since = Required(_DAY)
    by = choice("merchant", "acquirer")
    counts = Required(Many("reports", choice("early_fraud_warning", "dispute", ENUMERATION)))
    codes = Many("reason codes", ANY)
    payments = choice("card_not_present", "all")
    divisor = choice("same_month", "previous_month")
    limit = Required(PERCENT)
    reports = _COUNT
    money = DECIMAL
    settled = _COUNT
    source = Required(ANY)


class _SchemeProgrammes:
    """Programmes of card schemes.

    scheme: The field of decided events with the card scheme.
        Example: network
    acquirer: The field with the acquirer. By default, there is one.
    merchant: The field with the merchant. By default, there is one.
    card_not_present: The values of fields by which a payment is without the card. By default, all are.
        Example: { channel: [web, app] }
    settled: The values of fields by which a payment is settled. By default, approved ones are.
        Example: { captured: [true] }
    enumeration: The rule whose hits are enumerated payments (card testing), in shadow too.
        Example: card_testing
    left_out: Payments do not count if one of their stages has one of these as `reason` by the end of the month.
        Default: [rdr, ce3]
        Example: [rdr, ce3, cdrn]
    limits: All limits, instead of [those that ship](../howto/watch-scheme-programmes.md#limits).
    """

    scheme = Required(NAME)
    acquirer = NAME
    merchant = NAME
    card_not_present = _VALUES
    settled = _VALUES
    enumeration = ANY
    left_out = Many("reasons", ANY)
    limits = Many("limits", mapping_shape(_Limit))


SCHEME_PROGRAMMES = mapping_shape(_SchemeProgrammes)


class ProgrammeLimit(FrozenStruct, kw_only=True):
    """One limit; `limit` is a fraction, `money` in whole units of the currency."""

    name: str
    scheme: tuple[str, ...]
    since: str
    by: str = "merchant"
    counts: tuple[str, ...]
    codes: tuple[str, ...] = ()
    payments: str = "card_not_present"
    divisor: str = "same_month"
    limit: float
    reports: int = 0
    money: str = "0"
    settled: int = 0
    source: str


class ProgrammeSettings(msgspec.Struct, frozen=True, kw_only=True):
    scheme: str
    acquirer: str = ""
    merchant: str = ""
    card_not_present: dict[str, tuple[str, ...]] = {}
    settled: dict[str, tuple[str, ...]] = {}
    enumeration: str = ""
    left_out: tuple[str, ...] = ("rdr", "ce3")
    limits: tuple[ProgrammeLimit, ...] = ()

    @property
    def fields(self) -> set[str]:
        return {self.scheme, self.acquirer, self.merchant, *self.card_not_present, *self.settled} - {""}


@cache
def _shipped_limits() -> tuple[ProgrammeLimit, ...]:
    name = "scheme_programmes.yaml"
    text = (resources.files(__package__) / name).read_text("utf-8")
    settings = load_programmes(yamltext.read(text, name, []), [])
    assert settings is not None
    return settings.limits


def load_programmes(node: yamltext.Node | None, problems: list[Problem]) -> ProgrammeSettings | None:
    """Parse `scheme_programmes`; None without it or after adding a problem."""
    return load_shape(node, SCHEME_PROGRAMMES, _settings, problems, "scheme_programmes")


def _settings(**values: Any) -> ProgrammeSettings:
    for row in values.get("limits", ()):
        row["limit"] = parse_share(row["limit"])
    settings = msgspec.convert(values, ProgrammeSettings, strict=False)
    return settings if settings.limits else replace(settings, limits=_shipped_limits())
