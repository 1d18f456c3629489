"""Models: formats and margins of files of others, learners, metrics."""

from __future__ import annotations

from shroff.models.columns import NUMBER as NUMBER_KIND
from shroff.models.imported import BROKEN, Foreign, broken, refuse_width
from shroff.models.learners.learned import Learned, LearningPlan, TrainingRows
from shroff.models.loaded import LIGHTGBM, LOGISTIC, XGBOOST
from shroff.models.metrics import Metric
from shroff.models.model import LOG_ODDS, NUMBER, PROBABILITY, refuse_pickle
from shroff.models.trees.forest import LEAF
