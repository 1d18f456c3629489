"""Declared operations with their requests and answers; kinds of jobs, progress, and text for people."""

from __future__ import annotations

from shroff.operations.declaration import (
    InvalidRequestError,
    OperationAnswer,
    OperationRequest,
    Param,
    ProgressSteps,
    Record,
    group,
    operation,
    split_words,
)
from shroff.operations.pagination import cursor_of, next_of
from shroff.runtime.process_wide import ended_cleanly, threads
from shroff.runtime.progress import Progress, ahead, unheard
from shroff.runtime.retries import Backoff, RetriedLoop
from shroff.runtime.texts import argument, cut, many, one_line, shown, table
from shroff.services.jobs.kinds import JobKind, JobParams, Name, OutPath
from shroff.services.jobs.operations import JobDocument, NewJob, ShowJob
from shroff.services.jobs.work import JobRun, path_of
