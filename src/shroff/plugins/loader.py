"""Project files as YAML with the line and column of each value; kinds of files that plug-ins read."""

from __future__ import annotations

from shroff.language.loader import (
    boolean,
    by_name,
    check_keys,
    duration_ms,
    expression,
    mapping,
    name,
    one_of,
    scalar,
    sequence,
)
from shroff.language.shapes import load_shape, read_shape
from shroff.language.yaml.slips import in_quotes
from shroff.language.yaml.text import Mapping as YamlMapping
from shroff.language.yaml.text import Node as YamlNode
from shroff.language.yaml.text import Scalar as YamlScalar
from shroff.language.yaml.text import Sequence as YamlSequence
from shroff.language.yaml.text import read as read_yaml
from shroff.project.file_kinds import AddedFile, AddedKey, FileContext
