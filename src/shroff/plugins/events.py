"""Event types of a project; events, their fields and raw values; mappings and validation."""

from __future__ import annotations

from shroff.events.definitions import FEW_VALUES, Entity, Events, EventType, Field, FileMapping, Settings
from shroff.events.event import (
    SAFE_INTEGER_MAX,
    Event,
    Scalar,
    TimeText,
    canonical_text,
    canonical_value,
    stored_reader,
    time_text,
)
from shroff.events.formats.encodings import json_columns
from shroff.events.intake import Submission
from shroff.events.labels import LogEvent
from shroff.events.mapping import MappedRow, Mapper, row_leaf, value_at
from shroff.events.raw_values import REQUEST_DEPTH_MAX, Instant, RawDuration, RefusedValue, canonical_json, text_of
from shroff.events.summary import EventSummary, summary_of
from shroff.events.validation import secret_fields, undeclared
