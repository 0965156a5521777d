from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

from posebook.cli import main
from posebook.coordinates import HeatmapCodec, transform_points
from posebook.evaluation.inference import (
    evaluate,
    occlusion_curve,
    parse,
    predict,
    predict_labels,
    predict_photograph,
    read_photograph,
    square,
)
from posebook.evaluation.metrics import pckh
from posebook.figures.dataset import LENGTHS, Figures
from posebook.papers import create, load_weights
from posebook.skeleton import MPII, PART_INDEX, PARTS
from posebook.training.checkpoint import save_weights
from toy import Squares, Toy

SIZE = 64


class Oracle(nn.Module):
    """Finds a red spot wherever it is, and calls it `r_wrist` or, in a mirror image that it is told of, `l_wrist`."""

    def __init__(self, cells: int = 16) -> None:
        super().__init__()
        self.settings = {"joints": 16, "size": SIZE}
        self.codec = HeatmapCodec(SIZE, SIZE // cells)
        self.unused = nn.Parameter(torch.zeros(1))
        self.seen = []

    def forward(self, images):
        self.seen.append((len(images), self.training))
        return images[:, :1]

    def decode(self, outputs):
        """The centre of red, for every joint, surer where there is more red."""
        red = outputs[:, 0]
        centres = torch.arange(SIZE) + 0.5
        mass = red.sum((1, 2)).clamp_min(1e-6)
        place = torch.stack([(red.sum(1) * centres).sum(1), (red.sum(2) * centres).sum(1)], -1) / mass[:, None]
        return place[:, None].expand(-1, 16, -1), mass[:, None].expand(-1, 16) / 100


class MapOracle(Oracle):
    def maps(self, outputs):
        """Each joint's map is red at a quarter of the resolution; only the left wrist's is blind on its left half."""
        maps = nn.functional.avg_pool2d(outputs, 4).expand(-1, 16, -1, -1).clone()
        maps[:, MPII.index("l_wrist"), :, : maps.shape[-1] // 2] = 0
        return maps


def spots(places: list[tuple[float, float]], sigma: float = 3.0) -> torch.Tensor:
    centres = torch.arange(SIZE) + 0.5
    at = torch.tensor(places)
    squared = (centres[None, None, :] - at[:, :1, None]).square() + (centres[None, :, None] - at[:, 1:, None]).square()
    return torch.exp(-squared / (2 * sigma**2))[:, None].repeat(1, 3, 1, 1)


PLACES = [(20.0, 40.0), (30.5, 22.25), (44.0, 33.0)]


@pytest.mark.parametrize("network", [Oracle, MapOracle])
@pytest.mark.parametrize(("flip", "scales"), [(False, (1.0,)), (True, (1.0,)), (False, (0.7,)), (True, (0.8, 1, 1.2))])
def test_every_view_comes_back_to_the_image(network, flip, scales):
    model = network().train()
    joints, confidence = predict(model, spots(PLACES), MPII.mirror, flip, scales, batch_size=2)
    truth = torch.tensor(PLACES)[:, None].expand(-1, 16, -1)
    seeing = [j for j in range(16) if j != MPII.index("l_wrist")]
    tolerance = 0.3 if network is Oracle else 2.1
    torch.testing.assert_close(joints[:, seeing], truth[:, seeing], atol=tolerance, rtol=0)
    assert confidence.shape == (3, 16)
    assert (confidence > 0).all()
    # In evaluation mode while it looks, then back; in batches as large as asked for.
    assert model.training
    assert not any(training for _, training in model.seen)
    assert max(count for count, _ in model.seen) == 2


def test_the_mirror_image_sees_what_the_image_does_not():
    wrist = MPII.index("l_wrist")
    image = spots([(20.0, 40.0)])
    _, blind = predict(MapOracle(), image, flip=False)
    joints, seen = predict(MapOracle(), image, MPII.mirror, flip=True)
    assert blind[0, wrist] < 1e-3
    # Half of the views see it: the mirror image shows the left wrist where a right one would be, which is found.
    torch.testing.assert_close(seen[0, wrist], seen[0, MPII.index("pelvis")] / 2, atol=1e-3, rtol=0)
    torch.testing.assert_close(joints[0, wrist], torch.tensor([20.0, 40.0]), atol=2.1, rtol=0)


def test_magnified_views_have_no_say_beyond_their_edge():
    """A spot near the edge is out of sight at scale 2, and must not count half for it."""
    image = spots([(8.0, 32.0)])
    _, once = predict(MapOracle(), image, flip=False)
    joints, both = predict(MapOracle(), image, flip=False, scales=(1.0, 2.0))
    torch.testing.assert_close(both[0, 0], once[0, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(joints[0, 0], torch.tensor([8.0, 32.0]), atol=2.1, rtol=0)


def test_bad_requests():
    with pytest.raises(ValueError, match=r"give mirror=skeleton\.mirror"):
        predict(Oracle(), spots(PLACES))
    with pytest.raises(ValueError, match="numbers above 0"):
        predict(Oracle(), spots(PLACES), flip=False, scales=(1, 0))
    with pytest.raises(ValueError, match="images are 32 x 32, the network takes 64 x 64"):
        predict(Oracle(), torch.zeros(1, 3, 32, 32), flip=False)


def test_the_training_mode_comes_back_after_an_error():
    model = Oracle().train()
    with pytest.raises(IndexError):
        predict(model, spots(PLACES), mirror=[99] * 16)
    assert model.training


def test_a_wide_set_is_not_evaluated():
    wide = Squares()
    wide.widen = 1.5
    with pytest.raises(ValueError, match=r"squares/train shows people smaller .* widen=1\.0"):
        evaluate(Toy(), wide)


def test_a_dataset_is_evaluated_whole_or_evenly():
    dataset = Squares(length=20)
    joints, confidence, truth = evaluate(Toy(), dataset, batch_size=6)
    assert torch.equal(truth.joints, dataset._joints)
    assert confidence.shape == (20, 16)
    expected, _ = predict(Toy().eval(), dataset._images, flip=False)
    assert joints.shape == expected.shape
    assert pckh(joints, truth).counted.sum() == 20 * 16
    _, _, some = evaluate(Toy(), dataset, count=5, batch_size=4)
    assert torch.equal(some.joints, dataset._joints[[0, 4, 8, 12, 16]])
    with pytest.raises(ValueError, match="has no end"):
        evaluate(Toy(), Squares(length=None))


def test_what_comes_to_the_cpu_is_waited_for(monkeypatch):
    """From a GPU, a copy that nobody waits for is read before it is there."""
    asked, real = [], torch.Tensor.to
    monkeypatch.setattr(
        torch.Tensor, "to", lambda value, *given, **more: asked.append(more) or real(value, *given, **more)
    )
    sample = Squares(length=4).batch(torch.arange(4))
    asked.clear()
    for device, free in (("cpu", False), (torch.device("cpu"), False), ("meta", True)):
        assert sample.to(device).images.device.type == torch.device(device).type
        assert len(asked) == 6
        assert all(more.get("non_blocking", False) is free for more in asked)
        asked.clear()


def test_parts_are_counted_in_evaluation_mode_and_where_there_are_labels():
    """Of a network that calls every pixel part 2 of 4, and that is in training mode before and after."""
    model = MapOracle().train()
    model.settings["parts"] = 4
    model.parses = True
    model.probabilities = lambda outputs: torch.eye(4)[2].view(1, 4, 1, 1).expand(len(outputs), 4, SIZE, SIZE)
    figures = Figures("test", SIZE)
    labelled, batch = Squares(size=SIZE, length=5), Squares.batch

    def with_parts(numbers):
        sample = batch(labelled, numbers)
        sample.parsing = (figures.batch(numbers).parsing > 0).to(torch.uint8)
        return sample

    with pytest.raises(ValueError, match="squares/train has no part labels: take a set that has"):
        parse(model, labelled)
    assert model.training
    labelled.batch = with_parts
    matrix = parse(model, labelled, batch_size=2)
    assert model.training
    assert not any(training for _, training in model.seen)
    assert matrix.sum() == matrix[:, 2].sum() == 5 * SIZE**2
    assert matrix[1, 2] == (figures.batch(torch.arange(5)).parsing > 0).sum()


class Reader(nn.Module):
    """Tells parts by colours: red is the left arm, green the right one, and what is on the left of the image hair."""

    parses = True

    def __init__(self) -> None:
        super().__init__()
        self.settings = {"size": SIZE, "parts": len(PARTS)}

    def forward(self, images):
        return images

    def probabilities(self, images):
        found = torch.zeros(len(images), len(PARTS), SIZE, SIZE)
        found[:, PART_INDEX["l_arm"]], found[:, PART_INDEX["r_arm"]] = images[:, 0], images[:, 1]
        found[:, PART_INDEX["hair"], :, : SIZE // 2] = 0.6
        found[:, 0] = 0.1
        return found


def test_labels_of_mirror_images_and_other_scales_lie_where_they_belong():
    images = torch.zeros(1, 3, SIZE, SIZE)
    images[:, 0, 8:24, 8:24] = 1.0
    arm = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    arm[8:24, 8:24] = True
    alone = predict_labels(Reader(), images, flip=False)[0]
    assert (alone == PART_INDEX["l_arm"]).equal(arm)
    assert (alone[:, : SIZE // 2][~arm[:, : SIZE // 2]] == PART_INDEX["hair"]).all()
    # In the mirror image the red square is a right arm, and hair on the other side: arms by colour are undecided there.
    mirrored = predict_labels(Reader(), images, flip=True)[0]
    assert (mirrored == PART_INDEX["hair"])[~arm].all()
    assert set(mirrored[arm].tolist()) <= {PART_INDEX["l_arm"], PART_INDEX["r_arm"], PART_INDEX["hair"]}
    larger = predict_labels(Reader(), images, flip=False, scales=(0.5, 1.0, 1.5))[0]
    inner = arm.clone()
    inner[8:10], inner[22:24], inner[:, 8:10], inner[:, 22:24] = False, False, False, False
    assert (larger == PART_INDEX["l_arm"])[inner].all()
    assert not (larger == PART_INDEX["l_arm"])[28:, 28:].any()
    with pytest.raises(ValueError, match="scales are"):
        predict_labels(Reader(), images, scales=())


def test_a_network_is_asked_for_what_it_finds():
    images, dataset = torch.zeros(1, 3, SIZE, SIZE), Squares(size=SIZE, length=2)
    for ask in (lambda: predict_labels(MapOracle(), images), lambda: parse(MapOracle(), dataset)):
        with pytest.raises(ValueError, match="finds joints alone: part labels come from one that parses"):
            ask()
    reader = Reader()
    reader.finds_joints = False
    with pytest.raises(ValueError, match="parses alone: joints come from one that finds them"):
        predict(reader, images, flip=False)


class Sighted(nn.Module):
    """Finds exactly the joints that it is given as seen, for people in the order in which they come round."""

    def __init__(self, joints: torch.Tensor, seen: torch.Tensor) -> None:
        super().__init__()
        self.settings = {"joints": 16, "size": SIZE}
        self.unused = nn.Parameter(torch.zeros(1))
        self.answers, self.next = torch.where(seen[..., None], joints, -1000.0), 0

    def forward(self, images):
        places = torch.arange(self.next, self.next + len(images)) % len(self.answers)
        self.next += len(images)
        return self.answers[places]

    def decode(self, outputs):
        return outputs, torch.ones(outputs.shape[:2])


def test_a_sweep_tells_visible_from_occluded_at_each_share():
    """Of a network that finds what shows where 3 in 10 joints are hidden; what shows where more are is among it."""
    truth = Figures("test", SIZE, occluded=0.3).batch(torch.arange(48) * LENGTHS["test"] // 48)
    shares = (0, 0.1, 0.3, 0.5)
    curve = occlusion_curve(Sighted(truth.joints, truth.presence == 2), shares, people=48, batch_size=20)
    assert curve["share"] == list(shares)
    assert curve["occluded_share"] == pytest.approx(shares, abs=0.03)
    assert curve["visible"][2:] == [1, 1]
    assert curve["occluded"][2] == 0
    assert curve["occluded"][0] is None
    assert 0.6 < curve["visible"][0] < curve["visible"][1] < 0.9
    assert 0 == curve["occluded"][1] < curve["occluded"][3] < 0.6
    assert curve["all"] == pytest.approx([curve["all"][2]] * 4)
    assert json.loads(json.dumps(curve)) == curve
    with pytest.raises(ValueError, match=r"0 to 0\.5"):
        occlusion_curve(Sighted(truth.joints, truth.presence == 2), (0, 0.9))


def photograph(folder, width: int = 200, height: int = 120, at: tuple[int, int] = (150, 70), **options):
    """A black photograph with a red disc."""
    image = Image.new("RGB", (width, height))
    for x in range(at[0] - 6, at[0] + 7):
        for y in range(at[1] - 6, at[1] + 7):
            image.putpixel((x, y), (255, 0, 0))
    path = folder / "photograph.png"
    image.save(path, **options)
    return path


@pytest.mark.parametrize("box", [None, (120.0, 40.0, 60.0, 50.0)])
def test_joints_are_in_the_photographs_pixels(tmp_path, box):
    path = photograph(tmp_path)
    image, affine = square(read_photograph(path), SIZE, box)
    assert image.shape == (1, 3, SIZE, SIZE)
    joints, _ = predict_photograph(Oracle().eval(), read_photograph(path), MPII, box, flip=False)
    torch.testing.assert_close(joints[0], torch.tensor([150.5, 70.5]), atol=0.5, rtol=0)
    inside = transform_points(torch.tensor([[[150.5, 70.5]]]), affine)
    assert ((inside > 0) & (inside < SIZE)).all()


def test_photographs_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # held upright: stored lying on its side
    path = photograph(tmp_path, exif=exif)
    joints, _ = predict_photograph(Oracle().eval(), read_photograph(path), MPII, flip=False)
    # Upright it is 120 wide and 200 high; (x, y) of the stored picture lies at (120 - y, x).
    torch.testing.assert_close(joints[0], torch.tensor([120 - 70.5, 150.5]), atol=0.5, rtol=0)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    model = create("hourglass", size=32, stacks=1, features=8, depth=1)
    return str(save_weights(tmp_path / "weights", model, "hourglass", "mpii", {}))


def test_the_command_draws_and_writes(tmp_path, weights):
    path = photograph(tmp_path)
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["predict", str(path), "--weights", weights, "--output", str(out)])
    assert done.exit_code == 0, done.output
    with Image.open(out / "photograph_pose.png") as picture:
        assert picture.width / picture.height == pytest.approx(200 / 120, abs=0.02)
    found = json.loads((out / "photograph_pose.json").read_text())
    assert tuple(found["joints"]) == MPII.joints
    assert found["skeleton"] == "mpii"
    joints, confidence = predict_photograph(load_weights(weights)[0], read_photograph(path), MPII)
    wrist = MPII.index("r_wrist")
    assert found["joints"]["r_wrist"]["x"] == pytest.approx(float(joints[wrist, 0]), abs=0.02)
    assert found["joints"]["r_wrist"]["y"] == pytest.approx(float(joints[wrist, 1]), abs=0.02)
    assert found["joints"]["r_wrist"]["confidence"] == pytest.approx(float(confidence[wrist]), abs=1e-3)


def test_no_photograph_and_nothing_just_written_is_replaced(tmp_path, weights):
    (tmp_path / "other").mkdir()
    first, other = photograph(tmp_path), photograph(tmp_path / "other", at=(30, 30))
    before = first.read_bytes()
    command = ["predict", "--weights", weights, "--output", str(tmp_path)]
    # Two poses that would be one file are refused before any work.
    done = CliRunner().invoke(main, [*command, str(first), str(other)])
    assert done.exit_code == 1
    assert f"the poses of {first} and {other} would both be {tmp_path / 'photograph_pose.png'}" in done.output
    assert not list(tmp_path.glob("*_pose.*"))
    done = CliRunner().invoke(main, [*command, str(first)])
    assert done.exit_code == 0
    assert first.read_bytes() == before
    assert json.loads((tmp_path / "photograph_pose.json").read_text())["image"] == str(first)
    # What came out is a photograph too, and stays as it is while it is read.
    drawn = tmp_path / "photograph_pose.png"
    before = drawn.read_bytes()
    done = CliRunner().invoke(main, [*command, str(first), str(drawn)])
    assert f"what is found in {first} would replace {drawn}" in done.output
    assert drawn.read_bytes() == before
    assert (tmp_path / "photograph_pose_pose.png").exists()


def test_a_bad_photograph_does_not_stop_the_others(tmp_path, weights):
    good = photograph(tmp_path)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(good.read_bytes()[:60])
    command = ["predict", str(broken), str(tmp_path / "none.jpg"), str(good), "--weights", weights]
    done = CliRunner().invoke(main, [*command, "--output", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "broken.jpg cannot be read as an image" in done.output
    assert "there is no photograph at" in done.output
    assert (tmp_path / "out/photograph_pose.json").exists()
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--box", "1,2,3"], "x,y,width,height"),
        (["--box", "500,0,10,10"], "holds nothing of"),
        (["--weights", "nowhere"], "no weights at nowhere.safetensors"),
        (["--scales", "1,-1"], "numbers above 0"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path, weights, arguments, sentence):
    path = str(photograph(tmp_path))
    done = CliRunner().invoke(
        main, ["predict", path, "--weights", weights, "--output", str(tmp_path / "out"), *arguments]
    )
    assert done.exit_code in (1, 2)
    assert sentence in done.output
    assert "Traceback" not in done.output
