"""PASCAL VOC's layout: masks in SegmentationClass, or objects in XML files beside the images."""

import xml.etree.ElementTree as ET
from pathlib import Path

from meltpoint.init.found import Found, InitError, Wish, examples, plural, shown_path
from meltpoint.init.layouts.folder import folders_in, unwrapped
from meltpoint.init.layouts.masks import with_masks
from meltpoint.init.objects import Marked, of_objects
from meltpoint.init.pictures import is_picture

IMAGES, MASKS, OBJECTS = "JPEGImages", "SegmentationClass", "Annotations"
SPLITS = ("train", "val", "test")


def find(root: Path, wish: Wish) -> Found | None:
    """Masks at `root`, else objects; objects where `root` is the folder of XML files. None if there are neither.

    Raises:
        InitError: an XML file is none, or the images are not there.
    """
    if not root.is_dir():
        return None
    if root.name == OBJECTS and any(root.glob("*.xml")):
        return _of_xml(root.parent, root, wish, [])
    top = unwrapped(root)
    if (top / IMAGES).is_dir() and (top / MASKS).is_dir() and any((top / MASKS).iterdir()):
        more = [f"{OBJECTS}/ is there too: name it, and its objects become labels of whole images"]
        return _of_masks(top, wish, more if (top / OBJECTS).is_dir() else [])
    for folder in (top / OBJECTS, top / OBJECTS.lower(), top, *folders_in(top)):
        if folder.is_dir() and any(folder.glob("*.xml")):
            return _of_xml(top, folder, wish, [])
    return None


def _of_masks(top: Path, wish: Wish, says: list[str]) -> Found:
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
            says = [*says, f"{file.name} lists {plural(len(listed), 'image')}, none of which has a mask: left aside"]
    source = {
        "kind": "masks",
        "path": shown_path(top),
        "images": {"all": IMAGES},
        "masks": {"all": MASKS},
        "lists": lists or None,
        "mask_name": f"{{stem}}{Path(masks[0]).suffix}",
    }
    return with_masks(source, top, wish, says)


def _of_xml(top: Path, folder: Path, wish: Wish, says: list[str]) -> Found | None:
    """Objects of XML files; None if they are other XML."""
    files = sorted(folder.glob("*.xml"))
    trees = [(file, _tree(file)) for file in files]
    if not any(tree.tag == "annotation" for _, tree in trees):
        return None
    held = _pictures([top / IMAGES, top / "images", folder, top])
    splits = _splits(top)
    images, absent = [], []
    for file, tree in trees:
        named = Path((tree.findtext("filename") or "").strip()).name
        place = held.get(named) or held.get(file.stem)
        if place is None:
            absent.append(file.name)
            continue
        names = frozenset(name.strip() for one in tree.iter("object") if (name := one.findtext("name")))
        images.append(Marked(place.relative_to(top).as_posix(), splits.get(file.stem), names))
    if not images:
        raise InitError(
            f"{folder} has {plural(len(files), 'XML file')}, and none of their images is in {IMAGES}/, images/ or"
            " beside them. Put the images there, under the names that the XML files give."
        )
    warns = [f"{plural(len(absent), 'XML file')} without an image: {examples(absent)}"] if absent else []
    return of_objects("PASCAL VOC objects", top, images, {}, wish, says, warns)


def _tree(file: Path) -> ET.Element:
    try:
        return ET.parse(file).getroot()  # noqa: S314 - expat since 2.4.1 refuses what grows without end
    except ET.ParseError as error:
        raise InitError(f"{file} is no XML: {error}. Mend it, or take it away.") from None


def _pictures(folders: list[Path]) -> dict[str, Path]:
    """Pictures by name and by stem; the first folder counts."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if is_picture(path):
                found.setdefault(path.name, path)
                found.setdefault(path.stem, path)
    return found


def _splits(top: Path) -> dict[str, str]:
    """The split of each name that a list of ImageSets/Main has."""
    lists = {split: top / "ImageSets" / "Main" / f"{split}.txt" for split in SPLITS}
    return {
        line.split()[0]: split
        for split, file in lists.items()
        if file.is_file()
        for line in file.read_text("utf-8", "replace").splitlines()
        if line.strip()
    }
