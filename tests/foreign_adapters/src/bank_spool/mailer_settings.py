"""What shroff.yaml says of the mailer, without its client library."""

from __future__ import annotations

from shroff.plugins.settings import FILE, AdapterSettings, Key, MappingShape

OUTBOX = AdapterSettings(
    "Files of a folder that a relay empties.",
    MappingShape(
        "a folder of a relay", (Key("folder", "Where mails wait.", FILE, is_required=True, examples=("relay",)),)
    ),
)
SETTINGS = {"outbox": OUTBOX}
