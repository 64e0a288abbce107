"""The stage `register` with a lease that ends sooner than that of a team: who died is followed after seconds."""

import os
import runpy
from pathlib import Path

from meltpoint.registry import lease

lease.BEAT, lease.SILENCE = 0.5, float(os.environ["SILENCE"])
runpy.run_path(str(Path(__file__).parents[2] / "stages" / "register.py"))
