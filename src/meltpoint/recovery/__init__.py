"""Restores: MLflow's store from git, DVC's outputs and the ledger, and an earlier champion."""
