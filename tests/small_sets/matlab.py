"""MATLAB's files of version 7.3, written as MATLAB does: HDF5 with axes reversed and cells as references."""

from __future__ import annotations

import itertools
from pathlib import Path

import h5py
import numpy as np

_NUMBERS = itertools.count()


def save_73(path: Path, variables: dict) -> None:
    """Numbers, text, cells (arrays of objects), structures (dictionaries) and arrays of them (lists)."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_group("#refs#")
        for name, value in variables.items():
            if not name.startswith("__"):
                _write(file, file, name, value)
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def _write(file: h5py.File, group: h5py.Group, name: str, value) -> None:
    fields = getattr(value, "_fieldnames", None)
    if fields:  # as SciPy gives structures
        value = {field: getattr(value, field) for field in fields}
    if isinstance(value, np.ndarray) and value.dtype == object and value.size and hasattr(value.flat[0], "_fieldnames"):
        if value.size == 1:
            return _write(file, group, name, value.flat[0])
        value = [{field: getattr(some, field) for field in some._fieldnames} for some in value.ravel()]
    if isinstance(value, dict):
        made = group.create_group(name)
        made.attrs["MATLAB_class"] = np.bytes_("struct")
        for field, some in value.items():
            _write(file, made, field, some)
    elif isinstance(value, list):
        made = group.create_group(name)
        made.attrs["MATLAB_class"] = np.bytes_("struct")
        for field in dict.fromkeys(field for some in value for field in some):
            column = [some.get(field, np.zeros((0, 0))) for some in value]
            made[field] = np.array([[_reference(file, some)] for some in column], h5py.ref_dtype)
    elif isinstance(value, np.ndarray) and value.dtype == object:
        references = np.array([_reference(file, some) for some in value.ravel()], h5py.ref_dtype)
        group[name] = references.reshape(value.shape).T
        group[name].attrs["MATLAB_class"] = np.bytes_("cell")
    elif isinstance(value, str) or (isinstance(value, np.ndarray) and value.dtype.kind == "U"):
        text = value if isinstance(value, str) else "".join(value.ravel())
        group[name] = np.array([[ord(letter)] for letter in text], np.uint16)
        group[name].attrs["MATLAB_class"] = np.bytes_("char")
    else:
        array = np.atleast_2d(np.asarray(value))
        if array.size == 0:
            group[name] = np.array(array.shape, np.uint64)
            group[name].attrs["MATLAB_empty"] = np.uint8(1)
        else:
            group[name] = array.T
        group[name].attrs["MATLAB_class"] = np.bytes_({"f": "double", "u": "uint8", "i": "int32"}[array.dtype.kind])
    return None


def _reference(file: h5py.File, value) -> h5py.Reference:
    name = f"r{next(_NUMBERS)}"
    _write(file, file["#refs#"], name, value)
    return file["#refs#"][name].ref
