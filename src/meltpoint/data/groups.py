"""Images that must stay together: those of one `group`, and duplicates, also through chains of duplicates."""

import hashlib

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from meltpoint.tables import DECLARED, OF_IMAGE

Links = NDArray[np.int64]  # (M, 2) positions of rows


def join_groups(samples: pd.DataFrame, links: Links) -> NDArray[np.int64]:
    """A number for each row of `samples`, int64 (N,): equal where `group` is, or `links` join them in any chain."""
    codes, _ = pd.factorize(samples["group"])
    rows = np.flatnonzero(codes >= 0)
    _, starts, inverse = np.unique(codes[rows], return_index=True, return_inverse=True)
    first, second = np.concatenate([links, np.stack([rows[starts][inverse], rows], axis=1)]).T
    graph = coo_matrix((np.ones(len(first), dtype=np.int8), (first, second)), shape=(len(samples), len(samples)))
    _, numbers = connected_components(graph, directed=False)
    return np.asarray(numbers, dtype=np.int64)


def name_groups(samples: pd.DataFrame, numbers: NDArray[np.int64]) -> pd.Series:
    """A name for each row's group, in any order of rows; no two groups share one.

    It is the first of the names that its rows have in `group`. A group without one is called `image:` and the first of
    its paths. A declared name that begins with `image:` or `group:` itself gets a `group:` before it.
    """
    frame = pd.DataFrame({"number": numbers, "group": samples["group"].array, "path": samples["path"].array})
    first = frame.groupby("number")[["group", "path"]].min()
    declared = first["group"].astype("string")
    taken = declared.str.startswith((OF_IMAGE, DECLARED)).fillna(value=False)
    names = declared.mask(taken, DECLARED + declared).fillna(OF_IMAGE + first["path"].astype("string"))
    return pd.Series(names.array[numbers], index=samples.index, dtype="string")


def draw_groups(samples: pd.DataFrame, numbers: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """A number in 0..1 for each row, float64 (N,), that is the same in a group and random over groups and seeds.

    It is made of the group's name where one is declared (of several the first), or else of the bytes of that of its
    images whose path is the first. Nothing else counts, so it stays as it is while other groups come and go, and where
    an image has another name, folder or label. A picture that joins others (a near-duplicate) changes their number only
    if its path is before all of theirs and its bytes are others.
    """
    paths, names, hashes = (samples[column].to_numpy(dtype=object) for column in ("path", "group", "sha256"))
    texts: dict[int, str] = {}  # what the number of each group is made of
    for row in np.argsort(paths, kind="stable"):
        texts.setdefault(int(numbers[row]), f"image:{hashes[row]}")
    declared = samples["group"].notna().to_numpy(dtype=bool)
    named = sorted(((str(names[row]), int(numbers[row])) for row in np.flatnonzero(declared)), reverse=True)
    texts |= {number: f"group:{name}" for name, number in named}  # the first name comes last, and stays
    hashed = {number: hashlib.sha256(f"{seed}/{text}".encode()).digest() for number, text in texts.items()}
    drawn = {number: (int.from_bytes(digest[:8], "big") >> 11) / 2**53 for number, digest in hashed.items()}  # 53 bits
    return np.array([drawn[number] for number in numbers.tolist()], dtype=np.float64)
