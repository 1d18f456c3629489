"""Settings of adapters, and the keys and shapes of YAML files."""

from __future__ import annotations

from shroff.language.keys import (
    ANY,
    DURATION,
    EXPRESSION,
    NAME,
    NAME_PATTERN,
    NUMBER,
    PERCENT,
    SWITCH,
    TEXT,
    WHOLE,
    Either,
    Key,
    Many,
    MappingShape,
    One,
    Required,
    choice,
    mapping_shape,
    own_names,
)
from shroff.streams.settings import (
    ADDRESS,
    BUCKET,
    CALLS,
    DEAD_LETTERS,
    FILE,
    HTTP,
    OUTCOMES,
    OUTSIDE_NAME,
    START,
    TAKE,
    VARIABLE,
    AdapterSettings,
    last_part,
    sqlite_in_folder,
)
