"""Type checker: makes a typed expression from a parsed one, with names, types and windows.

Mistakes are refused here, when the project is loaded, with their place in the text and the nearest valid name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from msgspec import Struct

from shroff.errors import nearest
from shroff.language import expression as typed
from shroff.language import syntax
from shroff.language.aggregates import AGGREGATES
from shroff.language.aggregation import check_aggregate
from shroff.language.call_checks import Argument, SignatureError, common_type, comparable_type
from shroff.language.calls import Signature
from shroff.language.expression import ORIGINAL_AMOUNT, Node
from shroff.language.field_types import check_comparison, check_key, check_list, hashing_of_call, row_value
from shroff.language.functions import DECIMALS, FUNCTIONS, OF_OTHERS
from shroff.language.names import Scope
from shroff.language.parser import parse
from shroff.language.printer import text_of as expression_text
from shroff.language.syntax import ExpressionError, Syntax, refuse
from shroff.language.types import BOOLEAN, DURATION, INTEGER, NOTHING, PLACES_MAX, REAL, TEXT, TIME, Type, number
from shroff.language.values import parse_decimal, rescale_half_even, to_real
from shroff.runtime.values import replace

_ORDERED = frozenset({"integer", "number", "money", "real", "time", "duration", "text", "choice"})
_TIMED = {
    ("time", "-", "time"): DURATION,
    ("time", "+", "duration"): TIME,
    ("time", "-", "duration"): TIME,
    ("duration", "+", "time"): TIME,
    ("duration", "+", "duration"): DURATION,
    ("duration", "-", "duration"): DURATION,
}


def check(text: str, scope: Scope, wanted: Type | None = None) -> Node:
    """Parse and type an expression; with `wanted`, it must have that type.

    Raises: ExpressionError at the first mistake.
    """
    tree = parse(text)
    node = check_tree(tree, scope)
    if wanted is not None and node.type not in (wanted, NOTHING):
        article = "an" if node.type.kind == "integer" else "a"
        refuse(tree, f"{scope.what} must be {wanted}, this is {article} {node.type}")
    return node


def check_tree(tree: Syntax, scope: Scope, item: str | None = None) -> Node:
    """Type a parsed expression; `item` is the aggregated event type, inside an aggregate's brackets."""
    return _Checker(scope, item).check(tree)


def convert(node: Node, type_: Type) -> Node:
    """Convert a node to a type that can hold its values; literals immediately."""
    own_type = node.type
    if own_type == type_ or type_.kind == "missing":
        return node
    if (own_type.kind, own_type.places) == (type_.kind, type_.places) or (own_type.is_text and type_.is_text):
        return node
    if own_type.kind == "missing":
        return typed.Literal(type_, None)
    if isinstance(node, typed.Literal) and node.value is not None:
        units = int(node.value)
        value = (
            to_real(units, own_type.places)
            if type_.kind == "real"
            else rescale_half_even(units, own_type.places, type_.places)
        )
        return typed.Literal(type_, value)
    return typed.Convert(type_, node)


def _beside_row(node: Node, other: Node) -> Node:
    """Return `true` and `false` as texts if compared with a column, which has texts."""
    if not isinstance(node, typed.Literal) or node.type != BOOLEAN:
        return node
    if not isinstance(other, typed.RowValue) or not other.type.is_text:
        return node
    return typed.Literal(TEXT, "true" if node.value else "false")


def _can_become(found: Type, wanted: Type) -> bool:
    """Return whether every value of one type is a value of the other: integers are numbers, choices are texts."""
    if found.is_text and wanted.is_text:
        return True
    common = common_type((found, wanted))
    return common is not None and (common.kind, common.places) == (wanted.kind, wanted.places)


class _Checker(Struct):
    """Type check of one expression: its scope, and the aggregated event type, if any."""

    scope: Scope
    item: str | None

    def check(self, tree: Syntax) -> Node:
        match tree:
            case syntax.NumberLiteral():
                return self.number(tree)
            case syntax.TextLiteral():
                return typed.Literal(TEXT, tree.value)
            case syntax.DurationLiteral():
                return typed.Literal(DURATION, tree.value_ms)
            case syntax.WordLiteral():
                is_missing = tree.word == "missing"
                return typed.Literal(NOTHING, None) if is_missing else typed.Literal(BOOLEAN, tree.word == "true")
            case syntax.DottedName():
                return self.name(tree)
            case syntax.Of():
                return self.of(tree)
            case syntax.TableLookup():
                return self.lookup(tree)
            case syntax.Unary():
                return self.unary(tree)
            case syntax.Binary():
                return self.binary(tree)
            case syntax.MissingTest():
                return typed.IsMissing(BOOLEAN, self.check(tree.operand))
            case syntax.Within():
                return self.within(tree)
            case syntax.FunctionCall():
                return self.call(tree)

    # ---- literals and names

    def number(self, tree: syntax.NumberLiteral) -> Node:
        try:
            digits, places = parse_decimal(tree.text)
        except ValueError as error:
            refuse(tree, str(error))
        if places > PLACES_MAX:
            refuse(tree, f"a number has at most {PLACES_MAX} places")
        if abs(digits) > 10**30:
            refuse(tree, "the number is too large")
        return typed.Literal(number(places) if "." in tree.text else INTEGER, digits)

    def name(self, name: syntax.DottedName) -> Node:
        first, names = name.parts[0], self.scope.names
        if first == "this":
            return self.this_field(name)
        if first == "row" or (first == "item" and self.scope.reads_row):
            return row_value(name, self.scope)
        if first == "score" and len(name.parts) == 1:
            return self.score(name)
        if first == "lists":
            refuse(name, f"{name} is a list; ask 'x in {name}'")
        if first in names.events or first == "label":
            return self.event_field(name)
        if first in names.entities:
            return self.feature(name)
        known = self.known_names(dotted=len(name.parts) > 1)
        hint = nearest(str(name), known) or nearest(first, known)
        raise ExpressionError(f"{str(name)!r} is not known in {self.scope.what}.", name.start, name.end, hint)

    def known_names(self, *, dotted: bool) -> list[str]:
        names = self.scope.names
        known = ["this", *names.events, *names.entities]
        if self.scope.reads_row:
            known += ["row", "item"][: 1 + (self.scope.each is not None)]
        if self.scope.reads_score:
            known.append("score")
        if dotted:
            known += [f"this.{field}" for event in self.scope.this for field in names.events.get(event, ())]
            known += [f"{event}.{field}" for event, fields in names.events.items() for field in fields]
            known += self.scope.feature_names()
        return known

    def this_field(self, name: syntax.DottedName) -> Node:
        if not self.scope.this:
            refuse(name, f"there is no event 'this' in {self.scope.what}")
        if len(name.parts) != 2:
            refuse(name, "'this' is the event being decided; name one of its fields, as this.amount")
        return self.field_of(name, self.scope.this, name.parts[1])

    def field_of(self, name: syntax.DottedName, events: tuple[str, ...], field: str) -> typed.ThisField:
        """Return a field of `this` in those of the event types that have it; they must agree on its type."""
        shapes = [self.scope.names.events[event] for event in events]
        types = {shape[field] for shape in shapes if field in shape}
        if not types:
            known = sorted({known for shape in shapes for known in shape})
            refuse(name, self.scope.names.no_field(str(name), field, events), nearest(field, known))
        if len(types) > 1:
            listed = ", ".join(
                f"{shape[field]} in {event}" for event, shape in zip(events, shapes, strict=True) if field in shape
            )
            refuse(name, f"{name} has several types: {listed}")
        return typed.ThisField(types.pop(), field)

    def score(self, name: syntax.DottedName) -> Node:
        if not self.scope.reads_score or self.item is not None:
            refuse(name, f"score is read by rules and the policy, not by {self.scope.what}")
        return typed.Score(REAL)

    def event_field(self, name: syntax.DottedName) -> Node:
        event, fields = name.parts[0], name.parts[1:]
        if not fields:
            refuse(name, f"{event} is an event type; name one of its fields, or count({event})")
        if self.item is not None:
            if event != self.item:
                refuse(name, f"an aggregate is over one event type; this one reads {self.item} and {event}")
            return self.item_field(name, event, ".".join(fields))
        if len(fields) > 1 or event == "label":
            refuse(name, f"{name} can be read inside an aggregate only")
        if event not in self.scope.this:
            options = " or ".join(self.scope.this) or "none"
            refuse(
                name,
                f"{name} stands outside an aggregate, where the event is {options}.",
                f"Write count({event}) or last({name}).",
            )
        return replace(self.field_of(name, (event,), fields[0]), event=event)

    def item_field(self, name: syntax.DottedName, event: str, field: str) -> Node:
        shape = dict(self.scope.names.events.get(event, {}))
        if event == "label":
            shape.update(self.labelled_fields())
        if field not in shape:
            refuse(name, self.scope.names.no_field(str(name), field, (event,)), nearest(field, shape))
        return typed.ItemField(shape[field], field)

    def labelled_fields(self) -> dict[str, Type]:
        """Return `of.FIELD` of a label: fields of the decided types, if these agree on the type."""
        types_by_field: dict[str, set[Type]] = {}
        for event in self.scope.names.decided:
            for field, type_ in self.scope.names.events[event].items():
                types_by_field.setdefault(field, set()).add(type_)
        return {f"of.{field}": next(iter(types)) for field, types in types_by_field.items() if len(types) == 1}

    def feature(self, name: syntax.DottedName) -> Node:
        if self.scope.feature is None:
            refuse(name, f"features cannot be read in {self.scope.what}")
        type_ = self.feature_type(name)
        if self.item is not None and not self.scope.is_where:
            refuse(name, f"inside an aggregate a feature is read as it was: write {name} of {self.item}")
        return typed.FeatureValue(type_, str(name))

    def feature_type(self, name: syntax.DottedName) -> Type:
        found = self.scope.feature(str(name)) if self.scope.feature and len(name.parts) == 2 else None
        if found is None:
            refuse(
                name,
                f"{self.scope.what} reads {str(name)!r}, which no feature declares.",
                nearest(str(name), self.scope.feature_names()),
            )
        if found == NOTHING:
            raise syntax.SpoiledError(f"{name} has a mistake of its own", name.start, name.end)
        return found

    def of(self, tree: syntax.Of) -> Node:
        if self.item is None:
            refuse(tree, "'of' stands inside an aggregate: sum(user.matched of withdrawal) over 30d")
        if str(tree.event) != self.item:
            refuse(tree.event, f"an aggregate is over one event type; this one reads {self.item} and {tree.event}")
        return typed.ItemFeature(self.feature_type(tree.feature), str(tree.feature))

    def lookup(self, tree: syntax.TableLookup) -> Node:
        tables = self.scope.names.tables
        table = ".".join(tree.table.parts[1:])
        if table not in tables:
            refuse(tree.table, f"no table {table!r} is declared.", nearest(table, tables))
        shape, column = tables[table], str(tree.column)
        if column not in shape.columns:
            refuse(tree.column, f"table {table} has no column {column!r}.", nearest(column, shape.columns))
        key = self.check(tree.key)
        check_key(tree.key, key, shape.key)
        if not _can_become(key.type, shape.key):
            refuse(tree.key, f"the key of table {table} is {shape.key}, this is {key.type}")
        return typed.Lookup(shape.columns[column], table, column, convert(key, shape.key))

    # ---- operators

    def unary(self, tree: syntax.Unary) -> Node:
        operand = self.check(tree.operand)
        if tree.operator == "not":
            return typed.Not(BOOLEAN, self.boolean(operand, tree.operand, "not"))
        if not (operand.type.is_numeric or operand.type.kind == "duration"):
            refuse(tree, f"'-' takes a number, this is {operand.type}")
        if isinstance(operand, typed.Literal) and isinstance(operand.value, int):
            return typed.Literal(operand.type, -operand.value)
        return typed.Negative(operand.type, operand)

    def boolean(self, node: Node, tree: Syntax, operator: str) -> Node:
        if node.type.kind not in {"boolean", "missing"}:
            text = expression_text(node)
            hint = ""
            if isinstance(node, typed.RowValue):
                hint = f"Write {text} == 1 for a column of 0 and 1, or {text} == true for one of true and false."
            refuse(tree, f"{operator!r} takes true or false, this is {node.type}.", hint)
        return convert(node, BOOLEAN)

    def binary(self, tree: syntax.Binary) -> Node:
        left, right = self.check(tree.left), self.check(tree.right)
        match tree.operator:
            case "and" | "or":
                sides = self.boolean(left, tree.left, tree.operator), self.boolean(right, tree.right, tree.operator)
                return typed.Logic(BOOLEAN, tree.operator, *sides)
            case "else":
                type_ = common_type((left.type, right.type))
                if not isinstance(right, typed.Literal):  # a literal: the words for a missing value
                    check_comparison(tree, left, right)
                if type_ is None:
                    self.mismatch(tree, left, right, "Both sides of 'else' have one type.")
                return typed.Else(type_, convert(left, type_), convert(right, type_))
            case "when":
                return typed.When(left.type, left, self.boolean(right, tree.right, "when"))
            case "+" | "-" | "*" | "/":
                return self.arithmetic(tree, left, right)
            case _:
                return self.compare(tree, left, right)

    def mismatch(self, tree: syntax.Binary, left: Node, right: Node, hint: str = "") -> NoReturn:
        refuse(tree, f"'{tree.operator}' does not take {left.type} and {right.type}.", hint)

    def compare(self, tree: syntax.Binary, left: Node, right: Node) -> Node:
        left, right = self.of_row(left, (right,)), self.of_row(right, (left,))
        left, right = _beside_row(left, right), _beside_row(right, left)
        type_ = comparable_type((left.type, right.type))
        is_equality = tree.operator in {"==", "!="}
        check_comparison(tree, left, right, has_order=not is_equality)
        if type_ is None or not (is_equality or type_.kind in _ORDERED or type_.kind == "missing"):
            self.mismatch(tree, left, right)
        return typed.Compare(BOOLEAN, tree.operator, convert(left, type_), convert(right, type_))

    def arithmetic(self, tree: syntax.Binary, left: Node, right: Node) -> Node:
        a, b = left.type, right.type
        if "missing" in {a.kind, b.kind}:
            return typed.Literal(NOTHING, None)
        if tree.operator == "/":
            return self.quotient(tree, left, right)
        if tree.operator == "*":
            return self.product(tree, left, right)
        timed = _TIMED.get((a.kind, tree.operator, b.kind))
        if timed is not None:
            return typed.Arithmetic(timed, tree.operator, left, right)
        type_ = common_type((a, b))
        if type_ is None or not type_.is_numeric:
            plain = "money" in {a.kind, b.kind} and {a.kind, b.kind} & {"integer", "number"}
            joins = tree.operator == "+" and a.is_text and b.is_text
            hint = "Write join(a, b)." if joins else "Write money('5.00') for an amount." if plain else ""
            self.mismatch(tree, left, right, hint)
        return typed.Arithmetic(type_, tree.operator, convert(left, type_), convert(right, type_))

    def product(self, tree: syntax.Binary, left: Node, right: Node) -> Node:
        a, b = left.type, right.type
        if {a.kind, b.kind} == {"duration", "integer"}:
            return typed.Arithmetic(DURATION, "*", left, right)
        if not (a.is_numeric and b.is_numeric) or a.kind == b.kind == "money":
            self.mismatch(tree, left, right)
        if "real" in {a.kind, b.kind}:
            return typed.Arithmetic(REAL, "*", convert(left, REAL), convert(right, REAL))
        places = a.places + b.places
        if places > PLACES_MAX:
            refuse(
                tree,
                f"the product would have {places} places; at most {PLACES_MAX} are exact.",
                "Put round(x, places) around a side.",
            )
        kind = next((kind for kind in ("money", "number") if kind in {a.kind, b.kind}), "integer")
        return typed.Arithmetic(Type(kind, places), "*", left, right)

    def quotient(self, tree: syntax.Binary, left: Node, right: Node) -> Node:
        a, b = left.type, right.type
        if a.kind == b.kind == "duration":
            return typed.Arithmetic(REAL, "/", left, right)
        if not (a.is_numeric and b.is_numeric):
            self.mismatch(tree, left, right)
        type_ = REAL if "real" in {a.kind, b.kind} else number(max(a.places, b.places))
        return typed.Arithmetic(REAL, "/", convert(left, type_), convert(right, type_))

    def within(self, tree: syntax.Within) -> Node:
        operand = self.check(tree.operand)
        node = (
            self.within_range(tree, operand) if tree.values is None and tree.list is None else self.among(tree, operand)
        )
        return typed.Not(BOOLEAN, node) if tree.negated else node

    def among(self, tree: syntax.Within, operand: Node) -> Node:
        if tree.list is not None:
            return self.project_list(tree.list, operand, tree.operand)
        values = [self.check(value) for value in tree.values or ()]
        operand = self.of_row(operand, values)
        values = [_beside_row(value, operand) for value in values]
        for value, written in zip(values, tree.values or (), strict=True):
            if comparable_type((operand.type, value.type)) is None:
                refuse(written, f"the list has {value.type}, what is looked for is {operand.type}")
        check_comparison(tree, operand, *values)
        type_ = comparable_type((operand.type, *(value.type for value in values)))
        if type_ is None:
            refuse(tree, "the values of a list have one type")
        return typed.InValues(BOOLEAN, convert(operand, type_), tuple(convert(value, type_) for value in values))

    def project_list(self, name: syntax.DottedName, operand: Node, written: Syntax) -> Node:
        lists, list_ = self.scope.names.lists, ".".join(name.parts[1:])
        if list_ not in lists:
            cure = nearest(list_, lists) or "Make that file with the line value,note,added_by,expires_at."
            refuse(name, f"there is no list {list_!r}, since there is no file lists/{list_}.csv.", cure)
        if not (operand.type.is_text or operand.type.kind == "missing"):
            refuse(written, f"a list holds text, what is looked for is {operand.type}")
        check_list(written, operand)
        return typed.InList(BOOLEAN, operand, list_)

    def within_range(self, tree: syntax.Within, operand: Node) -> Node:
        if tree.low is None or tree.high is None:
            raise AssertionError("a range has both ends")
        low, high = self.check(tree.low), self.check(tree.high)
        check_comparison(tree, operand, low, high, has_order=True)
        operand = self.of_row(operand, (low, high))
        sides: list[Node] = []
        for end, operator, written in ((low, ">=", tree.low), (high, "<=", tree.high)):
            type_ = comparable_type((operand.type, end.type))
            if type_ is None or type_.kind not in _ORDERED | {"missing"}:
                refuse(written, f"the range has {end.type}, what is looked for is {operand.type}")
            sides.append(typed.Compare(BOOLEAN, operator, convert(operand, type_), convert(end, type_)))
        return typed.Logic(BOOLEAN, "and", *sides)

    # ---- calls

    def call(self, tree: syntax.FunctionCall) -> Node:
        # A name that is both, such as `min`, is an aggregate with one argument and a function with more.
        if tree.name in AGGREGATES and not (tree.name in FUNCTIONS and len(tree.arguments) > 1):
            if self.item is not None:
                refuse(
                    tree, f"an aggregate stands inside another one; make {tree.name}(…) a feature and read it with 'of'"
                )
            return check_aggregate(tree, self.scope, check_tree)
        if tree.name == ORIGINAL_AMOUNT:
            return self.original(tree)
        if tree.name not in FUNCTIONS:
            known = [*FUNCTIONS, ORIGINAL_AMOUNT, *AGGREGATES]
            at = syntax.Span(tree.start, tree.name_end)
            hint = OF_OTHERS.get(tree.name.lower()) or nearest(tree.name, known)
            refuse(at, f"there is no function {tree.name!r}.", hint)
        if tree.where is not None or tree.via is not None or tree.modifiers:
            refuse(
                tree.modifiers[0] if tree.modifiers else tree,
                f"{tree.name} is a function; 'via', 'where' and windows belong to aggregates",
            )
        return self.function(tree)

    def original(self, tree: syntax.FunctionCall) -> Node:
        """Check `original(payment.amount)`: it reads the field with the amount as it was sent."""
        name = tree.arguments[0] if len(tree.arguments) == 1 else None
        if not isinstance(name, syntax.DottedName) or tree.where is not None or tree.via is not None or tree.modifiers:
            refuse(tree, f"{ORIGINAL_AMOUNT} takes one field of money, as {ORIGINAL_AMOUNT}(this.amount)")
        node = self.check(name)
        beside = f"{name.parts[-1]}.{ORIGINAL_AMOUNT}"
        try:
            return self.name(replace(name, parts=(*name.parts[:-1], beside)))
        except ExpressionError:
            words = f"{name} is {node.type} and no amount in another currency"
            refuse(name, words, "Declare it in events.yaml as money in FIELD, the field of its currency.")

    def function(self, tree: syntax.FunctionCall) -> Node:
        arguments = tuple(self.check(argument) for argument in tree.arguments)
        known = tuple(
            Argument(node.type, node.value, is_literal=True) if isinstance(node, typed.Literal) else Argument(node.type)
            for node in arguments
        )
        if any(argument.type.kind == "missing" for argument in known):
            refuse(tree, f"{tree.name} of the literal missing is always missing")
        try:
            signature = FUNCTIONS[tree.name].sign(known, self.scope.names.money_places)
        except SignatureError as error:
            at = tree if error.argument is None else tree.arguments[error.argument]
            raise ExpressionError(
                f"{tree.name} {error}.", at.start, at.end, f"It is {FUNCTIONS[tree.name].form}."
            ) from None
        converted = tuple(convert(node, type_) for node, type_ in zip(arguments, signature.takes, strict=True))
        type_ = replace(signature.type, hashing=hashing_of_call(tree, arguments))
        return typed.Call(type_, tree.name, converted, self.options(tree.name, signature))

    def options(self, name: str, signature: Signature) -> tuple[str | int, ...]:
        """Return the options of a call, with the mapping's settings for decimals and times in texts."""
        if self.scope.decimal and name in DECIMALS and signature.takes[0].is_text:
            return (self.scope.decimal,)
        if self.scope.zone and name == "time" and len(signature.options) < 2:
            return (*(signature.options or ("",)), self.scope.zone)
        return signature.options

    def of_row(self, node: Node, others: Sequence[Node]) -> Node:
        """Return a column compared with numbers as a number: values of JSON keep their kind."""
        is_column = isinstance(node, typed.RowValue) and node.type.is_text
        if not is_column or not others or not all(other.type.kind in {"integer", "number"} for other in others):
            return node
        signature = FUNCTIONS["number"].sign((Argument(node.type),), self.scope.names.money_places)
        return typed.Call(signature.type, "number", (node,), self.options("number", signature))
