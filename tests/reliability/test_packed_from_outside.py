"""Packed files whose bytes or words are not what was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from damage import damaged, few, refusal
from posebook.datasets.packed import Packed, check, pack
from small_sets.mpii import people, write_h5


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("mpii")
    write_h5(root / "valid.h5", people(5))
    (root / "images").mkdir()
    for number in range(5):
        Image.new("RGB", (500, 500), (9 * number, 90, 200)).save(root / f"images/{number:09d}.jpg")
    return pack("mpii", root, root / "a.pack", 32, ("test",), progress=False)


def changed(whole: Path, folder: Path, about: dict | None = None, **tensors: torch.Tensor | None) -> Path:
    """The file with other words, or with other tensors: None leaves one out."""
    with safe_open(whole, framework="pt") as file:
        words = {key: value for key, value in (file.metadata() | (about or {})).items() if value is not None}
    found = load_file(whole) | {f"test.{key}": value for key, value in tensors.items()}
    save_file({key: value for key, value in found.items() if value is not None}, folder / "b.pack", words)
    return folder / "b.pack"


def test_a_quarter_of_zeros_is_found(whole, tmp_path):
    content = bytearray(whole.read_bytes())
    assert check(whole).endswith("the file is whole.")
    start, quarter = len(content) // 3, len(content) // 4
    content[start : start + quarter] = bytes(quarter)
    (tmp_path / "b.pack").write_bytes(content)
    with pytest.raises(ValueError, match=r"b\.pack is damaged: the bytes of test\.images"):
        check(tmp_path / "b.pack")


def test_a_file_without_digests_says_so(whole, tmp_path):
    assert "has no digests to check it by" in check(changed(whole, tmp_path, {"sha256": None}))


def test_other_tensors_are_refused_when_it_is_opened(whole, tmp_path):
    found = {key.partition(".")[2]: value for key, value in load_file(whole).items()}
    odd = {
        "joints": [found["joints"] * torch.nan, found["joints"].double(), found["joints"][:, :14].clone()],
        "presence": [found["presence"] + 9, found["presence"][:3].clone(), None],
        "index": [found["index"].int()],
        "images": [found["images"][:, :2].clone(), found["images"].float(), found["images"][..., 1:].clone()],
        "head_size": [found["head_size"][:, None].clone()],
        "parsing": [found["images"][:, 0].clone()],
    }
    for key, values in odd.items():
        for value in values:
            with pytest.raises(ValueError, match=r"b\.pack"):
                Packed(changed(whole, tmp_path, **{key: value}), "test", 32)


@pytest.mark.parametrize(
    "about",
    [{"skeleton": "lsp"}, {"skeleton": "spiders"}, {"skeleton": None}, {"size": "large"}, {"size": "9" * 5000},
     {"size": "0"}, {"stored": "{"}, {"stored": "[]"}, {"stored": "{}"}, {"stored": '{"test": 3}'},
     {"stored": '{"all": "test"}'}, {"stored": '{"test": "train"}'}, {"parts": "3"}, {"parts": "{"}, {"parts": "[]"},
     {"sha256": "[]"}, {"sha256": "{"}, {"sha256": '{"test.images": 3}'}, {"format": "other"}, {"name": None}],
    ids=json.dumps,
)  # fmt: skip
def test_other_words_are_refused(whole, tmp_path, about):
    path = changed(whole, tmp_path, about)
    with pytest.raises(ValueError, match=r"b\.pack"):
        check(path)


@few
@given(data=st.data())
def test_no_damaged_file_is_called_whole(whole, tmp_path, data):
    content = data.draw(damaged(whole.read_bytes()))
    said = []
    refused = refusal(tmp_path / "a.pack", content, lambda path: said.append(check(path)))
    # Bits turned over in the words (the set's name, the parts') leave the numbers whole.
    assert refused or content[2000:] == whole.read_bytes()[2000:]
