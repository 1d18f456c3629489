"""An opened project: definitions, settings, files of its folder, findings of `shroff doctor`."""

from __future__ import annotations

from shroff.cases.case_service import NoCaseError
from shroff.config import PROJECT_FILE, lines_ended, read_files, read_sql, read_text, write_text
from shroff.log.columns.tables import Way
from shroff.monitoring.doctor import NOTE, OK, WRONG, Finding
from shroff.monitoring.doctor_systems import AddedChecks, Try
from shroff.project.definitions import Definitions
from shroff.project.dependency_hash import read_by
from shroff.project.policy import OUTCOMES
from shroff.replay.notebook import Moment, moment_ms
from shroff.runtime.atomic_files import csv_line, sync_folder, unfinished, write_lines
from shroff.runtime.environment import fill_variables as filled
from shroff.runtime.environment import missing_variables as unset
from shroff.runtime.state_folder import lock_file as alone
from shroff.runtime.state_folder import make_folder
from shroff.runtime.state_folder import open_private as private
from shroff.services.cases.operations import ShowCase
from shroff.services.context import ProjectContext
from shroff.services.drafts.operations import CheckDraft, CountDraft, ShowDrafts, WriteDraft
from shroff.services.project import Project
from shroff.services.sources.operations import SyncSource
from shroff.services.training.operations import TrainModel
