"""Pushed sources: webhooks, and their settings in shroff.yaml."""

from __future__ import annotations

from shroff.language.keys import DURATION, Many, One, Required, choice, mapping_shape
from shroff.streams.settings import AdapterSettings


class _SignedWebhooks:
    """Signed webhooks.

    secrets: The secrets that sign the calls: one, or two during a change of the secret.
        Example: ['${PARTNER_SECRET}']
    form: The signature format: Standard Webhooks, or that of Stripe, GitHub or Adyen.
        Default: standard
    tolerance: Maximum difference between the signing time of a call and now; GitHub and Adyen send none.
        Default: 5m
    """

    secrets = Required(Many("a list of secrets", One("a secret", r"^\S+$")))
    form = choice("standard", "stripe", "github", "adyen")
    tolerance = DURATION


WEBHOOK = AdapterSettings("Signed webhooks, posted to `/hooks/NAME`.", mapping_shape(_SignedWebhooks))
SETTINGS = {"webhook": WEBHOOK}
