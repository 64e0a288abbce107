"""One scale for all pictures of more than 8 bits of a dataset, and what is said of it."""

import pytest

from meltpoint.bit_depth import Kind, Range, choose_depths, describe_depths, note_depths


@pytest.mark.parametrize(
    ("kind", "lows_and_highs", "scale"),
    [
        ("integer", [(5, 4000), (9, 700)], (0, 4095)),
        ("integer", [(0, 255)], (0, 255)),
        ("integer", [(0, 1000), (0, 1024)], (0, 4095)),
        ("integer", [(0, 1023)], (0, 1023)),
        ("integer", [(0, 16000)], (0, 16383)),
        ("integer", [(0, 60000), (0, 4)], (0, 65535)),
        ("integer", [(0, 70000)], (0, 70000)),
        ("integer", [(-1024, 3000), (-900, 3071)], (-1024, 3071)),
        ("integer", [(0, 0)], (0, 255)),
        ("float", [(0.1, 0.2), (0, 1.0)], (0, 1)),
        ("float", [(0, 0.5), (0, 3000.0)], (0, 4095)),
        ("float", [(0, 1e6)], (0, 1e6)),
    ],
)
def test_the_depth_that_is_used(
    kind: Kind, lows_and_highs: list[tuple[float, float]], scale: tuple[float, float]
) -> None:
    assert choose_depths(Range(kind, *one) for one in lows_and_highs) == {kind: scale}


def test_kinds_do_not_mix_and_eight_bits_need_no_scale() -> None:
    ranges = [Range("integer", 0, 4000), Range("float", 0, 0.5)]
    assert choose_depths(ranges) == {"integer": (0, 4095), "float": (0, 1)}
    assert choose_depths([]) == {}
    assert note_depths([], {}) == []
    assert describe_depths(ranges, choose_depths(ranges))["integer"] == {
        "images": 1, "lowest": 0, "highest": 4000, "black": 0, "white": 4095,
    }  # fmt: skip


def test_a_stray_pixel_that_leaves_the_rest_dark_is_said() -> None:
    ranges = [Range("integer", 0, 4000)] * 9
    assert len(note_depths(ranges, choose_depths(ranges))) == 1
    ranges.append(Range("integer", 0, 65535))
    told, dark = note_depths(ranges, choose_depths(ranges))
    assert "10 images hold whole numbers of more than 8 bits, from 0 to 65535: 0 is black and 65535 white" in told
    assert "half of these images reach no more than 4000" in dark
