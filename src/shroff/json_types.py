"""Objects of JSON: the names that annotations use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

JsonObject = dict[str, Any]  # one that its reader may change
JsonMapping = Mapping[str, Any]  # one that is only read
