"""Import rules of Amazon Fraud Detector, such as `$price > 100 and $email in @bad_mails`, from its command line's
output.

A file has the answers of get-rules and, for order and mode, of get-detector-version; those of get-variables add the
types of missing fields. In the mode FIRST_MATCHED an imported rule excludes the events of earlier rules if their
outcome would otherwise not count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

import msgspec

from shroff.errors import UsageError, decode_words, nearest
from shroff.json_types import TextDict
from shroff_plugins.foreign_rules.attributes import EXACT, Attributes, Meaning, RadarTarget
from shroff_plugins.foreign_rules.rule_import import EFFECTS, Outcome, RadarOptions, RuleCarrier, quoted
from shroff_plugins.foreign_rules.syntax import Attribute, Condition, Place, RadarError, RadarRule, TokenReader, Written

FIRST = "FIRST_MATCHED"
TYPES = {"STRING": "text", "INTEGER": "integer", "FLOAT": "number", "BOOLEAN": "boolean", "DATETIME": "time"}
ACTIONS = ("allow", "3ds", "review", "block")  # the strictest last
# Words of an outcome's name, the strictest first.
OUTCOMES = (
    ("block", "block|decline|deny|denied|reject|fraud|high_?risk"),
    ("review", "review|investigat|manual|suspicious|medium_?risk"),
    ("3ds", "challenge|verif|friction|mfa|otp|step_?up|3ds"),
    ("allow", "approve|allow|accept|pass|legit|low_?risk"),
)
_NOT_NEGATED = (
    r"(?<!no[_-])(?<!(?:not|non|low)[_-])(?<!un)(?<!dis)"  # a name such as `not_fraud` has no guessed meaning
)
WEAKER = {"allow": ("3ds", "review"), "3ds": (), "review": ("3ds",), "block": ("allow", "3ds", "review")}
_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<variable>\$[A-Za-z_]\w*)
      | (?P<list>@[\w-]+)
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<number>\d+(?:\.\d+)?(?![\w.]))
      | (?P<sign>==|!=|<=|>=|&&|\|\||[-+*/%<>!(),\[\]])
      | (?P<word>[A-Za-z_]\w*)""",
    re.VERBOSE,
)
_CASES = {"lowercase": "lower", "uppercase": "upper"}
_FORM = re.compile(r"(\.\*)|(\.)|(\\d|\[0-9\])(?:\{(\d{1,2})\})?|\\([^\w])|([^\\.*+?()\[\]{}|^$])")
_SPECIAL = frozenset("9A?*\\")  # of `matches`


class _Rule(msgspec.Struct, rename="camel"):
    rule_id: str
    rule_version: str = ""
    expression: str = ""
    outcomes: list[str] = []


class _Variable(msgspec.Struct, rename="camel"):
    name: str
    data_type: str = "STRING"


class _Export(msgspec.Struct, rename="camel"):
    rule_details: list[_Rule] = []
    rules: list[_Rule] = []  # rules of a detector's version, in order of evaluation
    rule_execution_mode: str = FIRST
    variables: list[_Variable] = []


def carry_over_detector(text: str, target: RadarTarget, options: RadarOptions) -> Outcome:
    """Translate each rule of an export, or give the reason why not. Raises: UsageError for another document."""
    export = _read_export(text, options.file)
    is_first = export.rule_execution_mode == FIRST
    carrier = _DetectorCarrier(target, options, {variable.name: variable.data_type for variable in export.variables})
    newest = dict[str, _Rule]()
    rule_versions = {(rule.rule_id, rule.rule_version) for rule in export.rules}

    def rank(rule: _Rule) -> tuple[bool, int, str]:
        """Return a sort key by which versions in use come last, and others in order of version."""
        return (rule.rule_id, rule.rule_version) in rule_versions, len(rule.rule_version), rule.rule_version

    for rule in sorted(export.rule_details, key=rank):
        newest[rule.rule_id] = rule
    newest = {rule.rule_id: newest[rule.rule_id] for rule in export.rule_details}  # in the order of the file
    order = [newest.pop(rule.rule_id) for rule in export.rules if rule.rule_id in newest]
    for rule in [*order, *([] if order else newest.values())]:
        position = Place(text.count("\n", 0, max(0, text.find(f'"{rule.rule_id}"'))) + 1, 1)
        display_text = " ".join(rule.expression.split())
        carrier.carry(
            RadarRule("", Written(rule.expression), display_text, position, rule.rule_id),
            rule.outcomes,
            is_first=is_first,
        )
    outcome = carrier.outcome
    outcome.notes += carrier.notes
    mode_note = "FIRST_MATCHED" if is_first else "ALL_MATCHED: the strictest outcome counts"
    outcome.notes.append(f"Rules are in the order of the file, {mode_note}.")
    if order and newest:
        outcome.notes.append(f"Not in this version of the detector, left out: {', '.join(newest)}.")
    return outcome


def _read_export(text: str, file: str) -> _Export:
    documents: dict[str, object] = {}
    decoder = json.JSONDecoder()
    index = 0
    text = text.strip().removeprefix("\ufeff")
    try:
        while index < len(text):
            document, index = decoder.raw_decode(text, index)
            documents |= document
            index += len(text[index:]) - len(text[index:].lstrip())
        export = msgspec.convert(documents, _Export)
    except (ValueError, TypeError, RecursionError) as error:
        raise UsageError(f"{file} is not what 'aws frauddetector get-rules' prints: {decode_words(error)}") from None
    if not export.rule_details:
        raise UsageError(f"{file} has no ruleDetails. Write what 'aws frauddetector get-rules' prints into it.")
    return export


class _Variables(Attributes):
    def __init__(self, target: RadarTarget, types: TextDict) -> None:
        super().__init__(target)
        self._types = types

    def meaning(self, attribute: Attribute) -> Meaning:
        name = attribute.name
        mapped = self.target.mapped.attributes.get(name.lower())
        if mapped is not None:
            return self._meaning_of_text(attribute, mapped)
        declared = self._field(name)
        if declared is not None:
            return self._meaning_of_field(declared, EXACT)
        if name.endswith("insightscore"):
            hint = f"For the project's own model say in the mapping, under attributes: '{name}: score * 1000'."
            raise RadarError(f"${name} is a model of Fraud Detector.", attribute.place, hint)
        raise self._missing_error(attribute, name, f"{name}: {TYPES.get(self._types.get(name, ''), 'text')}?")


class _DetectorCarrier(RuleCarrier):
    def __init__(self, target: RadarTarget, options: RadarOptions, types: TextDict) -> None:
        super().__init__(target, options, _Variables(target, types))

    def carry(self, rule: RadarRule, outcomes: Sequence[str], *, is_first: bool) -> None:
        action = self._action(outcomes)
        if not action:
            hint = f"Say in the mapping, under outcomes: '{(outcomes or ['NAME'])[0]}: decline'."
            message = f"nothing says what the outcome {', '.join(outcomes) or '(none)'} does."
            self.refuse(rule, RadarError(message, rule.place, hint))
            return
        earlier_conditions = [
            f"({carried.when})" for carried in self.outcome.carried if carried.source.action in WEAKER[action]
        ]
        radar_rule = RadarRule(action, rule.condition, rule.text, rule.place, rule.name)
        self.try_to_carry(radar_rule, " or ".join(earlier_conditions) if is_first else "")

    def _action(self, outcomes: Sequence[str]) -> str:
        """Return the strictest action of some outcomes; "" if an outcome has no known action."""
        actions = list[str]()
        effects = {effect: action for action, effect in EFFECTS.items()}
        for name in outcomes:
            mapped = self._target.mapped.outcomes.get(name)
            by_name = [action for action, pattern in OUTCOMES if re.search(f"{_NOT_NEGATED}({pattern})", name.lower())]
            actions.append(effects.get(mapped, "") if mapped else (by_name or [""])[0])
        return max(actions, key=ACTIONS.index) if actions and all(actions) else ""

    def _condition(self, condition: Condition) -> str:
        if not isinstance(condition, Written):
            return super()._condition(condition)
        return _Translation(condition.text, self._variable, self._list_named).text()

    def _variable(self, name: str) -> Meaning:
        self._now = f"${name}"
        meaning = self._attributes.meaning(Attribute(name, Place(1, 1)))
        self._now = ""
        return meaning

    def _list_named(self, name: str) -> str:
        list_name = self._target.mapped.lists.get(name, name.lower().replace("-", "_"))
        lists = self._target.names.lists
        if list_name not in lists:
            self._now = f"@{name}"
            hint = (
                nearest(list_name, lists)
                or f"Put its elements into lists/{list_name}.csv, or name yours in the mapping: lists."
            )
            raise RadarError(f"there is no list {list_name}.", Place(1, 1), hint)
        return f"lists.{list_name}"


class _Translation(TokenReader):
    """Translates one expression into the project's language, whose checker later checks the types."""

    def __init__(self, text: str, variable: Callable[[str], Meaning], list_named: Callable[[str], str]) -> None:
        self._variable = variable
        self._list = list_named
        super().__init__(_TOKEN, text, 0, len(text))

    def text(self) -> str:
        translated = self._any()
        self._end()
        return translated

    def _any(self) -> str:
        return self._join(self._all, "or")

    def _all(self) -> str:
        return self._join(self._not, "and")

    def _join(self, part: Callable[[], str], *signs: str) -> str:
        first = part()
        while sign := self._takes(*signs):
            right = part()
            first = f"mod({first}, {right})" if sign == "%" else f"({first} {sign} {right})"
        return first

    def _not(self) -> str:
        return f"(not {self._not()})" if self._takes("not") else self._comparison()

    def _comparison(self) -> str:
        left = self._sum()
        if sign := self._takes("==", "!=", "<", "<=", ">", ">="):
            if self._takes("null"):
                return f"({left} is {'not ' if sign == '!=' else ''}missing)"
            return f"({left} {sign} {self._sum()})"
        is_not = bool(self._takes("not"))
        if self._takes("in"):
            return f"({left} {'not ' * is_not}in {self._values()})"
        if is_not:
            self._fail("expected in behind not.", self._peek().at)
        return left

    def _sum(self) -> str:
        return self._join(lambda: self._join(self._value, "*", "/", "%"), "+", "-")

    def _values(self) -> str:
        token = self._peek()
        if token.kind == "list":
            self._next += 1
            return self._list(token.text[1:])
        self._expect("[")
        return f"[{', '.join(self._items(self._value, ']'))}]"

    def _value(self) -> str:
        token = self._peek()
        kind = token.kind
        text = token.text
        self._next += 1
        if kind == "variable":
            return self._variable(text[1:]).text
        if kind == "text":
            return quoted(re.sub(r"\\(.)", r"\1", text[1:-1]))
        if kind == "number" or text in {"true", "false"}:
            return text
        if text == "-":
            return f"-{self._value()}"
        if text == "(":
            inner = self._any()
            self._expect(")")
            return f"({inner})"
        if kind == "word" and text in (*_CASES, "regex_match"):
            return self._call(text)
        return self._fail(f"expected a value, found {text!r}.", token.at)

    def _call(self, name: str) -> str:
        self._expect("(")
        pattern = self._peek()
        first = self._sum()
        if name in _CASES:
            self._expect(")")
            return f"{_CASES[name]}({first})"
        if pattern.kind != "text":
            self._fail("regex_match takes a pattern in quotes.", pattern.at)
        self._expect(",")
        value = self._sum()
        self._expect(")")
        # The pattern's quotes are removed. Only quotes are unescaped, as patterns need other backslashes.
        return _translate_pattern(value, re.sub(r"""\\(["'])""", r"\1", pattern.text[1:-1]))


def _translate_pattern(value: str, pattern: str) -> str:
    r"""Translate a whole match of a regular expression into `matches`. Raises: RadarError if it uses other forms.

    >>> _translate_pattern("x", r".*@gmail\.com"), _translate_pattern("x", r"^[0-9]{3}A?$".replace("A?", "-.*"))
    ("matches(x, '*@gmail.com')", "matches(x, '999-*')")
    """
    forms = []
    for branch in pattern.split("|"):
        text = branch.removeprefix("^").removesuffix("$")
        parts = list(_FORM.finditer(text))
        if "".join(part[0] for part in parts) != text:
            hint = "Write it with contains, starts_with, ends_with or matches, which know digits, letters and '*'."
            raise RadarError(f"the pattern {pattern!r} is more than the language has.", Place(1, 1), hint)
        forms.append(f"matches({value}, {quoted(''.join(map(_form, parts)))})")
    return forms[0] if len(forms) == 1 else f"({' or '.join(forms)})"


def _form(part: re.Match[str]) -> str:
    any_, any_sign, digit, times, escaped, sign = part.groups(default="")
    if any_ or any_sign:
        return "*" if any_ else "?"
    if digit:
        return "9" * int(times or 1)
    literal = escaped or sign
    return f"\\{literal}" if literal in _SPECIAL else literal
