"""A set cropped once into one memory-mapped file, which training then reads at memory speed.

The file is in the safetensors format, so that other programs open it too. For each split it holds `images`
(uint8, n x 3 x side x side), `joints` (in these images' pixels), `presence`, `head_size` and `index`, and where the set
has part labels `parsing` (uint8, n x side x side); its metadata names the set, the skeleton, the size it was packed for
and the parts.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from posebook.compute.ending import check_stopped
from posebook.coordinates import inside
from posebook.datasets import open_dataset
from posebook.datasets.labelled import LabelledPhotographs, nearest
from posebook.datasets.photographs import GREY
from posebook.outside import existing, parse_json
from posebook.paths import check_writable, replacing
from posebook.sample import SPLITS, Dataset, Sample, torso_size
from posebook.skeleton import SKELETONS, VISIBLE

# How many windows wide the packed crops are: room for rotation, shift and a smaller scale to show what was there.
MARGIN = 1.5

FORMAT = "posebook-packed-1"

_BATCH = 64

# What each split has, as safetensors names types, with their bytes. Part labels are only in sets that have them.
_TYPES = {
    "images": ("U8", 1), "joints": ("F32", 4), "presence": ("U8", 1), "head_size": ("F32", 4), "index": ("I64", 8),
    "parsing": ("U8", 1),
}  # fmt: skip
# Where the digests of the tensors are in the metadata, and what stands there until they are known.
_DIGESTS, _UNKNOWN = "sha256", "0" * 64
# Bytes that are read at a time to check them.
_PIECE = 2**20


class Packed:
    """A split of a packed file; gives the same `Sample` as the reader it was packed from, to within resampling.

    Of a photograph of several people it has the person to find alone. A set with part labels names them in `parts`.

    Args:
        root: the file.
        split: "train", "validation" or "test".
        size: side of the images in pixels. At the size it was packed for, pixels are the reader's own.
        device: where batches go.
        widen: how many windows wide the images are, up to 1.5. `augment(..., window=)` cuts the usual window out of
            wide images after moving them, and so turns real pixels in from the border.
        resident: keep images and part labels as uint8 on the device. None does where the device is a GPU and they take
            less than half of its free memory; on a CPU the mapped file is as fast once the system holds it in memory.

    Raises:
        FileNotFoundError, ValueError: no such file; not a packed set; no such split in it; more margin than it has.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        size: int = 128,
        device: torch.device | str = "cpu",
        widen: float = 1.0,
        resident: bool | None = None,
    ) -> None:
        tensors, about = _open(Path(root), split)
        self.name, self.skeleton = about["name"], SKELETONS[about["skeleton"]]
        self.split, self.size, self.device, self.widen = split, size, torch.device(device), widen
        if "parts" in about:
            self.parts = tuple(json.loads(about["parts"]))
        pictures = {key: tensors.pop(key) for key in ("images", "parsing") if key in tensors}
        self._labels = {key: value.to(self.device) for key, value in tensors.items()}
        side = pictures["images"].shape[-1]
        # A whole number of pixels that leaves the same border on both sides.
        border = round((side - widen * int(about["size"])) / 2)
        if size < 1 or not 0 <= border < side / 2:
            most = side / int(about["size"])
            raise ValueError(f"{root} shows up to {most:g} windows; size must be 1 or more and widen in (0, {most:g}]")
        self._border, self._window = border, side - 2 * border
        pictures = {k: v[..., border : side - border, border : side - border] for k, v in pictures.items()}
        self.resident = _fits(pictures.values(), self.device) if resident is None else resident
        if self.resident:
            pictures = {key: value.to(self.device, copy=True).contiguous() for key, value in pictures.items()}
        self._images, self._parsing = pictures["images"], pictures.get("parsing")

    @property
    def length(self) -> int:
        """People in the split."""
        return len(self._images)

    @property
    def annotated(self) -> int:
        """Annotated joints of the split."""
        return int((self._labels["presence"] > 0).sum())

    @property
    def unreadable(self) -> int:
        """People of the split whose photographs could not be read when it was packed: grey, without any joint."""
        nobody = (~(self._labels["presence"] > 0).any(1)).nonzero()[:, 0].to(self._images.device)
        return sum(int((self._images[some] == GREY).flatten(1).all(1).sum()) for some in nobody.split(_BATCH))

    @property
    def outside(self) -> int:
        """Annotated joints of the split that lie outside the images, as far as the file's wider crops show them."""
        return int(((self._labels["presence"] > 0) & ~inside(self._placed(self._labels["joints"]), self.size)).sum())

    def _placed(self, joints: Float[Tensor, "b j 2"]) -> Float[Tensor, "b j 2"]:
        """The file's joints in the images' pixels."""
        return (joints - self._border) * (self.size / self._window)

    def batch(self, indices: Int[Tensor, " b"]) -> Sample:
        """The people with these numbers; IndexError where there is no such person."""
        here = indices.to(self.device)
        images = self._images.index_select(0, indices.to(self._images.device)).to(self.device, non_blocking=True)
        images = images.float().div_(255)
        if self.size != self._window:
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True).clamp_(0, 1)
        labels = {key: value[here] for key, value in self._labels.items()}
        joints = self._placed(labels["joints"])
        presence = labels["presence"] * inside(joints, self.size)
        return Sample(
            images=images,
            joints=joints,
            presence=presence,
            head_size=labels["head_size"] * (self.size / self._window),
            torso_size=torso_size(joints, presence, self.skeleton),
            index=labels["index"],
            parsing=self._parts_of(indices),
        )

    def _parts_of(self, indices: Int[Tensor, " b"]) -> UInt8[Tensor, "b s s"] | None:
        """Part labels of these people, at each pixel's centre; None where the file has none for the split."""
        if self._parsing is None:
            return None
        parsing = self._parsing.index_select(0, indices.to(self._parsing.device)).to(self.device, non_blocking=True)
        if self.size != self._window:
            places = torch.from_numpy(nearest(0, self._window, self.size)).to(self.device)
            parsing = parsing[:, places[:, None], places]
        return parsing


def pack(
    name: str,
    root: str | Path,
    out: str | Path,
    size: int = 256,
    splits: tuple[str, ...] = SPLITS,
    progress: bool = True,
) -> Path:
    """Crop a set's people once and write them into one file, for `Packed` to read.

    Crops are 1.5 windows wide and 1.5 x `size` pixels a side. The file is written beside `out` and renamed when it is
    whole, so that `out` is never half a file. Photographs that cannot be read are packed as the reader gives them:
    grey, without joints, with a warning. Part labels take a third of what images do. Two splits that are the same
    people (MPII's validation and test) are stored once. Of PASCAL, people are packed and not photographs, without those
    around them.

    Args:
        name, root: as for `open_dataset`.
        out: the file to write; one that is there is replaced.
        size: side of the crop without its margin, in pixels; even.
        splits: which splits to pack.

    Raises:
        ValueError: an odd size, a split named twice or unknown, or a set that cannot be packed.
        OSError: no room for it, another process is writing it, or what opening the set raises.
    """
    from tqdm import tqdm

    out = Path(out)
    if size < 2 or size % 2:
        raise ValueError(f"size must be even and 2 or more, not {size}")
    if name in ("figures", "packed"):
        raise ValueError(f"'{name}' is not a set of photographs: there is nothing to pack")
    if not splits or len(set(splits)) < len(splits):
        raise ValueError(f"give each split once, not {', '.join(splits) or 'none'}")
    if out.is_dir():
        raise ValueError(f"{out} is a folder: give the name of the file to write, such as {out / name}.safetensors")
    side = size + 2 * round(size * (MARGIN - 1) / 2)
    # Everybody is read once: there is nothing to keep crops for.
    wide = {split: open_dataset(name, split, root, side, widen=side / size, kept_bytes=0) for split in splits}
    stored = {split: next(s for s in splits if _same_people(wide[s], wide[split])) for split in splits}
    datasets = {split: wide[split] for split in dict.fromkeys(stored.values())}
    about = {"format": FORMAT, "name": name, "size": str(size), "stored": json.dumps(stored)}
    about["skeleton"] = next(iter(datasets.values())).skeleton.name
    if labelled := [dataset for dataset in datasets.values() if _labelled(dataset)]:
        about["parts"] = json.dumps(labelled[0].parts)
    header = _header(datasets, side, about)
    total, places = _places(header)
    check_writable(out.parent)
    free = shutil.disk_usage(out.parent).free
    if total > free:
        raise OSError(f"{out} would take {total / 1e9:.1f} GB and {out.parent} has {free / 1e9:.1f} GB free")
    with (
        replacing(out, wait=False) as part,
        part.open("wb") as file,
        tqdm(total=sum(d.length for d in datasets.values()), desc=name, unit="im", disable=not progress) as bar,
    ):
        file.write(len(header).to_bytes(8, "little") + header)
        digests = {}
        for split, dataset in datasets.items():
            digests |= {
                f"{split}.{key}": some for key, some in _write(file, dataset, places[split], bar.update).items()
            }
            unread = len({path for path in dataset.people.paths if path in dataset.broken})
            if unread == len(set(dataset.people.paths)):
                raise ValueError(f"none of the {unread:,} photographs of {name}'s {split} split can be read")
        file.seek(8)
        file.write(_header(datasets, side, about, digests))
    return out


def check(path: str | Path) -> str:
    """A sentence on what a packed file holds; reads every byte.

    Raises:
        FileNotFoundError, ValueError: no such file; not a packed set, or one whose bytes are not what was written.
    """
    path = Path(path)
    about = _about(path)
    sets = {split: Packed(path, split, size=int(about["size"])) for split in json.loads(about["stored"])}
    digests = parse_json(about[_DIGESTS], path) if _DIGESTS in about else {}
    for name, digest in digests.items():
        if _digest(path, name) != digest:
            raise ValueError(f"{path} is damaged: the bytes of {name} are not those that were written; pack it again")
    counts = [f"{some.length:,} {split}" for split, some in sets.items()]
    parts = f", with {len(json.loads(about['parts']))} part labels" if "parts" in about else ""
    # What could not be read was packed as the reader gives it.
    lost = sum(some.unreadable for some in sets.values())
    grey = f"; {lost:,} are grey images without joints, for their photographs could not be read" if lost else ""
    whole = "the file is whole" if digests else "the file is as long as it should be, and has no digests to check it by"
    return f"{path.name}: {about['name']} packed at {about['size']} pixels, {', '.join(counts)}{parts}{grey}; {whole}."


def _digest(path: Path, name: str) -> str:
    """The SHA-256 of a tensor's bytes; of a tensor that is not there, of none.

    They are read and not mapped into memory, where pages of a large file would stay for as long as there is room.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        header = file.read(int.from_bytes(file.read(8), "little"))
        start, end = json.loads(header).get(name, {"data_offsets": (0, 0)})["data_offsets"]
        file.seek(8 + len(header) + start)
        while content := file.read(min(_PIECE, end - start)):
            digest.update(content)
            start += len(content)
    return digest.hexdigest()


def _same_people(a: Dataset, b: Dataset) -> bool:
    # Where a joint is not annotated its place may be NaN, which equals nothing.
    places = (dataset.people.joints.nan_to_num() for dataset in (a, b))
    return a.people.paths == b.people.paths and torch.equal(*places)


def _labelled(dataset: Dataset) -> bool:
    return isinstance(dataset, LabelledPhotographs) and dataset.people.labels is not None


def _shapes(n: int, joints: int, side: int, labelled: bool) -> dict[str, tuple[int, ...]]:
    """The shapes of a split's tensors."""
    shapes = {"images": (n, 3, side, side), "joints": (n, joints, 2), "presence": (n, joints), "head_size": (n,)}
    return shapes | {"index": (n,)} | ({"parsing": (n, side, side)} if labelled else {})


def _header(
    datasets: dict[str, Dataset], side: int, about: dict[str, str], digests: dict[str, str] | None = None
) -> bytes:
    """The safetensors header: where each tensor lies in the file. It is as long without the digests as with them."""
    fields: dict[str, dict] = {"__metadata__": about}
    end = 0
    for split, dataset in datasets.items():
        n, joints = dataset.length, len(dataset.skeleton)
        for key, shape in _shapes(n, joints, side, _labelled(dataset)).items():
            dtype, width = _TYPES[key]
            start, end = end, end + width * torch.Size(shape).numel()
            fields[f"{split}.{key}"] = {"dtype": dtype, "shape": shape, "data_offsets": (start, end)}
    told = {name: (digests or {}).get(name, _UNKNOWN) for name in fields if name != "__metadata__"}
    fields["__metadata__"] = about | {_DIGESTS: json.dumps(told)}
    header = json.dumps(fields).encode()
    return header + b" " * (-len(header) % 8)


def _places(header: bytes) -> tuple[int, dict[str, dict[str, int]]]:
    """How long the file will be, and where each split's tensors begin in it."""
    fields = json.loads(header)
    del fields["__metadata__"]
    places: dict[str, dict[str, int]] = {}
    for name, field in fields.items():
        split, key = name.split(".")
        places.setdefault(split, {})[key] = 8 + len(header) + field["data_offsets"][0]
    return 8 + len(header) + max(field["data_offsets"][1] for field in fields.values()), places


def _write(file: BinaryIO, dataset: Dataset, places: dict[str, int], tell) -> dict[str, str]:
    """A split's tensors, each from its own place in the file on; gives their digests."""
    digests = {key: hashlib.sha256() for key in places}
    for indices in torch.arange(dataset.length).split(_BATCH):
        check_stopped()
        sample = dataset.batch(indices)
        sample.images = (sample.images * 255).round_().to(torch.uint8)
        for key in places:
            content = getattr(sample, key).numpy().tobytes()
            file.seek(places[key])
            file.write(content)
            digests[key].update(content)
            places[key] = file.tell()
        tell(len(indices))
    return {key: digest.hexdigest() for key, digest in digests.items()}


def _about(path: Path) -> dict[str, str]:
    """A packed file's metadata, checked."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(existing(path, "`posebook data pack` writes such a file"), framework="pt") as file:
            about = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a packed set, or not a whole one ({error}): pack it again") from error
    if about.get("format") != FORMAT:
        raise ValueError(f"{path} is not a packed set: `posebook data pack` writes one")
    if missing := [key for key in ("name", "size", "stored", "skeleton") if key not in about]:
        raise ValueError(f"{path} does not tell its {missing[0]}: pack it again")
    stored = parse_json(about["stored"], path)
    if about["skeleton"] not in SKELETONS or not about["size"].isdecimal() or not 0 < int(about["size"][:9]) < 10**8:
        raise ValueError(f"{path} tells of {about['skeleton']} at {about['size'][:20]} pixels: pack it again")
    if not stored or not stored.keys() <= set(SPLITS) or not all(isinstance(some, str) for some in stored.values()):
        raise ValueError(f"{path} tells of the splits {stored}: pack it again")
    parts = [] if "parts" not in about else list(parse_json(f'{{"parts": {about["parts"]}}}', path).values())
    if any(not isinstance(some, list) or not some or not all(isinstance(name, str) for name in some) for some in parts):
        raise ValueError(f"{path} tells of the parts {about['parts'][:80]}: pack it again")
    return about


def _open(path: Path, split: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """A split's tensors, mapped from the file, and the file's metadata.

    Shapes and types are checked, and the labels but not the pixels: these are too many to be read each time.
    """
    from safetensors import safe_open

    about = _about(path)
    stored = json.loads(about["stored"])
    if split not in stored:
        raise ValueError(f"{path} holds no split '{split}': it has {', '.join(stored)}")
    with safe_open(path, framework="pt") as file:
        there = {name.partition(".")[2] for name in file.keys() if name.partition(".")[0] == stored[split]}  # noqa: SIM118
        if missing := [key for key in _TYPES if key not in there and key != "parsing"]:
            raise ValueError(f"{path} lacks the {missing[0]} of its {split} split: pack it again")
        slices = {key: file.get_slice(f"{stored[split]}.{key}") for key in _TYPES if key in there}
        joints, images = len(SKELETONS[about["skeleton"]]), slices["images"].get_shape()
        wanted = _shapes(images[0] if images else 0, joints, images[-1] if images else 0, "parsing" in slices)
        for key, shape in wanted.items():
            found = tuple(slices[key].get_shape()), slices[key].get_dtype()
            if found != (shape, _TYPES[key][0]) or 0 in shape:
                raise ValueError(f"{path}: {key} of its {split} split is {found}, and must be {shape}: pack it again")
        tensors = {key: file.get_tensor(f"{stored[split]}.{key}") for key in slices}
    annotated = tensors["presence"] > 0
    if (tensors["presence"] > VISIBLE).any() or not tensors["joints"][annotated].isfinite().all():
        raise ValueError(f"{path} has joints in its {split} split that are not numbers, or neither there nor not there")
    if "parsing" in tensors and "parts" not in about:
        raise ValueError(f"{path} has part labels, and does not tell which: pack it again")
    return tensors, about


def _fits(pictures: Iterable[Tensor], device: torch.device) -> bool:
    """Whether these bytes take less than half of a GPU's free memory; False on other devices."""
    return device.type == "cuda" and sum(p.numel() for p in pictures) < torch.cuda.mem_get_info(device)[0] / 2
