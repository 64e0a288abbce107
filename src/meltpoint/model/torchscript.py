"""The tensors in a TorchScript archive, such as OpenAI published CLIP in, by their names: nothing in it is run.

Its list of modules is a pickle, which is taken for a list of instructions: those that name, nest and fill in things are
followed here, and what the others would call or make is written down, never called.
"""

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile, is_zipfile

import torch
from torch import Tensor

from meltpoint.errors import UserError

STORAGE = "storage"
DTYPES = {
    "torch FloatStorage": torch.float32, "torch HalfStorage": torch.float16, "torch BFloat16Storage": torch.bfloat16,
    "torch DoubleStorage": torch.float64, "torch LongStorage": torch.int64, "torch IntStorage": torch.int32,
    "torch ShortStorage": torch.int16, "torch CharStorage": torch.int8, "torch ByteStorage": torch.uint8,
    "torch BoolStorage": torch.bool,
}  # fmt: skip


class TorchScriptError(UserError, ValueError):
    """The archive cannot be read as modules with tensors."""


@dataclass(eq=False)
class Noted:
    """What an instruction would have made: of what, of which arguments, filled with which state."""

    of: str
    arguments: Any = ()
    state: Any = None


def is_torchscript(path: Path) -> bool:
    """Whether the file is an archive with a program in it; one of `torch.save` has none."""
    if not is_zipfile(path):
        return False
    with ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """The tensors of all modules by name, `visual.conv1.weight`, in the file's order.

    Raises:
        TorchScriptError: an instruction that is not known, a tensor that is not all there, or compressed content.
    """
    try:
        with ZipFile(path) as archive:
            root = next(name for name in archive.namelist() if name.endswith("/constants.pkl")).rpartition("/")[0]
            return dict(_named(_follow(_read(archive, f"{root}/data.pkl")), archive, f"{root}/data"))
    except Exception as error:  # zip, struct, index, key and torch's own errors: the file is not what it should be
        raise TorchScriptError(
            f"{path} is a TorchScript archive that cannot be read: {type(error).__name__}: {str(error)[:200]}. No"
            " program in it is run; its tensors are read as data, as torch.jit.save of version 1.6 and later writes"
            " them. Get the file again, or save its state_dict as .safetensors."
        ) from error


def _read(archive: ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.compress_type != ZIP_STORED:  # torch compresses nothing, and a small file could grow without end
        raise ValueError(f"{name} is compressed")
    return archive.read(info)


def _follow(instructions: bytes) -> Any:
    """What the pickle describes, as numbers, words, tuples, lists, dicts and `Noted`."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    for opcode, argument, _ in pickletools.genops(instructions):
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "GLOBAL":
                stack.append(Noted(str(argument)))
            case "MARK":
                marks.append(len(stack))
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode.name])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE" | "SHORT_BINUNICODE":
                stack.append(argument)
            case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT":
                stack.append({"EMPTY_TUPLE": (), "EMPTY_LIST": [], "EMPTY_DICT": {}}[opcode.name])
            case "TUPLE":
                stack.append(tuple(since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "APPEND" | "APPENDS":
                items = since_mark() if opcode.name == "APPENDS" else [stack.pop()]
                stack[-1].extend(items)
            case "SETITEM" | "SETITEMS":
                items = since_mark() if opcode.name == "SETITEMS" else [stack.pop(-2), stack.pop()]
                stack[-1].update(zip(items[::2], items[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "BINPERSID":
                stack.append(Noted(STORAGE, stack.pop()))
            case "REDUCE" | "NEWOBJ":
                arguments = stack.pop()
                stack.append(Noted(stack.pop().of, arguments))
            case "BUILD":
                state = stack.pop()
                stack[-1].state = state
            case "STOP":
                return stack.pop()
            case _:
                raise ValueError(f"instruction {opcode.name}")
    raise ValueError("no end")


def _named(module: Noted, archive: ZipFile, folder: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in a module and those inside it, each module once."""
    storages: dict[str, Tensor] = {}
    waiting, seen = [("", module)], set[int]()
    while waiting:
        prefix, current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        for name, value in current.state.items():
            match value:
                case Noted(of="torch._utils _rebuild_tensor_v2", arguments=(storage, offset, size, stride, *_)):
                    _, kind, key, _, count = storage.arguments
                    if key not in storages:
                        storages[key] = _storage(_read(archive, f"{folder}/{key}"), DTYPES[kind.of], count)
                    yield f"{prefix}{name}", storages[key].as_strided(size, stride, offset)
                case Noted(state=dict()):
                    waiting.append((f"{prefix}{name}.", value))


def _storage(content: bytes, dtype: torch.dtype, count: int) -> Tensor:
    numbers = torch.frombuffer(bytearray(content), dtype=dtype) if content else torch.empty(0, dtype=dtype)
    if len(numbers) != count:
        raise ValueError(f"a tensor has {len(numbers)} numbers and not {count}")
    return numbers
