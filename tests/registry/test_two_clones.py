"""Two clones register a new name at once on a real server, and one of them is killed: one champion, one history.

`python benchmarks/run.py team` runs 50 rounds of it, also with PostgreSQL.
"""

from pathlib import Path

import pytest
from rounds import team
from servers import started

pytestmark = pytest.mark.slow


def test_rounds_on_a_real_server(finished: Path, tmp_path: Path) -> None:
    words = ["--backend-store-uri", f"sqlite:///{tmp_path}/team.db", "--artifacts-destination", str(tmp_path / "kept")]
    with (
        started(tmp_path, "/health", "server", *words, "--workers", "1") as address,
        team(finished, tmp_path, address, seed=0) as clones,
    ):
        for number in range(3):
            clones.round(f"shapes-{number}", kill=number > 0)
    assert clones.tally.violations == []
    assert clones.tally.rounds == 3
