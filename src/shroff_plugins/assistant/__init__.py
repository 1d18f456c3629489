"""A language model of the user's choice drafts rules and sums up cases; off without assistant.yaml."""

from __future__ import annotations

OPERATIONS = {
    "assistant": ("shroff_plugins.assistant.assistant_operations", "let a language model draft a rule or sum up a case")
}
