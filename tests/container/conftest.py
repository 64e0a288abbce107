from saved_models import *  # noqa: F403 - its fixtures
