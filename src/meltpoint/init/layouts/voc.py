"""PASCAL VOC's layout: masks in SegmentationClass, or objects in XML files beside the images."""

import xml.etree.ElementTree as ET
from pathlib import Path

from meltpoint.init.found import Found, InitError, examples, plural, shown_path
from meltpoint.init.layouts.folder import folders_in, unwrapped
from meltpoint.init.layouts.masks import with_masks
from meltpoint.init.objects import Marked, of_objects
from meltpoint.init.pictures import is_picture
from meltpoint.tables import SPLITS

IMAGES, MASKS, OBJECTS = "JPEGImages", "SegmentationClass", "Annotations"


def find(root: Path, wanted: str | None) -> Found | None:
    """Masks at `root`, else objects; objects where `root` is the folder of XML files. None if there are neither.

    Raises:
        InitError: an XML file is none, or the images are not there.
    """
    if not root.is_dir():
        return None
    if root.name == OBJECTS and any(root.glob("*.xml")):
        return _of_xml(root.parent, root, wanted)
    top = unwrapped(root)
    if (top / IMAGES).is_dir() and (top / MASKS).is_dir() and any((top / MASKS).iterdir()):
        more = [f"{OBJECTS}/ is there too: name it, and its objects become labels of whole images"]
        return _of_masks(top, wanted, more if (top / OBJECTS).is_dir() else [])
    for folder in (top / OBJECTS, top / OBJECTS.lower(), top, *folders_in(top)):
        if folder.is_dir() and any(folder.glob("*.xml")):
            return _of_xml(top, folder, wanted)
    return None


def _of_masks(top: Path, wanted: str | None, notes: list[str]) -> Found:
    masks = sorted(path.name for path in (top / MASKS).iterdir() if is_picture(path))
    if not masks:
        raise InitError(f"{top / MASKS} holds no masks that are known. PASCAL VOC's are PNG files of class ids.")
    names = {Path(name).stem for name in masks}
    lists = {}
    for split in SPLITS:
        file = top / "ImageSets" / "Segmentation" / f"{split}.txt"
        listed = set(file.read_text("utf-8", "replace").split()) if file.is_file() else set()
        if listed & names:
            lists[split] = file.relative_to(top).as_posix()
        elif listed:
            notes = [*notes, f"{file.name} lists {plural(len(listed), 'image')}, none of which has a mask: left aside"]
    source = {
        "kind": "masks",
        "path": shown_path(top),
        "images": {"all": IMAGES},
        "masks": {"all": MASKS},
        "lists": lists or None,
        "mask_name": f"{{stem}}{Path(masks[0]).suffix}",
    }
    return with_masks(source, top, wanted, notes)


def _of_xml(top: Path, folder: Path, wanted: str | None) -> Found | None:
    """Objects of XML files; None if they are other XML."""
    files = sorted(folder.glob("*.xml"))
    trees = []
    for file in files:
        try:
            trees.append((file, ET.parse(file).getroot()))  # noqa: S314 - expat since 2.4.1 refuses what grows forever
        except ET.ParseError as error:
            raise InitError(f"{file} is no XML: {error}. Correct it, or remove it.") from None
    if not any(tree.tag == "annotation" for _, tree in trees):
        return None
    pictures: dict[str, Path] = {}  # by name and by stem; the first folder counts
    for place in (top / IMAGES, top / "images", folder, top):
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if is_picture(path):
                pictures.setdefault(path.name, path)
                pictures.setdefault(path.stem, path)
    splits: dict[str, str] = {}  # of each name that a list of ImageSets/Main has
    for split in SPLITS:
        listed = top / "ImageSets" / "Main" / f"{split}.txt"
        lines = listed.read_text("utf-8", "replace").splitlines() if listed.is_file() else []
        splits |= {line.split()[0]: split for line in lines if line.strip()}
    images, absent = [], []
    for file, tree in trees:
        named = Path((tree.findtext("filename") or "").strip()).name
        picture = pictures.get(named) or pictures.get(file.stem)
        if picture is None:
            absent.append(file.name)
            continue
        names = frozenset(name.strip() for one in tree.iter("object") if (name := one.findtext("name")))
        images.append(Marked(picture.relative_to(top).as_posix(), splits.get(file.stem), names))
    if not images:
        raise InitError(
            f"{folder} has {plural(len(files), 'XML file')}, and none of their images is in {IMAGES}/, images/ or"
            " beside them. Put the images there, under the names that the XML files give."
        )
    warnings = [f"{plural(len(absent), 'XML file')} without an image: {examples(absent)}"] if absent else []
    return of_objects("PASCAL VOC objects", top, images, {}, wanted, [], warnings)
