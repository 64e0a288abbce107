"""Runs in MLflow: one for each state of the pipeline and for each strategy, written from DVC's outputs."""
