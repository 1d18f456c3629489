"""Features: definitions, events as columns, keys, current values, compiled functions, the store of online features."""

from __future__ import annotations

from shroff.features.computed import Computed
from shroff.features.definitions import Feature, wanted_features
from shroff.features.frames import Codes, ColumnFrame, Frame
from shroff.features.kernels.native import native
from shroff.features.kernels.numbers import Word
from shroff.features.key_texts import key_of, stored_text
from shroff.features.online.engine import Online
from shroff.language.columns import values_of
from shroff.worker.online_features import EntityRow, OnlineStore
