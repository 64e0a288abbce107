from finished_pipeline import finished, house, shared  # noqa: F401 - fixtures
