"""Builds tables; knows no torch."""
