from judged import *  # noqa: F403 - its fixtures
