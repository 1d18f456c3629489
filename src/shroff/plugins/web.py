"""Routes and pages of the service: rights, requests, responses, problems, charts; events posted by callers."""

from __future__ import annotations

from shroff.people.access import Right
from shroff.people.audit import Act
from shroff.web.api.cases.case_files import number_of
from shroff.web.api.cases.flags import flagged, known_key
from shroff.web.api.cases.flags import shown as flags_shown
from shroff.web.api.entities import event_shown
from shroff.web.api.events import JSON_TYPES, ONE_BYTES_MAX, READ_AT_ONCE, check_rate
from shroff.web.api.events import shown as event_answer
from shroff.web.http.messages import JSON, PROBLEM, Json, Request, WrittenJson
from shroff.web.http.problems import ProblemError, at_paths
from shroff.web.http.routes import Handle, Panel, Route, RouteDoc, Screen, api
from shroff.web.http.schemas import field_schema
from shroff.web.pages.charts.bars import COLUMNS_MAX, Bars, bars_of, day_text, signed_bars, with_open
from shroff.web.pages.decision import decision_path
from shroff.web.pages.renderer import csv_file, days_zone, page, see_other, with_panel
from shroff.web.pages.words import sentence
from shroff.web.service import Service
from shroff.worker.answers import UNPROCESSABLE
from shroff.worker.request_bodies import Mistakes, RequestReader
