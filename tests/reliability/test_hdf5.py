"""HDF5 and MATLAB files from outside: nothing of other files, no more memory than annotations take."""

from __future__ import annotations

import itertools
import time
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from damage import damaged, few, refusal
from posebook.datasets import arrays
from posebook.datasets.arrays import matlab_names, read_hdf5, read_matlab
from posebook.datasets.mpii import read_annotations
from posebook.evaluation.files import read_predictions
from small_sets.matlab import save_73
from small_sets.mpii import people, write_h5, write_mat

PREDS = np.random.default_rng(0).normal(50, 10, (5, 16, 2))


@pytest.fixture
def secret(tmp_path) -> Path:
    """A file that is somebody's own, and would do for predictions."""
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["preds"] = PREDS
    (tmp_path / "secret.bin").write_bytes(PREDS.tobytes())
    return tmp_path / "secret.h5"


def external_link(file: h5py.File, secret: Path) -> None:
    file["preds"] = h5py.ExternalLink(secret, "/preds")


def external_group(file: h5py.File, secret: Path) -> None:
    file["all"] = h5py.ExternalLink(secret, "/")


def soft_link(file: h5py.File, secret: Path) -> None:
    external_group(file, secret)
    file["preds"] = h5py.SoftLink("/all/preds")


def external_storage(file: h5py.File, secret: Path) -> None:
    file.create_dataset("preds", PREDS.shape, float, external=[(secret.with_suffix(".bin"), 0, h5py.h5f.UNLIMITED)])


def virtual(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout(PREDS.shape, float)
    layout[:] = h5py.VirtualSource(secret, "preds", PREDS.shape)
    file.create_virtual_dataset("preds", layout)


def read(path: Path) -> None:
    read_predictions(path, 5, 16)


@pytest.mark.parametrize("made", [external_link, external_group, soft_link, external_storage, virtual])
@pytest.mark.parametrize("ending", [".h5", ".mat"])
def test_nothing_of_another_file_is_read(tmp_path, secret, made, ending):
    path = tmp_path / f"a{ending}"
    with h5py.File(path, "w") as file:
        made(file, secret)
    with pytest.raises(ValueError, match=rf"a\{ending} .*(elsewhere|lies in another file|no 'preds')"):
        read(path)


def claims(file: h5py.File) -> None:
    file.create_dataset("preds", (10**6, 10**6), float, chunks=(1, 1), compression="gzip")


def chunk(file: h5py.File) -> None:
    file.create_dataset("preds", PREDS.shape, float, chunks=(2**15, 2**10, 2), maxshape=(None, None, None))


def references(file: h5py.File) -> None:
    """Cells of cells of cells: each names the one below a hundred times."""
    below = file.create_dataset("#refs#/0", data=np.zeros(1))
    for depth in range(1, 12):
        below = file.create_dataset(f"#refs#/{depth}", data=np.array([below.ref] * 100, h5py.ref_dtype))
    file["preds"] = np.array([below.ref], h5py.ref_dtype)


def itself(file: h5py.File) -> None:
    file["preds"] = np.array([file.ref], h5py.ref_dtype)
    file["#refs#"] = file["/"]


def names(file: h5py.File) -> None:
    file["preds"] = PREDS
    file.create_dataset("imgname", (10**9,), h5py.string_dtype(), chunks=(10,))


@pytest.mark.parametrize("made", [claims, chunk, references, itself, names])
@pytest.mark.parametrize("ending", [".h5", ".mat"])
def test_small_files_take_neither_memory_nor_time(tmp_path, made, ending):
    path = tmp_path / f"a{ending}"
    with h5py.File(path, "w") as file:
        made(file)
    assert path.stat().st_size < 100_000
    begin = time.monotonic()
    tracemalloc.start()
    with pytest.raises(ValueError, match=rf"a\{ending} "):
        read(path)
    assert tracemalloc.get_traced_memory()[1] < 600e6
    tracemalloc.stop()
    assert time.monotonic() - begin < 20


def test_a_group_within_itself_is_read_once(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("results")
        for name in "abcdefgh":
            group[name] = group
        group["preds"] = PREDS
    assert read_hdf5(tmp_path / "a.h5")["preds"].shape == PREDS.shape


def test_a_text_named_many_times_counts_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "MOST_BYTES", 2**20)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["imgname"] = np.array(["n" * 1000] * 2000, object)
    with pytest.raises(ValueError, match=r"a\.h5.* more than the 1 MB"):
        read_hdf5(tmp_path / "a.h5")


def test_a_compressed_matlab_file_that_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch):
    savemat(tmp_path / "a.mat", {"preds": np.zeros((2**22,))}, do_compression=True)
    assert (tmp_path / "a.mat").stat().st_size < 100_000
    assert read_matlab(tmp_path / "a.mat")["preds"].shape == (2**22,)
    monkeypatch.setattr(arrays, "MOST_BYTES", 2**24)
    with pytest.raises(ValueError, match=r"a\.mat is not a MATLAB file that can be read .* more than the 17 MB"):
        read_matlab(tmp_path / "a.mat")


def test_predictions_of_many_axes_are_refused_at_once(tmp_path):
    for number, shape in enumerate([(5, 16, 2, *[1] * 9), (5, 16, 2, 1), (160,), ()]):
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w") as file:
            file["preds"] = np.zeros(shape)
        begin = time.monotonic()
        with pytest.raises(ValueError, match="the annotations need 5 x 16 x 2"):
            read(path)
        assert time.monotonic() - begin < 2


def test_names_of_other_shapes_are_left_aside(tmp_path):
    for number, named in enumerate([3.0, np.zeros(4), np.zeros((5, 0))]):
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w") as file:
            file["preds"], file["imgname"] = PREDS, named
        refusal(path, path.read_bytes(), lambda path: read_predictions(path, 5, 16, [f"{k}.jpg" for k in range(5)]))


def whole(folder: Path) -> dict[str, bytes]:
    """Annotations of each kind."""
    write_h5(folder / "a.h5", people(3))
    write_mat(folder / "a.mat", people(3))
    save_73(folder / "b.mat", {"preds": PREDS, "tags": {"x": "abc", "y": np.array([[1.0]])}})
    savemat(folder / "c.mat", {"preds": PREDS}, do_compression=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["a.h5", "a.mat", "b.mat", "c.mat"])
@few
@given(data=st.data())
def test_damaged_files_are_read_or_refused(tmp_path_factory, name, data):
    folder = tmp_path_factory.mktemp("whole")
    content = data.draw(damaged(whole(folder)[name]))
    readers = [read_annotations] if name.startswith("a") else [read_matlab, matlab_names, read]
    for reader in itertools.chain(readers, [read_hdf5] if name == "a.h5" else []):
        refusal(folder / name, content, reader)
