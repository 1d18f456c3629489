"""What features.yaml holds (see `language.keys`)."""

from __future__ import annotations

from typing import Final

from shroff.language.keys import EXPRESSION, own_names

FEATURES: Final = own_names(
    "entities with their features",
    own_names("features of this entity: a name, and the expression that computes it", EXPRESSION),
)
