"""Two clones register a new name at once on a real server, and one of them is killed: one champion, one history.

`python benchmarks/run.py team` runs 50 rounds of it, also with PostgreSQL.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from rounds import Team, team
from servers import started

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clones(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("team")
    words = ["--backend-store-uri", f"sqlite:///{folder}/team.db", "--artifacts-destination", str(folder / "kept")]
    with started(folder, "/health", "server", *words, "--workers", "1") as address:
        yield team(finished, folder, address, seed=0)


@pytest.mark.parametrize("number", range(3))
def test_a_round_ends_with_one_champion_and_one_history(clones: Team, number: int) -> None:
    clones.round(f"shapes-{number}", kill=number > 0)
    assert clones.tally.violations == []
