"""Import rules of Stripe Radar and Amazon Fraud Detector."""

from __future__ import annotations

OPERATIONS = {
    "import-rules": ("shroff_plugins.foreign_rules.command", "import rules from Stripe Radar or Amazon Fraud Detector")
}
