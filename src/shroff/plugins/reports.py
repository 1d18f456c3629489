"""Figures of daily reports, as notices declare them and mails show them."""

from __future__ import annotations

from shroff.notices.services import CountsFigures
from shroff.project.figures import (
    BEFORE,
    SHOWN,
    CountedEvents,
    DropOff,
    Figure,
    FigureValues,
    figure_of,
    split_mistake,
    why_not,
)
