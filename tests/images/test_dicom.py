"""Grey values of DICOM are those of the modality, and brighter is more, whatever the file says is white."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meltpoint.bit_depth import Range, choose_depths
from meltpoint.images.decode import ImageError, decode, inspect

pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
STORED = np.array([[0, 1000, 4095]], dtype=np.uint16)
TWELVE = choose_depths([Range("integer", 0, 4095)])


def dicom(values: np.ndarray, **changes: Any) -> bytes:
    """A file of one frame, uncompressed."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data, bits = FileDataset(None, {}, file_meta=meta, preamble=bytes(128)), values.dtype.itemsize * 8
    data.Rows, data.Columns = values.shape[:2]
    data.SamplesPerPixel = 3 if values.ndim == 3 else 1
    data.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    data.PlanarConfiguration = 0
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, 12 if bits == 16 else bits, 11 if bits == 16 else bits - 1
    data.PixelRepresentation = int(values.dtype.kind == "i")
    data.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    for name, value in changes.items():
        setattr(data, name, value)
    content = io.BytesIO()
    data.save_as(content, enforce_file_format=True)
    return content.getvalue()


def test_twelve_bits_are_as_bright_as_they_are(tmp_path: Path) -> None:
    content = dicom(STORED)
    (tmp_path / "one.dcm").write_bytes(content)
    assert inspect(tmp_path / "one.dcm", 1).range == Range("integer", 0, 4095)
    assert decode(content, 1, TWELVE)[0, :, 1].tolist() == [0, 62, 255]


def test_where_the_least_is_white_it_is_turned_round() -> None:
    content = dicom(STORED, PhotometricInterpretation="MONOCHROME1")
    assert decode(content, 1, TWELVE)[0, :, 0].tolist() == [255, 193, 0]


def test_values_are_rescaled(tmp_path: Path) -> None:
    hounsfield = dicom(STORED, RescaleSlope="1", RescaleIntercept="-1024")
    (tmp_path / "one.dcm").write_bytes(hounsfield)
    assert inspect(tmp_path / "one.dcm", 1).range == Range("integer", -1024, 3071)
    dose = dicom(STORED, RescaleSlope="0.25", RescaleIntercept="0.5")
    (tmp_path / "two.dcm").write_bytes(dose)
    assert inspect(tmp_path / "two.dcm", 1).range == Range("float", 0.5, 1024.25)


def test_eight_bits_and_colours_come_as_they_are() -> None:
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    np.testing.assert_array_equal(decode(dicom(grey), 1)[..., 0], grey)
    colours = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10
    np.testing.assert_array_equal(decode(dicom(colours), 1), colours)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (dicom(STORED, NumberOfFrames=2), "several pictures in one file"),
        (dicom(STORED, PhotometricInterpretation="PALETTE COLOR"), "unsupported colours"),
        (dicom(STORED)[:-4], "damaged"),
        (dicom(np.zeros((1100, 1000), dtype=np.uint8)), "too many pixels"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_read_is_told(content: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(content, 1)
    assert caught.value.reason == reason
