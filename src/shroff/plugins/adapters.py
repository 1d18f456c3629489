"""Contracts of adapters: sinks, sources, senders, pushed and pulled sources, mailers; messages and their formats."""

from __future__ import annotations

from shroff.events.formats.lines import LOST, Line, number_of_entry
from shroff.events.formats.wire import Decoder
from shroff.notices.mailer import Mail, Mailer, Unmailed
from shroff.project.settings.system import System
from shroff.streams.merge import Merge, MergingSource, Run
from shroff.streams.pull import PulledSource, PullPlace, Stamp
from shroff.streams.push import (
    BAD,
    CHALLENGE,
    FORBIDDEN,
    MESSAGE,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Fetch,
    FetchNeededError,
    Push,
    PushRefusedError,
    PushSource,
)
from shroff.streams.sender import Sender, Target
from shroff.streams.sink import AwayError, Outgoing, Sink, Undelivered, field_reader
from shroff.streams.source import Health, PartLag, PolledMessages, Source, split_offset, stored_offset
