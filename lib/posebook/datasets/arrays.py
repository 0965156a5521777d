"""Arrays in MATLAB and HDF5 files: what all readers of them share.

MATLAB's files before version 7.3 are a format of their own, from 7.3 on they are HDF5 with axes reversed. Either way
structures come as objects with attributes, cells and arrays of structures as arrays of objects, text as `str`.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from posebook.outside import existing

# Annotations and predictions take megabytes: a file that unpacks to more than this is none of theirs.
MOST_BYTES = 2**28

# What MATLAB keeps in a file of version 7.3 beside the variables.
_INTERNAL = ("#refs#", "#subsystem#")

# The type of a compressed variable in files of before version 7.3; bytes that are unpacked at a time.
_COMPRESSED, _PIECE = 15, 2**20


def read_matlab(path: str | Path, *names: str, squeeze: bool = True) -> dict[str, Any]:
    """Variables of a MATLAB file of any version.

    Args:
        names: which; all of the file's where none is given.
        squeeze: leave out axes of length 1, as `scipy.io.loadmat` does.

    Raises:
        FileNotFoundError, ValueError: no such file; one that cannot be read; a variable that it has not.
    """
    import h5py

    path = existing(path)
    try:
        if h5py.is_hdf5(path):
            with _Reader(path) as reader:
                chosen = [name for name in names or reader.file if name in reader.file and name not in _INTERNAL]
                found = {name: _value(reader, reader.item(reader.file, name), squeeze) for name in chosen}
        else:
            found = _read_5(path, names, squeeze)
    except Exception as error:  # SciPy and h5py raise many kinds on files that are broken or not MATLAB's
        raise ValueError(f"{path} is not a MATLAB file that can be read ({error}): get the set again") from error
    if missing := [name for name in names if name not in found]:
        raise ValueError(f"{path} holds no '{missing[0]}': it is not the file it should be")
    return found


def matlab_names(path: str | Path) -> list[str]:
    """The variables of a MATLAB file of any version; what raises as in `read_matlab`."""
    import h5py
    from scipy.io import whosmat

    path = existing(path)
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path) as file:
                return [name for name in file if name not in _INTERNAL]
        return [name for name, *_ in whosmat(path)]
    except Exception as error:
        raise ValueError(f"{path} is not a MATLAB file that can be read ({error}): get the set again") from error


def read_hdf5(path: str | Path, *names: str) -> dict[str, np.ndarray]:
    """Arrays in an HDF5 file, by name; those in its groups too, by the last part of the name.

    Args:
        names: which; all of the file's where none is given.

    Raises:
        FileNotFoundError, ValueError: no such file; one that is not HDF5 or cut short.
    """
    import h5py

    path = existing(path)
    found: dict[str, np.ndarray] = {}
    seen = set()

    def take(group: h5py.Group) -> None:
        # A group may lie within itself.
        if (place := h5py.h5o.get_info(group.id).addr) in seen:
            return
        seen.add(place)
        items = {name: reader.item(group, name) for name in group}
        for name, value in items.items():
            # What lies further up counts before what lies in a group.
            if isinstance(value, h5py.Dataset) and name not in found and (not names or name in names):
                found[name] = reader.read(value)
        for value in items.values():
            if isinstance(value, h5py.Group):
                take(value)

    try:
        with _Reader(path) as reader:
            take(reader.file)
    except Exception as error:  # h5py raises many kinds on files that are broken
        raise ValueError(f"{path} is not an HDF5 file, or it is cut short ({error})") from error
    return found


class _Reader:
    """An HDF5 file from which no more than `MOST_BYTES` are read, and nothing that lies in another file."""

    def __init__(self, path: Path) -> None:
        import h5py

        self.file, self.size, self.left = h5py.File(path), path.stat().st_size, MOST_BYTES
        self.known: dict[int, Any] = {}

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *error) -> None:
        self.file.close()

    def item(self, group: Any, name: str) -> Any:
        """What a group holds under a name; ValueError for what leads elsewhere, perhaps into another file."""
        import h5py

        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"its {name} is a link to what lies elsewhere")
        return group[name]

    def read(self, item: Any) -> np.ndarray:
        """All of a dataset's values; ValueError where they are elsewhere, or too many with what was read before."""
        import h5py

        if item.external or item.is_virtual:
            raise ValueError(f"what its {item.name} holds lies in another file")
        self.take((item.size or 1) * item.dtype.itemsize, math.prod(item.chunks or ()) * item.dtype.itemsize)
        if item.dtype.kind == "O" and h5py.check_string_dtype(item.dtype) is not None and item.shape:
            # Each text may be as long as the file, and all of them the same one: a few at a time.
            step, parts = max(1, MOST_BYTES // self.size // max(1, math.prod(item.shape[1:]))), []
            for start in range(0, len(item), step):
                parts.append(item[start : start + step])
                self.take(sum(len(text) for text in parts[-1].ravel()))
            return np.concatenate(parts) if parts else np.empty(item.shape, object)
        if item.dtype.hasobject and h5py.check_ref_dtype(item.dtype) is None:
            raise ValueError(f"{item.name} holds lists of many lengths")
        return np.asarray(item[()])

    def take(self, taken: int, beside: int = 0) -> None:
        """Count bytes that are to be kept, and look for room for those that are not."""
        self.left -= taken
        if self.left < beside:
            raise ValueError(f"it unpacks to more than the {MOST_BYTES / 1e6:.0f} MB that annotations take")


def _read_5(path: Path, names: tuple[str, ...], squeeze: bool) -> dict[str, Any]:
    from scipy.io import loadmat

    _check_size(path)
    content = loadmat(path, struct_as_record=False, squeeze_me=squeeze, variable_names=names or None)
    return {name: value for name, value in content.items() if not name.startswith("__")}


def _check_size(path: Path) -> None:
    """ValueError for a file of before version 7.3 whose variables unpack to more than `MOST_BYTES`."""
    with path.open("rb") as file:
        head = file.read(128)
        # Files of version 4 are not compressed.
        if len(head) < 128 or head[126:128] not in (b"IM", b"MI"):
            return
        order, left = "<" if head[126:128] == b"IM" else ">", MOST_BYTES
        while len(tag := file.read(8)) == 8:
            kind, length = struct.unpack(f"{order}II", tag)
            if kind != _COMPRESSED:
                file.seek(length, os.SEEK_CUR)
                continue
            unpacker, end = zlib.decompressobj(), file.tell() + length
            while file.tell() < end and (content := file.read(min(_PIECE, end - file.tell()))):
                while content:
                    left -= len(unpacker.decompress(content, _PIECE))
                    if left < 0:
                        raise ValueError(f"it unpacks to more than the {MOST_BYTES / 1e6:.0f} MB that annotations take")
                    content = unpacker.unconsumed_tail
            file.seek(end)


def _value(file: _Reader, item: Any, squeeze: bool) -> Any:
    """A variable, field or cell of a file of version 7.3."""
    import h5py

    kind = item.attrs.get("MATLAB_class", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if isinstance(item, h5py.Group):
        return _structure(file, item, squeeze)
    if "MATLAB_empty" in item.attrs:
        shape = tuple(int(n) for n in file.read(item))
        if math.prod(shape):
            raise ValueError(f"{item.name} is empty, and of {shape}")
        return "" if kind == "char" else np.zeros(shape)
    if item.dtype == h5py.ref_dtype:
        return _unwrapped(_each(file, item, squeeze), squeeze)
    values = file.read(item).T
    if kind == "char":
        lines = ["".join(map(chr, row)) for row in np.atleast_2d(values)]
        return lines[0] if len(lines) == 1 else np.array(lines)
    return _unwrapped(values, squeeze)


def _structure(file: _Reader, group: Any, squeeze: bool) -> Any:
    """A structure, or an array of them: its fields are then references, an element each."""
    import h5py

    fields = {name: file.item(group, name) for name in group}
    several = [
        item
        for item in fields.values()
        if isinstance(item, h5py.Dataset) and item.dtype == h5py.ref_dtype and "MATLAB_class" not in item.attrs
    ]
    if not several or len(several) < len(fields):
        return SimpleNamespace(**{name: _value(file, item, squeeze) for name, item in fields.items()})
    columns = {name: _each(file, item, squeeze) for name, item in fields.items()}
    made = np.empty(next(iter(columns.values())).shape, object)
    for place in np.ndindex(made.shape):
        made[place] = SimpleNamespace(**{name: column[place] for name, column in columns.items()})
    return _unwrapped(made, squeeze)


def _each(file: _Reader, item: Any, squeeze: bool) -> np.ndarray:
    """What an array of references stands for; what several of them name is read once."""
    references = file.read(item).T
    found = np.empty(references.shape, object)
    for place in np.ndindex(references.shape):
        found[place] = _referred(file, file.file[references[place]], squeeze)
    return found


def _referred(file: _Reader, item: Any, squeeze: bool) -> Any:
    """What a reference stands for; ValueError where it leads back to itself."""
    import h5py

    place = h5py.h5o.get_info(item.id).addr
    if place not in file.known:
        file.known[place] = _Reader  # until it is read
        file.known[place] = _value(file, item, squeeze)
    if file.known[place] is _Reader:
        raise ValueError(f"{item.name} lies within itself")
    return file.known[place]


def _unwrapped(values: np.ndarray, squeeze: bool) -> Any:
    """Without axes of length 1, a lone value by itself."""
    if not squeeze:
        return values
    values = np.squeeze(values)
    return values[()] if values.ndim == 0 else values
