"""Two pictures of the same thing: what the search for duplicates finds, and a contact sheet shows."""

from dataclasses import dataclass

# What has to be done to the second picture to match the first: quarter turns to the left, then mirrored or not.
TURNS = (
    "as it is",
    "turned by 90°",
    "turned by 180°",
    "turned by 270°",
    "mirrored",
    "turned by 90° and mirrored",
    "turned by 180° and mirrored",
    "turned by 270° and mirrored",
)


@dataclass(frozen=True)
class Duplicate:
    """Two pictures of the same thing; `first` < `second` are positions in the list of files.

    `turn` is what has to be done to the second to match the first; `correlation` is of the fine detail (1 if `exact`),
    `distance` in bits of 256.
    """

    first: int
    second: int
    exact: bool
    turn: str
    correlation: float
    distance: int

    @property
    def quarters(self) -> int:
        """Quarter turns to the left that `turn` begins with."""
        return TURNS.index(self.turn) % 4

    @property
    def mirrored(self) -> bool:
        """Whether `turn` ends with mirroring left and right."""
        return TURNS.index(self.turn) >= 4
