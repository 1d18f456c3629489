"""Operations on silences: rules that do not apply to a key until a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec

from shroff.operations.declaration import LocalText, OperationAnswer, OperationRequest, Param, group, operation
from shroff.people.access import Who
from shroff.project.lists import ListChange
from shroff.runtime.texts import TextTable
from shroff.services.silences.silences import Silence, Silences

group(
    "silences",
    """Show and change silences: rules that do not apply to a key until a time.

    Silences are stored in lists/silence.RULE.csv. Each change is a control event in the log, so 'replay', 'verify' and
    'backtest' respect it. Past decisions do not change.

    Examples:
        shroff silences
        shroff silences add many_payments c-17 --until 2026-12-01T00:00:00Z --note 'a wedding'
        shroff silences end many_payments c-17
    """,
)


class ShowSilences(OperationRequest["AllSilences"]):
    pass


class AllSilences(OperationAnswer):
    """All silences, by rule; expired ones stay until they are ended."""

    silences: list[Silence]
    NEXT: ClassVar = ("shroff silences add RULE KEY --until TIME",)

    TABLE: ClassVar = TextTable(
        {"rule": "rule", "for": lambda row: f"{row.entity} {row.key}", "until": "until", "by": "by", "why": "note"},
        "silences",
        "silence",
    )


@operation("silences", right="read:definitions")
def show_silences(silences: Silences, request: ShowSilences) -> AllSilences:
    """List all silences."""
    return AllSilences(silences=silences.all())


class SilenceChange(ListChange, kw_only=True):
    """A change of the list of a rule's silences; `until` is empty where the rule applies again."""

    rule: str
    until: str = ""

    def text(self) -> str:
        if not self.until:
            return f"Rule {self.rule} applies to {self.value} again."
        when = "from the next event on" if self.in_force else f"once this is active: {(self.why_not or '').rstrip('.')}"
        return f"Rule {self.rule} is silent for {self.value} until {self.until}, {when}."

    def hints(self) -> Sequence[str]:
        return ("shroff silences", "shroff verify") if self.until else ["shroff silences"]


class SilenceRule(OperationRequest[SilenceChange]):
    """
    Args:
        rule: The rule.
        key: The key.
        until (TIME): The end: the rule is silent for events before this time.
        note: The reason, as free text.
        by: Who silences it.
    """

    rule: str
    key: str
    until: Annotated[str, Param(flags="--until")]
    note: str = ""
    by: LocalText = ""


@operation("silences add", right="work:cases")
def silence_rule(silences: Silences, who: Who, request: SilenceRule) -> SilenceChange:
    """Silence a rule for one key. If the key's field is hashed, the value is written as its hash.

    Examples:
        shroff silences add many_payments c-17 --until 2026-12-01T00:00:00Z --note 'a wedding'
    """
    by = request.by or who.name
    done = silences.add(request.rule, request.key, request.until, note=request.note, by=by)
    return SilenceChange(**msgspec.structs.asdict(done), rule=request.rule, until=request.until)


class EndSilence(OperationRequest[SilenceChange]):
    """
    Args:
        rule: The rule.
        key: The key.
    """

    rule: str
    key: str


@operation("silences end", right="work:cases")
def end_silence(silences: Silences, request: EndSilence) -> SilenceChange:
    """End the silence of a rule for a key.

    Examples:
        shroff silences end many_payments c-17
    """
    done = silences.end(request.rule, request.key)
    return SilenceChange(**msgspec.structs.asdict(done), rule=request.rule)
