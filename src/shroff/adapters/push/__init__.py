"""Pushed sources: webhooks. Here is what shroff.yaml may say of each."""

from __future__ import annotations

from typing import Final

from shroff.language.keys import DURATION, Key, Many, MappingShape, One, choice
from shroff.streams.settings import AdapterSettings

WEBHOOK: Final = AdapterSettings(
    "Signed webhooks, posted to `/hooks/NAME`.",
    MappingShape(
        "signed webhooks",
        (
            Key(
                "secrets",
                "The secrets that sign the calls: one, or two during a change of the secret.",
                Many("a list of secrets", One("a secret", r"^\S+$")),
                is_required=True,
                examples=("['${PARTNER_SECRET}']",),
            ),
            Key(
                "form",
                "The signature format: Standard Webhooks, or that of Stripe, GitHub or Adyen.",
                choice("standard", "stripe", "github", "adyen"),
                default="standard",
            ),
            Key(
                "tolerance",
                "Maximum difference between the signing time of a call and now; GitHub and Adyen send none.",
                DURATION,
                default="5m",
            ),
        ),
    ),
)
SETTINGS: Final = {"webhook": WEBHOOK}
