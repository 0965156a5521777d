"""What `posebook predict` reads and writes: photographs, folders, boxes; each photograph succeeds or fails alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from posebook.cli import main
from posebook.datasets.labelled import read_png
from posebook.evaluation import inference
from posebook.papers import create
from posebook.pictures import photographs
from posebook.pictures.label_maps import save_label_map
from posebook.pictures.photographs import find_photographs, match_boxes, read_boxes, save_pose_picture, write_prediction
from posebook.skeleton import MPII, PARTS
from posebook.training.checkpoint import save_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    torch.manual_seed(0)
    model = create("hourglass", size=32, stacks=1, features=8, depth=1)
    return str(save_weights(tmp_path_factory.mktemp("weights") / "weights", model, "hourglass", "mpii", {}))


def photograph(path: Path, size: tuple[int, int] = (60, 40)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.linear_gradient("L").resize(size).convert("RGB").save(path)
    return path


def run(weights: str, *arguments: object):
    done = CliRunner().invoke(main, ["predict", "--weights", weights, *map(str, arguments)])
    assert "Traceback" not in done.output
    return done


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_one_bad_photograph_does_not_end_the_batch(tmp_path, weights, monkeypatch):
    """Whatever is raised, the photographs after it are done, and the end says how many were not."""
    good, wide = photograph(tmp_path / "good.png"), tmp_path / "wide.png"
    Image.new("RGB", (30_000, 400)).save(wide)
    broken, evil = tmp_path / "broken.png", photograph(tmp_path / "evil.png")
    broken.write_bytes(good.read_bytes()[:60])
    real = photographs.predict_photograph

    def failing(model, picture, *more, **options):
        if picture.extent == (61, 41):
            raise RuntimeError("out of memory on some device")
        return real(model, picture, *more, **options)

    photograph(evil, (61, 41))
    monkeypatch.setattr(photographs, "predict_photograph", failing)
    out = tmp_path / "out"
    done = run(weights, wide, evil, broken, "http://a.org//b.png", good, "--output", out)
    assert done.exit_code == 1
    assert f"Error: {evil}: out of memory on some device" in done.output
    assert f"{broken} cannot be read as an image" in done.output
    assert "http://a.org//b.png is an address: download the photograph first" in done.output
    assert f"3 of 5 photographs could not be done: {evil}, {broken}, http://a.org//b.png" in done.output
    assert files(out) == ["good_pose.json", "good_pose.png", "wide_pose.json", "wide_pose.png"]
    assert run(weights, good, wide, "--box", "0,0,1e5,1e5", "--output", out).exit_code == 1  # of the one, too large
    assert run(weights, wide, "--box", "0,0,1e5,1e5", "--output", out).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--scales", "nan"], "--scales is 'nan'; give one number or more, as 0.9,1,1.1, as finite numbers"),
        (["--scales", "1,inf"], "finite"),
        (["--box", "nan,0,10,10"], "--box is 'nan,0,10,10'; give x,y,width,height, as finite numbers"),
        (["--box", "0,0,inf,10"], "finite"),
        (["--box", "0,0,1e9,1e9"], "too large: the photograph of 60 x 40 pixels would be less than one of the 32 x 32"),
        (["--box", "0,0,1e308,1e308"], "too large"),
        (["--box", "0,0,9,9", "--boxes", "boxes.csv"], "give one of them"),
        (["--boxes", "none.csv"], "none.csv does not exist: give the file of boxes"),
    ],
)
def test_what_is_not_a_number_is_refused(tmp_path, weights, arguments, sentence):
    done = run(weights, photograph(tmp_path / "a.png"), "--output", tmp_path / "out", *arguments)
    assert done.exit_code == 1
    assert sentence in done.output
    assert not (tmp_path / "out").exists() or files(tmp_path / "out") == []


def test_joints_that_are_not_numbers_are_not_written(tmp_path):
    path = photograph(tmp_path / "a.png")
    model = create("hourglass", size=32, stacks=1, features=8, depth=1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"a\.png are not all numbers"):
        write_prediction(path, model, MPII, tmp_path / "out", flip=False)
    for box in ((0.0, 0.0, torch.inf, 1.0), (torch.nan, 0.0, 9.0, 9.0)):
        with pytest.raises(ValueError, match="is not four finite numbers"):
            inference.square(inference.read_photograph(path), 32, box)


def test_a_folder_stands_for_its_photographs(tmp_path, weights):
    folder = tmp_path / "set"
    for name in ("b.PNG", "a.jpg", ".hidden.png", "sub/a.jpg", "sub/deeper/c.webp", ".cache/d.png"):
        photograph(folder / name)
    (folder / "notes.txt").write_text("no photograph")
    (folder / "sub" / "list.csv").write_text("no photograph")
    assert run(weights, folder, "--output", tmp_path / "flat").exit_code == 0
    assert files(tmp_path / "flat") == ["a_pose.json", "a_pose.png", "b_pose.json", "b_pose.png"]
    out = folder / "out"
    for _ in range(2):  # what is drawn in the folder is no photograph of it the second time
        done = run(weights, folder, "--recursive", "--output", out)
        assert done.exit_code == 0, done.output
        pictures = [name for name in files(out) if name.endswith(".png")]
        assert pictures == ["a_pose.png", "b_pose.png", "sub/a_pose.png", "sub/deeper/c_pose.png"]
        assert len(files(out)) == 8
    assert json.loads((out / "sub/a_pose.json").read_text())["image"] == str(folder / "sub" / "a.jpg")
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    done = run(weights, tmp_path / "empty", folder, "--output", tmp_path / "none")
    assert "empty holds no photographs (" in done.output
    assert "with --recursive" in done.output
    assert not (tmp_path / "none").exists()
    # A drawing's name alone does not make a drawing.
    photograph(folder / "my_pose.png")
    assert folder / "my_pose.png" in [Path(job.image) for job in find_photographs([folder], out)]


def test_two_photographs_of_one_name_are_refused_before_any_work(tmp_path, weights):
    first, second = photograph(tmp_path / "a/photo.jpg"), photograph(tmp_path / "b/photo.jpg")
    out = tmp_path / "out"
    for given in (
        (first, second),
        (first.parent, second.parent),
        (photograph(tmp_path / "a/other.jpg"), *[first, second]),
    ):
        done = run(weights, *given, "--output", out)
        assert done.exit_code == 1
        assert (
            f"the poses of {first} and {second} would both be {out / 'photo_pose.png'}: give the folder" in done.output
        )
        assert not out.exists()
    assert run(weights, tmp_path, "--recursive", "--output", out).exit_code == 0
    assert (out / "a/photo_pose.png").exists()
    assert (out / "b/photo_pose.png").exists()
    # The same photograph, named twice, is done once.
    assert len(find_photographs([first, tmp_path / "a" / "." / "photo.jpg", first.parent], out)) == 2


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_boxes_come_from_a_file(tmp_path, weights):
    folder = tmp_path / "set"
    for name in ("a,1.png", "sub/b.png", "c.png"):
        photograph(folder / name)
    text = '\ufefffile,x,y,width,height\r\n"a,1.png",1,2,30.5,20\r\n\r\nset/sub/b.png,5, 6,7,8\r\nother.png,1,2,3,4\r\n'
    boxes = write(tmp_path / "boxes.csv", text)
    done = run(weights, folder, "--recursive", "--boxes", boxes, "--output", tmp_path / "out")
    assert done.exit_code == 1
    assert f"{boxes}: 1 names are of none of the photographs; the first is other.png" in done.output
    assert f"Error: {folder / 'c.png'}: {boxes} has no box for it: add a line that starts with c.png" in done.output
    assert "1 of 3 photographs" in done.output
    for name, box in (("a,1", [1, 2, 30.5, 20]), ("sub/b", [5, 6, 7, 8])):
        assert json.loads((tmp_path / f"out/{name}_pose.json").read_text())["box"] == box
    alone = run(weights, folder / "a,1.png", "--box", "1,2,30.5,20", "--output", tmp_path / "alone")
    assert alone.exit_code == 0
    found, expected = (json.loads((tmp_path / at / "a,1_pose.json").read_text()) for at in ("out", "alone"))
    assert found == expected


def test_a_name_is_a_path_within_the_folder_first(tmp_path):
    for name in ("a.png", "sub/a.png", "sub/b.png", "other/b.png"):
        photograph(tmp_path / name)
    jobs = find_photographs([tmp_path], "out", recursive=True)
    box, other = (0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 2.0, 2.0)
    found, unknown = match_boxes({"a.png": box, "sub/a.png": other, "sub/nobody.png": box, "./other/b.png": box}, jobs)
    assert {str(job.name): value for job, value in found.items()} == {
        "a.png": box,
        "sub/a.png": other,
        "other/b.png": box,
    }
    assert unknown == ["sub/nobody.png"]
    with pytest.raises(
        ValueError, match=r"the box of b\.png may be of .*other/b\.png or .*sub/b\.png: give more of its path"
    ):
        match_boxes({"b.png": box}, jobs)
    with pytest.raises(ValueError, match=r"a\.png has two boxes, one under the name .*/a\.png"):
        match_boxes({"a.png": box, str(tmp_path / "a.png"): box}, jobs)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name,x,y,w,h\na.png,1,2,3\n", "line 2 is 'a.png,1,2,3'; give a file name and x, y, width and height"),
        ("a.png,1,2,3,nan\n", "line 1 is"),
        ("a.png,nan,nan,nan,nan\n", "line 1 is"),
        ("a.png,1,2,3,4\nb.png,x,y,w,h\n", "line 2 is"),
        ("a.png,1,2,three,4\n", "line 1 is"),
        ("a.png;1;2;3;4\nb.png;1;2;3;4\n", "line 2 is"),
        ("a.png,1,2,3,4\na.png,1,2,3,4\n", "line 2 has a second box for a.png"),
        ('"a.png,1,2,3,4\n', "is not a CSV file of boxes"),
    ],
)
def test_a_line_that_is_no_box_is_named(tmp_path, text, sentence):
    with pytest.raises(ValueError, match="is not a CSV file of boxes") as caught:
        read_boxes(write(tmp_path / "boxes.csv", text))
    assert sentence in str(caught.value)
    with pytest.raises(ValueError, match="is not a CSV file of boxes: 'utf-8' codec"):
        read_boxes(write(tmp_path / "boxes.csv", "ä.png,1,2,3,4\n", "latin-1"))


def test_files_are_written_whole_or_not_at_all(tmp_path, weights, monkeypatch):
    path, out = photograph(tmp_path / "a.png"), tmp_path / "out"
    assert run(weights, path, "--output", out).exit_code == 0
    before = {name: (out / name).read_bytes() for name in files(out)}
    assert len(before) == 2

    def half(self, text, *more, **options):
        self.write_bytes(text[:9].encode())
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", half)
        done = run(weights, path, "--no-flip", "--output", out)
    assert done.exit_code == 1
    assert files(out) == list(before)
    assert (out / "a_pose.json").read_bytes() == before["a_pose.json"]

    def broken(*given, **options):
        Path(given[1]).write_bytes(b"half a picture")
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", broken)
        assert run(weights, path, "--box", "0,0,9,9", "--output", out).exit_code == 1
    assert files(out) == list(before)
    assert json.loads((out / "a_pose.json").read_text())["box"] is None
    with pytest.raises(ValueError, match="Format '' is not supported"):
        save_pose_picture(tmp_path / "nameless", torch.zeros(3, 9, 9), torch.zeros(16, 2), torch.ones(16), MPII)


def test_the_output_folder_is_tried_before_any_photograph_is_read(tmp_path, weights, monkeypatch):
    path = photograph(tmp_path / "a.png")
    monkeypatch.setattr(photographs, "read_picture", lambda *given: pytest.fail("a photograph was read"))
    done = run(weights, path, "--output", path)
    assert done.exit_code == 1
    assert "a.png is a file: give another folder" in done.output


@pytest.mark.parametrize("size", [(2048, 300), (2049, 1024), (500, 5000), (30_000, 3)])
def test_a_drawing_is_bounded_and_its_joints_with_it(tmp_path, monkeypatch, size):
    path = photograph(tmp_path / "a.png", size)
    drawn = []
    monkeypatch.setattr(photographs, "draw_pose", lambda axes, joints, *more, **options: drawn.append(joints))
    expected = torch.tensor([[0.25, 0.5]]) * torch.tensor(size)
    monkeypatch.setattr(
        photographs, "predict_photograph", lambda *given, **options: (expected.expand(16, 2), torch.ones(16))
    )
    picture, numbers = write_prediction(path, torch.nn.Identity(), MPII, tmp_path)
    with Image.open(picture) as image:
        assert max(image.size) == min(2048, max(size))
        assert np.abs(np.divide(image.size, max(image.size)) - np.divide(size, max(size))).max() < 1e-3
        assert np.abs(drawn[0][0].numpy() - np.multiply(image.size, (0.25, 0.5))).max() < 0.51
    assert json.loads(numbers.read_text())["joints"]["pelvis"]["x"] == size[0] / 4
    # A tensor that is too large is drawn as small.
    save_pose_picture(picture, torch.zeros(3, *size[::-1]), expected.expand(16, 2), torch.ones(16), MPII)
    assert torch.allclose(drawn[1], drawn[0], atol=0.51)


def test_a_very_large_window_is_decoded_smaller(tmp_path, monkeypatch):
    """Joints stay in the photograph's own pixels, also where it was turned."""
    monkeypatch.setattr(inference, "LARGEST_WINDOW", 200)
    exif = Image.Exif()
    exif[274] = 6
    image = Image.new("RGB", (801, 603))
    image.paste((255, 255, 255), (600, 100, 640, 140))  # upright, its middle is at (603 - 120, 620)
    image.save(tmp_path / "a.jpg", exif=exif)
    small = inference.read_picture(tmp_path / "a.jpg", longest=100)
    assert small.extent == (603, 801)
    assert small.image.size == (76, 101)
    assert inference.read_picture(tmp_path / "a.jpg", longest=300).image.size == (302, 401)
    assert inference.read_picture(tmp_path / "a.jpg", (0.0, 0.0, 9.0, 9.0), 100).image.size == (603, 801)
    assert inference.read_photograph(tmp_path / "a.jpg").shape == (801, 603, 3)
    pixels, affine = inference.square(small, 64)
    red = pixels[0, 0] / pixels[0, 0].sum()
    centres = torch.arange(64) + 0.5
    at = torch.stack([(red.sum(0) * centres).sum(), (red.sum(1) * centres).sum()])
    found = inference.transform_points(at[None, None], inference.invert(affine))[0, 0]
    torch.testing.assert_close(found, torch.tensor([483.0, 620.0]), atol=2.5, rtol=0)


MEMORY = """
import resource, sys
from posebook.cli import main
from PIL import Image
sys.argv = ["posebook", "predict", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert not end.code
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs getrusage")
def test_a_photograph_of_12_megapixels_takes_little_memory(tmp_path, weights):
    """Beside what a small one takes; the drawing alone took 1.5 GB."""
    import subprocess
    import sys

    def peak(size: tuple[int, int]) -> float:
        path = photograph(tmp_path / f"{size[0]}.jpg", size)
        command = [sys.executable, "-c", MEMORY, path, "--weights", weights, "--output", tmp_path]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
        return int(done.stdout.split()[-1]) / (1 if sys.platform != "darwin" else 1024)  # in KiB

    assert peak((4000, 3000)) - peak((480, 360)) < 700 * 1024


@pytest.mark.parametrize(
    ("network", "settings"), [("look_into_person", {"refinements": 1}), ("look_into_person_parsing", {})]
)
def test_networks_that_parse_write_label_maps(tmp_path, network, settings):
    torch.manual_seed(0)
    model = create(network, size=32, depth=14, width=4, features=8, pooled=False, scales=1, **settings)
    weights = str(save_weights(tmp_path / "weights", model, network, "mpii", {}))
    image = photograph(tmp_path / "in" / "a.png", (120, 90))
    out = tmp_path / "out"
    done = run(weights, image, "--output", out, "--box", "10,10,60,60")
    assert done.exit_code == 0, done.output
    poses = ["a_pose.json", "a_pose.png"] if network == "look_into_person" else []
    assert files(out) == sorted(["a_parsing.png", "a_parts.png", *poses])
    with Image.open(out / "a_parts.png") as labels:
        assert (labels.mode, labels.size) == ("P", (120, 90))
        assert bytes(labels.getpalette()[3 * 13 : 3 * 13 + 3]).hex() == "f7c6a3"  # a face
        found = np.array(labels)
    assert found.max() < 20
    assert (found[:, 90:] == 0).all()  # beyond the box's window
    # What was drawn is no photograph when the folder is looked through.
    Image.open(image).save(out / "b.png")
    assert [job.name.name for job in find_photographs([out], tmp_path / "again")] == ["b.png"]


def test_label_maps_are_read_back_as_they_were(tmp_path):
    labels = torch.randint(0, 20, (33, 21), dtype=torch.uint8)
    labels[0, 0] = 255
    save_label_map(tmp_path / "labels.png", labels, PARTS)
    assert read_png(tmp_path / "labels.png", 20).tolist() == labels.tolist()


def test_a_photographs_labels_are_at_its_own_pixels():
    """Of a network that finds a face in the middle of what it sees."""

    class Faces(torch.nn.Module):
        parses = True

        def __init__(self):
            super().__init__()
            self.settings = {"size": 32, "parts": 20}
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, images):
            return images

        def probabilities(self, images):
            found = torch.zeros(len(images), 20, 32, 32)
            found[:, 0] = 0.6
            found[:, PARTS.index("face"), 8:24, 8:24] = 1.0
            return found

    pixels = np.zeros((200, 300, 3), np.uint8)
    labels = inference.parse_photograph(Faces(), pixels, (100.0, 60.0, 80.0, 80.0))
    assert labels.shape == (200, 300)
    rows, columns = (labels == PARTS.index("face")).nonzero().unbind(1)
    # The window is 100 pixels about (140, 100), and the face its middle half.
    edges = [int(value) for some in (rows, columns) for value in (some.min(), some.max())]
    assert edges == pytest.approx([75, 125, 115, 165], abs=2)
