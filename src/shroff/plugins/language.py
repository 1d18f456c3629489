"""Expression language for plug-ins: trees, types, checker, evaluation by row; values (durations in ms) as texts."""

from __future__ import annotations

from shroff.language.checker import check
from shroff.language.expression import (
    Aggregate,
    Call,
    Else,
    FeatureValue,
    ItemFeature,
    Literal,
    Node,
    RowValue,
    Score,
    ThisField,
    aggregates,
    fields_of_this,
    walk,
)
from shroff.language.field_types import FieldType
from shroff.language.names import DeclaredNames, Scope
from shroff.language.printer import text_of
from shroff.language.row import Evaluate, compile_row
from shroff.language.syntax import ExpressionError
from shroff.language.types import BOOLEAN, INTEGER, TEXT, TIME, Type
from shroff.language.values import (
    DAY_MS,
    DAYS_MAX,
    HOUR_MS,
    MINUTE_MS,
    Value,
    day_at,
    day_named,
    day_starts_ms,
    days_of,
    key_text,
    parse_decimal,
    parse_duration,
    parse_share,
    rescale_half_even,
    show,
    show_decimal,
    show_duration,
    to_real,
)
