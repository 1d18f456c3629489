"""Rules of Stripe Radar and Amazon Fraud Detector, imported."""

from __future__ import annotations

from typing import Final

OPERATIONS: Final = {
    "import-rules": ("shroff_plugins.foreign_rules.command", "import rules from Stripe Radar or Amazon Fraud Detector")
}
