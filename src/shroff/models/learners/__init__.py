"""Learners: XGBoost, LightGBM, logistic regression, isolation forest, and the search for their parameters."""
