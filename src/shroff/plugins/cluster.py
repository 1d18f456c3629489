"""Contracts of backends that compute features, grow trees and decide recorded logs on a cluster."""

from __future__ import annotations

from shroff.features.cluster.partitioned import TOO_SMALL, Backend
from shroff.models.learners.cluster import FRAUD, GREW_NOTHING, WEIGHT, TrainingFiles, TreeCluster, read_part
