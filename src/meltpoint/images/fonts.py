"""Files of fonts that come with Python packages, so that pictures look the same on every machine."""

from importlib.util import find_spec
from pathlib import Path

# Package, and the file in it: Chinese, Japanese, Korean and most Latin letters; the rest of Latin, Greek, Cyrillic ...
FONTS = (("noto_cjk_sans_otc", "NotoSansCJK-Regular.ttc"), ("matplotlib", "mpl-data/fonts/ttf/DejaVuSans.ttf"))


def font_files() -> list[Path]:
    """The files that are installed, in the order in which they are asked for a letter."""
    found = []
    for package, name in FONTS:
        spec = find_spec(package)  # the package is not imported: that may take long
        places = [Path(place) / name for place in (spec and spec.submodule_search_locations) or ()]
        found += [place for place in places if place.is_file()][:1]
    return found
