"""A command of `meltpoint` with a lease as in `register.py` beside it."""

import os

from meltpoint.cli import main
from meltpoint.registry import lease

lease.BEAT, lease.SILENCE = 0.5, float(os.environ["SILENCE"])
main()
