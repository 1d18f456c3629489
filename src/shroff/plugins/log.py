"""The log: its contract, records, stored columns, notes by day, and the events of a key."""

from __future__ import annotations

from shroff.adapters.log.sqlite import SqliteLog
from shroff.explain.entities import EntityLook, KeyEvent, fields_of
from shroff.explain.key_events import KeyEvents, KeyFinder
from shroff.log.columns.stored import LineReader, log_columns
from shroff.log.columns.tables import known_type
from shroff.log.event_notes import DayCounts, EventSources, sources_of
from shroff.log.history import Records
from shroff.log.later_labels import places_between
from shroff.log.past_look_ups import with_past_look_ups
from shroff.monitoring.day_figures import DayFigures, figures_by_day, has_amounts
from shroff.streams.log import Log, LogReader, Record, Refused
