"""Pictures hold what they claim to, where they claim to."""

from __future__ import annotations

import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from PIL import Image

from posebook import pictures
from posebook.evaluation.benchmarks import BENCHMARKS
from posebook.sample import Sample
from posebook.skeleton import COLOUR_OF_PART, LEFT_COLOUR, LSP, MPII, PARTS, PASCAL_PARTS, RIGHT_COLOUR


@pytest.fixture
def sample() -> Sample:
    generator = torch.Generator().manual_seed(0)
    presence = torch.full((3, 16), 2, dtype=torch.uint8)
    presence[0, 0], presence[0, 1] = 0, 1
    parsing = torch.zeros(3, 64, 64, dtype=torch.uint8)
    parsing[:, :8], parsing[0, -1] = 5, 255
    return Sample(
        images=torch.rand(3, 3, 64, 64, generator=generator),
        joints=4 + 56 * torch.rand(3, 16, 2, generator=generator),
        presence=presence,
        head_size=torch.tensor([10.0, torch.nan, 10.0]),
        torso_size=torch.full((3,), 20.0),
        index=torch.arange(3),
        parsing=parsing,
    )


def pixels(figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def legend_names(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_a_pose_lies_on_its_image(sample):
    """Joints in the centre of a pixel are drawn in the centre of that pixel."""
    figure, axes = pictures.figure(size=(4, 4))
    image = torch.zeros(3, 64, 64)
    image[:, 20, 40] = 1
    pictures.show_image(axes[0, 0], image)
    pixels(figure)
    x, y = axes[0, 0].transData.transform((40.5, 20.5)).astype(int)
    assert pixels(figure)[::-1][y, x, :3].tolist() == [255, 255, 255]
    x, y = axes[0, 0].transData.transform((41.5, 20.5)).astype(int)
    assert pixels(figure)[::-1][y, x, :3].tolist() == [0, 0, 0]


def test_sides_keep_their_colours_and_absent_joints_are_left_out(sample):
    _, axes = pictures.figure()
    pictures.draw_pose(axes[0, 0], sample.joints[0], sample.presence[0], MPII)
    _, dots = axes[0, 0].collections[-2:]
    assert len(dots.get_offsets()) == 15
    edges, fills = dots.get_edgecolors(), dots.get_facecolors()
    shown = [name for name, presence in zip(MPII.joints, sample.presence[0], strict=True) if presence]
    for place, name in enumerate(shown):
        assert to_hex(edges[place]).upper() == MPII.side_colour(name)
        ring = name == "r_knee"
        assert to_hex(fills[place]).upper() == ("#FFFFFF" if ring else MPII.side_colour(name))
    limbs = axes[0, 0].collections[1].get_segments()
    assert len(limbs) == len(MPII.limbs) - 1


def test_a_joint_that_is_not_a_number_is_left_out(sample):
    _, axes = pictures.figure()
    sample.joints[0, 15] = torch.nan
    pictures.draw_pose(axes[0, 0], sample.joints[0], None, MPII)
    assert len(axes[0, 0].collections[-1].get_offsets()) == 15


def test_sheets_show_every_image_with_a_legend(sample):
    figure = pictures.show_samples(sample, MPII, columns=2)
    assert len([ax for ax in figure.axes if ax.images]) == 3
    assert {"person's left", "person's right", "occluded"} <= set(legend_names(figure))
    parsed = pictures.show_samples(sample, MPII, columns=2, parsing=True, titles=["a", "b", "c"])
    assert legend_names(parsed) == ["upper clothes", "ignored"]
    assert [ax.get_title() for ax in parsed.axes[:3]] == ["a", "b", "c"]
    sample.parsing = None
    with pytest.raises(ValueError, match="no parsing"):
        pictures.show_samples(sample, MPII, parsing=True)
    with pytest.raises(ValueError, match="empty"):
        pictures.show_samples(sample[:0], MPII)


def test_a_bare_image_stands_beside_each_one_with_labels(sample):
    figure = pictures.show_samples(sample, MPII, columns=2, titles=["a", "b", "c"], beside=True)
    panels = [ax for ax in figure.axes if ax.images]
    assert [bool(ax.collections) for ax in panels] == [False, True] * 3
    assert [ax.get_title() for ax in panels] == ["a", "", "b", "", "c", ""]
    shown = [ax.images[0].get_array() for ax in panels]
    assert all((bare == labelled).all() for bare, labelled in zip(shown[::2], shown[1::2], strict=True))
    parsed = pictures.show_samples(sample, MPII, columns=3, parsing=True, beside=True)
    assert [len(ax.images) for ax in parsed.axes if ax.images] == [1, 2] * 3


def test_predictions_say_how_many_are_right(sample):
    predicted = sample.joints.clone()
    predicted[0, 2:5] += 20
    predicted[1, 3] += 2.5  # 3.5 pixels off, of a torso of 20
    predicted[2, 3] = torch.nan
    figure = pictures.show_predictions(sample, predicted, MPII)
    assert [ax.get_title() for ax in figure.axes[:3]] == ["12 of 15 right", "not scored", "15 of 16 right"]
    assert {"truth", "off by over 0.5 head sizes"} <= set(legend_names(figure))
    pixels(figure)
    by_torso = pictures.show_predictions(sample, predicted, MPII, measure="PCK", threshold=0.15)
    assert [ax.get_title() for ax in by_torso.axes[:3]] == ["12 of 15 right", "15 of 16 right", "15 of 16 right"]
    with pytest.raises(ValueError, match="one of PCKh, PCK, not 'PCP'"):
        pictures.show_predictions(sample, predicted, MPII, measure="PCP")


def test_lsp_is_judged_by_torso_as_its_score_is(sample):
    sample.joints, sample.presence = sample.joints[:, :14], sample.presence[:, :14]
    predicted = sample.joints.clone()
    predicted[:, 3, 0] += 4.5  # of a head of 10: right by half of it; of a torso of 20: wrong by a fifth
    figure = pictures.show_predictions(sample, predicted, LSP)
    right = BENCHMARKS["lsp"].score(predicted, sample).correct.sum()
    titles = [ax.get_title() for ax in figure.axes[:3]]
    assert titles == ["12 of 13 right", "13 of 14 right", "13 of 14 right"]
    assert sum(int(title.split()[0]) for title in titles) == right
    assert "off by over 0.2 torso sizes" in legend_names(figure)


def test_maps_lie_over_the_image_on_one_scale(sample):
    maps = torch.zeros(16, 16, 16)
    maps[:, 3, 5] = torch.linspace(0.1, 0.9, 16)
    figure = pictures.show_maps(sample.images[0], maps, MPII.joints)
    panels = [ax for ax in figure.axes if len(ax.images) == 2]
    assert len(panels) == 16
    assert all(list(image.get_extent()) == [0, 64, 64, 0] for ax in panels for image in ax.images)
    assert panels[0].get_title() == "right ankle  0.10"
    assert figure.axes[-1].get_ylabel() == "height of the map"
    assert panels[3].images[1].get_array()[0, 0, 3] == 0


def test_parts_get_their_colours(sample):
    _, axes = pictures.figure()
    labels = torch.arange(len(PARTS)).view(4, 5).to(torch.uint8)
    pictures.draw_parsing(axes[0, 0], labels, alpha=1.0)
    colours = axes[0, 0].images[0].get_array().reshape(-1, 4)
    assert colours[0, 3] == 0
    assert np.allclose(colours[PARTS.index("l_leg"), :3], to_rgb(LEFT_COLOUR))
    assert np.allclose(colours[PARTS.index("r_leg"), :3], to_rgb(RIGHT_COLOUR))


def test_another_sets_parts_have_their_own_names_and_colours(sample):
    _, axes = pictures.figure()
    pictures.draw_parsing(axes[0, 0], torch.tensor([[0, 1, 6], [7, 255, 3]]), 1.0, PASCAL_PARTS)
    colours = axes[0, 0].images[0].get_array().reshape(-1, 4)
    assert np.allclose(colours[[1, 2, 5], :3], [to_rgb(COLOUR_OF_PART[n]) for n in ("head", "lower_leg", "upper_arm")])
    # Background stays clear, and so does what the set has no name for.
    assert colours[:, 3].tolist() == [0, 1, 1, 0, 1, 1]
    sheet = pictures.show_samples(sample, MPII, parsing=True, parts=PASCAL_PARTS)
    assert legend_names(sheet) == ["upper leg", "ignored"]
    assert len({COLOUR_OF_PART[name] for name in PASCAL_PARTS} | {LEFT_COLOUR, RIGHT_COLOUR}) == len(PASCAL_PARTS) + 2
    with pytest.raises(ValueError, match="no colour for the part 'tail'"):
        pictures.parsing_legend(sheet, sample.parsing, ("background", "tail"))


def test_curves_show_losses_and_scores_apart():
    history = [{"step": i, "loss": 1 / i, **({"validation_pckh": i / 20} if i % 5 == 0 else {})} for i in range(1, 11)]
    figure = pictures.plot_curve(history)
    losses, scores = figure.axes
    assert losses.get_yscale() == "log"
    assert losses.lines[0].get_xydata().tolist() == [[i, 1 / i] for i in range(1, 11)]
    assert scores.lines[0].get_xydata().tolist() == [[5, 25], [10, 50]]
    assert (scores.get_ylabel(), scores.get_legend().get_texts()[0].get_text()) == ("score (%)", "validation pckh")
    assert len(pictures.plot_curve(history[:3]).axes) == 1
    pixels(pictures.plot_curve([]))


def test_bars_by_joint_are_the_scores():
    scores = {"ours": torch.rand(14), "baseline": torch.rand(14)}
    scores["ours"][3] = torch.nan
    figure = pictures.bar_by_joint(scores, LSP)
    for bars, values in zip(figure.axes[0].containers, scores.values(), strict=True):
        assert [bar.get_width() for bar in bars] == pytest.approx((100 * values).tolist(), nan_ok=True)
    assert legend_names(figure)[0] == f"ours, mean {100 * scores['ours'].nanmean():.1f}"
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()][:2] == ["right ankle", "right knee"]
    pixels(figure)


def test_a_matrix_names_both_its_sides():
    values = torch.rand(16, 16)
    figure = pictures.matrix(values, MPII.joints, label="nats")
    mesh = figure.axes[0].collections[0]
    assert np.allclose(np.asarray(mesh.get_array()).reshape(16, 16), values)
    assert figure.axes[0].get_xticklabels()[3].get_text() == "left hip"
    assert figure.axes[1].get_ylabel() == "nats"


@pytest.mark.parametrize(("shape", "expected"), [((100, 50), (240, 480)), ((300, 600), (600, 300))])
def test_a_pose_picture_has_the_image_and_the_pose(tmp_path, shape, expected):
    height, width = shape
    joints = torch.stack([torch.linspace(0.2, 0.8, 16) * width, torch.linspace(0.2, 0.8, 16) * height], -1)
    pictures.save_pose_picture(tmp_path / "a.png", torch.full((3, *shape), 0.5), joints, torch.ones(16), MPII)
    picture = Image.open(tmp_path / "a.png").convert("RGB")
    assert picture.size == expected
    assert picture.getpixel((2, 2)) == pytest.approx((127, 127, 127), abs=2)
    left = joints[MPII.index("l_wrist")] * expected[0] / width
    assert picture.getpixel((int(left[0]), int(left[1]))) == pytest.approx(
        [255 * c for c in to_rgb(LEFT_COLOUR)], abs=3
    )


def test_nothing_is_left_open_and_style_holds(sample):
    before = plt.get_fignums()
    with mpl.rc_context():
        pictures.style()
        assert mpl.rcParams["figure.constrained_layout.use"]
        assert not mpl.rcParams["axes.spines.top"]
        pictures.show_samples(sample, MPII)
        pictures.plot_curve([{"step": 1, "loss": 1.0}])
    assert plt.get_fignums() == before


def test_importing_needs_no_matplotlib():
    code = "import sys, posebook.pictures, posebook.ledger.picture, posebook.evaluation.files; "
    code += "print([m for m in ('matplotlib', 'seaborn', 'ipywidgets', 'h5py', 'scipy', 'PIL') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_sweep_has_a_line_a_network_and_an_interval_over_its_seeds():
    def curve(lift: float) -> dict:
        accuracy = {
            "all": [0.8 + lift, 0.6 + lift],
            "visible": [0.8 + lift, 0.7 + lift],
            "occluded": [None, 0.4 + lift],
        }
        return {"share": [0.0, 0.5], "occluded_share": [0.01, 0.49]} | accuracy

    figure = pictures.plot_occlusion_sweep({"branches": [curve(0.01), curve(0.03)], "baseline": [curve(0)]}, title="a")
    pixels(figure)
    everywhere, visible, occluded = figure.axes
    assert [ax.get_title() for ax in figure.axes] == ["all joints", "visible joints", "occluded joints"]
    ours, baseline = everywhere.lines
    assert np.allclose(ours.get_xydata(), [[1, 82], [49, 62]])
    assert np.allclose(baseline.get_xydata(), [[1, 80], [49, 60]])
    assert np.allclose([line.get_xydata() for line in occluded.lines], [[[49, 42]], [[49, 40]]])
    assert (ours.get_marker(), ours.get_linestyle()) != (baseline.get_marker(), baseline.get_linestyle())
    # Two values a, b have a 95 % interval of the mean of 12.706 |a - b| / 2 either way.
    (band,) = visible.collections
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].max() == pytest.approx(82 + 12.7062, abs=1e-3)
    assert corners[:, 1].min() == pytest.approx(72 - 12.7062, abs=1e-3)
    low, high = everywhere.get_ylim()
    assert {ax.get_ylim() for ax in figure.axes} == {(low, high)}
    assert 0 <= low < 40 < 82 < high <= 100
    assert legend_names(figure) == ["branches, 2 seeds", "baseline, 1 seed"]
    assert (everywhere.get_xlabel(), everywhere.get_ylabel()) == ("occluded joints (%)", "PCKh@0.5 (%)")
    for curves in ({}, {"ours": []}):
        with pytest.raises(ValueError, match="no curve to show"):
            pictures.plot_occlusion_sweep(curves)
    with pytest.raises(ValueError, match="different shares"):
        pictures.plot_occlusion_sweep({"ours": [curve(0), curve(0) | {"share": [0.0, 0.4]}]})


def test_a_diagram_leads_its_ways_from_box_to_box():
    boxes = {"a": (0.1, 0.5, "first", "#FFFFFF"), "turn": (0.5, 0.9, "", None), "b": (0.9, 0.5, "last", None)}
    figure = pictures.diagram(boxes, {"a b": {"color": "#FF0000"}, "a turn b": {}}, notes={"turn": "3 x 4"})
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    assert [text.get_text() for text in texts] == ["first", "last", "3 x 4"]
    assert texts[2].get_position() == pytest.approx((0.7, 0.7))
    arrows = [text.arrow_patch for text in figure.axes[0].texts if not text.get_text()]
    assert [to_hex(arrow.get_edgecolor()) for arrow in arrows] == ["#ff0000", "#4d4d4d", "#4d4d4d"]
    # A line has a head where it comes to a box, not at a corner, and it begins outside of the box that it leaves.
    assert [type(arrow.get_arrowstyle()).__name__ for arrow in arrows] == ["CurveFilledB", "Curve", "CurveFilledB"]
    pixels(figure)
    first = texts[0].get_bbox_patch().get_window_extent()
    assert arrows[0].get_tightbbox().x0 >= first.x1 - 1
    with pytest.raises(ValueError, match="no box is called 'c'; there are a, turn, b"):
        pictures.diagram(boxes, {"a c": {}})
