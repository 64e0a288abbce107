from finished_pipeline import finished, house  # noqa: F401 - fixtures
