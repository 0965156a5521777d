"""Arrays in MATLAB and HDF5 files: what all readers of them share.

MATLAB's files before version 7.3 are a format of their own, from 7.3 on they are HDF5 with axes reversed. Either way
structures come as objects with attributes, cells and arrays of structures as arrays of objects, text as `str`.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

# What MATLAB keeps in a file of version 7.3 beside the variables.
_INTERNAL = ("#refs#", "#subsystem#")


def read_matlab(path: str | Path, *names: str, squeeze: bool = True) -> dict[str, Any]:
    """Variables of a MATLAB file of any version.

    Args:
        names: which; all of the file's where none is given.
        squeeze: leave out axes of length 1, as `scipy.io.loadmat` does.

    Raises:
        FileNotFoundError, ValueError: no such file; one that cannot be read; a variable that it has not.
    """
    import h5py

    path = _there(path)
    try:
        found = _read_73(path, names, squeeze) if h5py.is_hdf5(path) else _read_5(path, names, squeeze)
    except Exception as error:  # SciPy and h5py raise many kinds on files that are broken or not MATLAB's
        raise ValueError(f"{path} is not a MATLAB file that can be read ({error}): get the set again") from error
    if missing := [name for name in names if name not in found]:
        raise ValueError(f"{path} holds no '{missing[0]}': it is not the file it should be")
    return found


def matlab_names(path: str | Path) -> list[str]:
    """The variables of a MATLAB file of any version; what raises as in `read_matlab`."""
    import h5py
    from scipy.io import whosmat

    path = _there(path)
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

    path = _there(path)
    found: dict[str, np.ndarray] = {}

    def take(group: h5py.Group) -> None:
        for name, value in group.items():
            # What lies further up counts before what lies in a group.
            if isinstance(value, h5py.Dataset) and name not in found and (not names or name in names):
                found[name] = np.asarray(value[()])
        for value in group.values():
            if isinstance(value, h5py.Group):
                take(value)

    try:
        with h5py.File(path) as file:
            take(file)
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} is not an HDF5 file, or it is cut short ({error})") from error
    return found


def _there(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    return path


def _read_5(path: Path, names: tuple[str, ...], squeeze: bool) -> dict[str, Any]:
    from scipy.io import loadmat

    content = loadmat(path, struct_as_record=False, squeeze_me=squeeze, variable_names=names or None)
    return {name: value for name, value in content.items() if not name.startswith("__")}


def _read_73(path: Path, names: tuple[str, ...], squeeze: bool) -> dict[str, Any]:
    import h5py

    with h5py.File(path) as file:
        chosen = [name for name in names or file if name in file and name not in _INTERNAL]
        return {name: _value(file, file[name], squeeze) for name in chosen}


def _value(file: Any, item: Any, squeeze: bool) -> Any:
    """A variable, field or cell of a file of version 7.3."""
    import h5py

    kind = item.attrs.get("MATLAB_class", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if isinstance(item, h5py.Group):
        return _structure(file, item, squeeze)
    if "MATLAB_empty" in item.attrs:
        return "" if kind == "char" else np.zeros(tuple(int(n) for n in item[()]))
    if item.dtype == h5py.ref_dtype:
        return _unwrapped(_each(file, item, squeeze), squeeze)
    values = np.asarray(item[()]).T
    if kind == "char":
        lines = ["".join(map(chr, row)) for row in np.atleast_2d(values)]
        return lines[0] if len(lines) == 1 else np.array(lines)
    return _unwrapped(values, squeeze)


def _structure(file: Any, group: Any, squeeze: bool) -> Any:
    """A structure, or an array of them: its fields are then references, an element each."""
    import h5py

    fields = {name: group[name] for name in group}
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


def _each(file: Any, item: Any, squeeze: bool) -> np.ndarray:
    """What an array of references stands for."""
    references = np.asarray(item[()]).T
    found = np.empty(references.shape, object)
    for place in np.ndindex(references.shape):
        found[place] = _value(file, file[references[place]], squeeze)
    return found


def _unwrapped(values: np.ndarray, squeeze: bool) -> Any:
    """Without axes of length 1, a lone value by itself."""
    if not squeeze:
        return values
    values = np.squeeze(values)
    return values[()] if values.ndim == 0 else values
