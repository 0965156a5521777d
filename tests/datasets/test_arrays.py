"""MATLAB's files of either kind, and HDF5's: the same values, whichever way they were written."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from posebook.datasets.arrays import matlab_names, read_hdf5, read_matlab
from posebook.datasets.mpii import read_annotations
from small_sets.matlab import save_73
from small_sets.mpii import people, write_mat


def cells(values: list) -> np.ndarray:
    made = np.empty((1, len(values)), object)
    made[0] = values
    return made


CONTENT = {
    "numbers": np.arange(24.0).reshape(2, 3, 4),
    "row": np.array([[1.0, 2.0, 3.0]]),
    "one": np.array([[7.0]]),
    "text": "abc",
    "nothing": np.zeros((0, 0)),
    "tags": cells(["hat", "coat", "left shoe"]),
    "mixed": cells([np.array([[1.0, 2.0]]), "x", cells(["deep"])]),
    "person": {"name": "a.jpg", "scale": 1.5, "inner": {"x": 3.0}},
    "people": [{"id": 1.0, "x": 2.0}, {"id": 5.0, "x": np.array([[3.0, 4.0]])}],
}


def plain(value):
    """Structures as dictionaries, arrays of objects as lists, for comparison."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [plain(some) for some in value.ravel()]
    if hasattr(value, "_fieldnames"):
        return {name: plain(getattr(value, name)) for name in value._fieldnames}
    if hasattr(value, "__dict__"):
        return {name: plain(some) for name, some in vars(value).items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("squeeze", [True, False])
def test_both_kinds_of_matlab_file_hold_the_same(tmp_path, squeeze):
    old, new = tmp_path / "old.mat", tmp_path / "new.mat"
    structures = np.array([(1.0, 2.0), (5.0, np.array([[3.0, 4.0]]))], dtype=[("id", object), ("x", object)])
    savemat(old, CONTENT | {"people": structures})
    save_73(new, CONTENT)
    assert sorted(matlab_names(new)) == sorted(matlab_names(old)) == sorted(CONTENT)
    first, second = (read_matlab(path, squeeze=squeeze) for path in (old, new))
    for name in ("numbers", "row", "one"):
        np.testing.assert_array_equal(first[name], second[name])
    if squeeze:
        for name in set(CONTENT) - {"numbers", "row", "nothing"}:
            assert plain(first[name]) == plain(second[name]), name
        assert second["people"][1].x.tolist() == [3.0, 4.0]
        assert (second["text"], second["person"].inner.x, second["one"]) == ("abc", 3.0, 7.0)
    assert list(read_matlab(new, "row", "one")) == ["row", "one"]


def test_the_official_annotations_read_the_same_from_the_new_kind(tmp_path):
    fields = people(5)
    write_mat(tmp_path / "old.mat", fields)
    save_73(tmp_path / "new.mat", loadmat(tmp_path / "old.mat", struct_as_record=False, squeeze_me=False))
    old, new = (read_annotations(tmp_path / f"{name}.mat") for name in ("old", "new"))
    assert old.images == new.images
    for field in ("joints", "presence", "centre", "scale", "head_size"):
        np.testing.assert_array_equal(getattr(old, field), getattr(new, field))


def test_arrays_in_groups_are_found_and_those_above_come_first(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["results/deep/preds"] = np.ones(3)
        file["results/other"] = np.zeros(2)
        file["preds"] = np.full(4, 2.0)
    found = read_hdf5(tmp_path / "a.h5")
    assert {name: value.tolist() for name, value in found.items()} == {"preds": [2.0] * 4, "other": [0.0, 0.0]}
    assert list(read_hdf5(tmp_path / "a.h5", "other")) == ["other"]


def test_files_that_are_something_else_are_named(tmp_path):
    for path in (tmp_path / "a.mat", tmp_path / "a.h5"):
        with pytest.raises(FileNotFoundError, match=f"{path} does not exist"):
            (read_matlab if path.suffix == ".mat" else read_hdf5)(path)
        path.write_bytes(b"text")
    for read in (read_matlab, matlab_names):
        with pytest.raises(ValueError, match=r"a\.mat is not a MATLAB file that can be read"):
            read(tmp_path / "a.mat")
    with pytest.raises(ValueError, match=r"a\.h5 is not an HDF5 file"):
        read_hdf5(tmp_path / "a.h5")
    savemat(tmp_path / "b.mat", {"x": 1.0})
    with pytest.raises(ValueError, match=r"b\.mat holds no 'joints'"):
        read_matlab(tmp_path / "b.mat", "joints")
