"""Limits are the usual ones, or those of the environment; what is no limit is told."""

import pytest

from meltpoint.serving.request_limits import LimitError, read_limits


def test_the_usual_limits() -> None:
    limits = read_limits({})
    assert (limits.rows, limits.image_bytes, limits.megapixels) == (256, 32_000_000, 50)


def test_limits_of_the_environment() -> None:
    limits = read_limits({"MELTPOINT_SERVE_ROWS": "3", "MELTPOINT_SERVE_MEGABYTES": "0.5"})
    assert (limits.rows, limits.image_bytes, limits.megapixels) == (3, 500_000, 50)


@pytest.mark.parametrize("came", ["", "many", "0", "-1", "nan", "inf"])
def test_what_is_no_limit_is_told(came: str) -> None:
    with pytest.raises(LimitError, match=r"MELTPOINT_SERVE_ROWS is .* a number over 0"):
        read_limits({"MELTPOINT_SERVE_ROWS": came})
