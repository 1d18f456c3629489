"""HTTP requests with proxy, certificates and time limit of the project's settings."""

from __future__ import annotations

from shroff.adapters.http_calls import CallDeadline, Calls, HttpAnswer, basic, reason, target_of
