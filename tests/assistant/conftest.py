from finished_pipeline import finished, house  # noqa: F401 - fixtures
from saved_models import *  # noqa: F403 - its fixtures
