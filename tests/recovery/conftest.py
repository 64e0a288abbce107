from finished_pipeline import cloned, finished, house, tracked  # noqa: F401 - fixtures
