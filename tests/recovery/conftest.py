from finished_pipeline import cloned, finished, house, shared, tracked  # noqa: F401 - fixtures
