"""What is left of a picture without brightness, exposure, focus and all that many pictures of the dataset share."""

from collections.abc import Callable

import cv2
import numpy as np
import scipy.fft
import scipy.linalg
from numpy.typing import NDArray

from meltpoint.arrays import Pixels
from meltpoint.duplicate import TURNS

Detail = NDArray[np.int8]  # (..., SIDE, SIDE), in units of 1 / UNIT
Hashes = NDArray[np.uint64]

CANVAS = 64  # pictures are compared at this size
MARGIN = 4  # what is cut off on each side, where crops and frames differ
SIDE = CANVAS - 2 * MARGIN
TILE = SIDE // 4  # 4 x 4 tiles vote on whether two pictures agree
FREQUENCIES = 16  # 16 x 16 signs of the cosine transform make a hash of 256 bits
UNIT = 31  # int8 holds details of up to 4 standard deviations
BLANK = 0.05  # root mean square of the detail of a picture that has none
SAMPLE = 3072  # images from which the common pattern is learned
MANY = 4 * SAMPLE  # from so many images on the filter is written out: a matrix (D, D), a third of the work for each
CHUNK = 1024  # details worked on at once
FEW = 12  # what fewer images than this share is no common pattern, however small the dataset


def turned(details: Detail, turn: int) -> Detail:
    """Details (..., H, W) after TURNS[turn]."""
    details = np.rot90(details, turn % 4, axes=(-2, -1))
    return details[..., ::-1] if turn >= 4 else details


def detail_of(grey: Pixels) -> Detail:
    """The fine detail of a uint8 (H, W) picture, int8 (SIDE, SIDE); all zero for a blank one.

    Of the picture squashed to CANVAS x CANVAS it is a band of frequencies (difference of two Gaussians) without the
    mean of each row and column (stripes), divided by its local strength, so that a faint grain counts like a strong
    edge, and cut off at 1.5.
    """
    if min(grey.shape) > 8 * CANVAS:  # a large one in two steps, so that no large float copy of it is made
        grey = np.asarray(cv2.resize(grey, (8 * CANVAS, 8 * CANVAS), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    small = cv2.resize(grey.astype(np.float32), (CANVAS, CANVAS), interpolation=cv2.INTER_AREA)
    band = _blurred(np.asarray(small, dtype=np.float32), 0.5)
    band = band - _blurred(band, 2.0)
    band = band - band.mean(0, keepdims=True) - band.mean(1, keepdims=True) + band.mean()
    band = np.clip(band / np.sqrt(_blurred(band * band, 3.0) + 1.0), -1.5, 1.5)
    band = band[MARGIN:-MARGIN, MARGIN:-MARGIN]
    if np.sqrt((band * band).mean()) < BLANK:
        return np.zeros((SIDE, SIDE), dtype=np.int8)
    detail: Detail = np.round(band * UNIT).astype(np.int8)
    return detail


def learn_common(known: Detail, share: float, count: int) -> Callable[[Detail], Detail]:
    """What weakens the patterns that many of `count` details share (busbars, frames, letterheads), by a sample of them.

    With C the mean outer product of the details of the sample (unit length), each detail x becomes (1 + C/share)^-1 x:
    the matched filter against a background of covariance C (Van Trees, Detection Estimation and Modulation Theory,
    part 1, 4.3). A pattern that makes up `share` of the data is halved, a rare one stays as it is.
    """
    sample = _unit(known.reshape(len(known), -1))
    # Woodbury's identity: the inverse of a matrix as large as the sample instead of one as large as the picture.
    gram = sample @ sample.T
    gram[np.diag_indices_from(gram)] += max(share, FEW / count) * len(sample)
    factor = scipy.linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)

    def filtered(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        shared = scipy.linalg.cho_solve(factor, sample @ rows.T, check_finite=False).T @ sample
        return rows - np.asarray(shared, dtype=np.float32)

    whole = filtered(np.eye(sample.shape[1], dtype=np.float32)) if count >= MANY else None

    def weaken(details: Detail) -> Detail:
        rows = _unit(details.reshape(len(details), -1))
        rest = _unit(filtered(rows) if whole is None else rows @ whole) * np.sqrt(rows.shape[1])
        weakened: Detail = np.clip(np.round(rest * UNIT), -127, 127).astype(np.int8)
        return weakened.reshape(details.shape)

    return weaken


def hash_details(details: Detail) -> Hashes:
    """Perceptual hashes of the details (N, SIDE, SIDE) under each of the TURNS, uint64 (8, 4, N).

    A bit is the sign of one of the lowest 16 x 16 coefficients of the cosine transform (pHash: Zauner 2010).
    """
    waves = scipy.fft.dctn(details.astype(np.float32), axes=(1, 2))
    return turn_hashes(np.asarray(waves)[:, :FREQUENCIES, :FREQUENCIES] > 0)


def turn_hashes(bits: NDArray[np.bool_]) -> Hashes:
    """The hashes (8, 4, N) under each of the TURNS, of signs (N, 16, 16).

    Turning a picture moves and negates coefficients, so one transform serves all turns: a quarter turn is a
    transposition and a flip, and a flip negates the odd ones.
    """
    hashes = np.empty((len(TURNS), FREQUENCIES**2 // 64, len(bits)), dtype=np.uint64)
    odd = np.arange(FREQUENCIES) % 2 == 1
    for turn in range(len(TURNS)):
        seen = bits
        for _ in range(turn % 4):
            seen = seen.transpose(0, 2, 1) ^ odd[:, None]
        seen = seen ^ odd if turn >= 4 else seen
        packed = np.ascontiguousarray(np.packbits(seen.reshape(len(seen), -1), axis=1))
        hashes[turn] = packed.view(np.uint64).T
    return hashes


def part_bits(hashes: Hashes) -> Hashes:
    """The bits of hashes (4, N) in other words, uint64 (4, N), by whether their rows and columns are even or odd.

    The words are those of even rows and even columns, even and odd, odd and even, odd and odd. To mirror a picture, or
    to turn it by 180 degrees, negates whole words of the last three.
    """
    half = FREQUENCIES // 2
    bits = np.unpackbits(np.ascontiguousarray(hashes.T).view(np.uint8), axis=1).reshape(-1, half, 2, half, 2)
    return np.packbits(bits.transpose(2, 4, 0, 1, 3).reshape(4, -1, 64), axis=2).view(np.uint64)[..., 0]


def agreement(first: Detail, second: Detail) -> NDArray[np.float64]:
    """How well details (M, SIDE, SIDE) agree in pairs: the median of the correlations of 4 x 4 tiles, (M,) in -1..1.

    The median because look-alikes agree along a frame or a busbar, and duplicates everywhere. Tiles count by the
    detail they hold, up to the average: a blank background has no vote.
    """
    one, two = _tiles(first), _tiles(second)
    one_energy, two_energy = (one * one).mean(-1), (two * two).mean(-1)
    correlation = (one * two).mean(-1) / np.sqrt(one_energy * two_energy + 1e-9)
    weight = np.minimum(np.maximum(one_energy, two_energy), 1.0)
    order = np.argsort(correlation, axis=1)
    reached = np.cumsum(np.take_along_axis(weight, order, 1), axis=1)
    middle = np.argmax(reached >= reached[:, -1:] / 2, axis=1)
    return np.take_along_axis(np.take_along_axis(correlation, order, 1), middle[:, None], 1)[:, 0].astype(np.float64)


def _tiles(details: Detail) -> NDArray[np.float32]:
    """(M, SIDE, SIDE) as float32 (M, tiles, pixels of a tile), each tile with mean 0."""
    count = SIDE // TILE
    grid = (details.astype(np.float32) / UNIT).reshape(-1, count, TILE, count, TILE)
    tiles = grid.transpose(0, 1, 3, 2, 4).reshape(len(grid), count * count, TILE * TILE)
    centred: NDArray[np.float32] = tiles - tiles.mean(-1, keepdims=True)
    return centred


def _unit(rows: NDArray[np.generic]) -> NDArray[np.float32]:
    """Rows (M, D) as float32 with mean 0 and length 1; blank rows stay zero."""
    values = rows.astype(np.float32)
    values -= values.mean(1, keepdims=True)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(values, length, out=np.zeros_like(values), where=length > 1e-6)
    return unit


def _blurred(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), dtype=np.float32)
