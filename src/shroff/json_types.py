"""Objects of JSON and of texts alone: the names that annotations use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

JsonObject = dict[str, Any]  # one that its reader may change
JsonMapping = Mapping[str, Any]  # one that is only read
TextDict = dict[str, str]
TextMapping = Mapping[str, str]
