"""Orders of a synthetic shop, with fraud: the command `shroff generate orders`, and the jobs that use it."""

from __future__ import annotations

from typing import Final

OPERATIONS: Final = {  # word: (module, help, the word that it stands behind)
    "generate": ("shroff_orders.command", "synthetic data, with fraud: orders of a shop as Parquet", "attack")
}
