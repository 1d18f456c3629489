"""Contracts of backends that compute features, grow trees and decide recorded logs on a cluster."""

from __future__ import annotations

from shroff.features.cluster.partition_state import EntityAnswer
from shroff.features.cluster.partitioned import TOO_SMALL, Backend
from shroff.lake.cluster_replay import PartitionEvent, ReplayPlan, answers_of, decided, rows_of, work_of
from shroff.lake.cluster_replay_files import DecidedPart, Streaming
from shroff.models.learners.cluster import FRAUD, GREW_NOTHING, WEIGHT, TrainingFiles, TreeCluster, read_part
