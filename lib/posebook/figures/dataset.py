"""Rendered figures: people drawn on the spot, with exact labels, on any device.

Poses come from a prior fitted to MPII's annotations (`prior`), bodies and clothes from `people`, what stands around
them from `scenery`. Sample i of a split is a function of (split, i, seed) alone.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int, Int64, UInt8
from torch import Tensor

from posebook.compute.precision import float32_by_default
from posebook.coordinates import Perturbation, inside
from posebook.figures import occlusion, random, scenery
from posebook.figures.palette import Draws
from posebook.figures.people import Build, dress, measure, own_shapes
from posebook.figures.prior import PosePrior
from posebook.figures.raster import Canvas, Shapes, rasterise
from posebook.sample import HEAD_OF_JOINTS, Sample, check_split, tags, torso_size
from posebook.skeleton import MPII

DIFFICULTIES = ("life", "objects", "plain")
LENGTHS = {"train": None, "validation": 1000, "test": 2000}

# Images painted at a time, at 128 pixels: more do not fit the cache of a CPU, fewer waste its start-up.
_AT_ONCE = {"cpu": 16, "cuda": 512}
# Poses, shapes and labels are made for this many times as many images at a time.
_ROUNDS = 4
_STREAM, _GROUP, _ANYONE = 1, 3, 4
# With labels for one person, so many are there to walk by; with labels for several, as many as have labels.
_PEOPLE_DRAWN = 3
_MOST_PEOPLE = 4

# Length of a head beside the height of a person who stands.
_HEADS = 0.15

# Facing further away than this (cosine) is a back view.
_BACK = -0.3


class Figures:
    """People drawn on the spot. A dataset as `posebook.datasets` describes it.

    Args:
        split: "train" (endless), "validation" or "test"; the three never share a sample.
        size: side of the images in pixels, a multiple of 8.
        seed: another seed, other people.
        difficulty: "life" has other people, occluding objects, truncation, clutter; "plain" is one whole person
            before a quiet background, for first lessons; "objects" is that person behind objects as in "life".
        people: how many people a scene shows at most (1 to 4) with labels for each. With 1 the others that walk by
            are background, as in LIP. With more, a scene shows two or more people, every number as often, smaller the
            more there are and the largest first. `people_joints` has that many places, and `parsing` labels everyone.
        occluded: the share of the joints in the image that is occluded, 0 to 0.5, on average over people; None leaves
            it to chance. People are alone then and others than without, chosen so that their own bodies hide none of
            their joints, and all that hides a joint is an object: see `figures.occlusion`.

    Raises:
        ValueError: an unknown split or difficulty, or a number out of its range.
    """

    name = "figures"
    skeleton = MPII
    widen = 1.0

    def __init__(
        self,
        split: str,
        size: int = 128,
        device: torch.device | str = "cpu",
        seed: int = 0,
        difficulty: str = "life",
        people: int = 1,
        occluded: float | int | None = None,
    ) -> None:
        check_split(split)
        if difficulty not in DIFFICULTIES:
            raise ValueError(f"difficulty must be one of {', '.join(DIFFICULTIES)}, not '{difficulty}'")
        if not 1 <= people <= _MOST_PEOPLE:
            raise ValueError(f"a scene shows 1 to {_MOST_PEOPLE} people with labels, not {people}")
        if occluded is not None and not 0 <= occluded <= 0.5:
            raise ValueError(f"objects can hide a share of 0 to 0.5 of the joints (occluded), not {occluded}")
        if occluded is not None and people > 1:
            raise ValueError(f"a share of occluded joints is for people who are alone: people is 1 then, not {people}")
        if size % 8 or size < 32:
            raise ValueError(f"figures need a size of 32 or more that 8 divides, not {size}")
        self.split, self.size, self.seed = split, size, seed
        self.difficulty, self.people, self.occluded = difficulty, people, occluded
        self.device = torch.device(device)
        self.length = LENGTHS[split]
        self._prior = PosePrior.load().to(self.device)
        self._own = own_shapes().to(self.device)
        self.perturbation = Perturbation()

    def perturbed(self, by: Perturbation) -> Figures:
        """The same people and scenes through other boxes.

        Beyond the image, people and objects go on as they are, and the ground as it ends there.
        """
        other = copy(self)
        other.perturbation = self.perturbation.then(by)
        return other

    def batch(self, indices: Int[Tensor, " b"]) -> Sample:
        """The samples with these numbers, drawn; IndexError for a number outside the split."""
        if (
            self.length is not None
            and len(indices)
            and not (0 <= int(indices.min()) <= int(indices.max()) < self.length)
        ):
            raise IndexError(f"figures/{self.split} has samples 0 to {self.length - 1}, asked for {indices.tolist()}")
        return self._draw(indices.to(self.device))

    def posed(self, poses: Float[Tensor, "b 16 2"], indices: Int[Tensor, " b"]) -> Sample:
        """The same samples in poses of your own: what is left to their numbers is the body, its clothes and the scene.

        Args:
            poses: normalised as `prior.normalise` does it: around 0, the longer side 1.
        """
        return self._draw(indices.to(self.device), poses.to(self.device))

    @torch.no_grad()
    def company(self, indices: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """How many others the scenes with these numbers have beside the person to find, whether or not in sight."""
        keys = random.keys(self.split, indices.to(self.device), self.seed)
        return self._layout(keys, self._cast(keys, None)[1]).present.sum(1) - 1

    @float32_by_default()
    def _draw(self, indices: Int[Tensor, " b"], poses: Float[Tensor, "b 16 2"] | None = None) -> Sample:
        """Scenes, some at a time: what is known of each pixel on the way takes several times an image's memory."""
        parts = torch.arange(len(indices), device=self.device).split(_ROUNDS * self._at_once)
        drawn = [self._scenes(indices[part], None if poses is None else poses[part]) for part in parts]
        return drawn[0] if len(drawn) == 1 else Sample.cat(drawn)

    @property
    def _at_once(self) -> int:
        """How many images are painted at a time."""
        return max(1, int(_AT_ONCE.get(self.device.type, 64) * (128 / self.size) ** 2))

    @torch.no_grad()
    def _scenes(self, indices: Int[Tensor, " b"], poses: Float[Tensor, "b 16 2"] | None) -> Sample:
        keys = random.keys(self.split, indices, self.seed)
        crowd, normalised = self._cast(keys, poses)
        layout = self._layout(keys, normalised)
        body, build = dress(layout.poses.flatten(0, 1), crowd.flatten())
        bodies = _seat(body, layout)
        joints = layout.poses[:, 0]
        aimed_at = joints if self.people == 1 else _anyone(keys, layout)
        objects = scenery.objects(keys, aimed_at, self.size, self.difficulty, before=self.occluded is None)
        if self.occluded is not None:
            hidden = occlusion.hidden_by_itself(body, joints.floor() + 0.5, self._own)
            hiding = occlusion.objects(keys, joints, inside(joints, self.size), hidden, self.occluded, self.size)
            objects = Shapes.join([objects, hiding])
        shapes = Shapes.join([objects, bodies])
        if self.perturbation != Perturbation():
            shapes = shapes.perturbed(self.perturbation, self.size)
            layout = replace(layout, poses=self.perturbation.apply(layout.poses, self.size))
        images, canvas = self._paint(keys, shapes)
        # From here on shapes are numbered from the first body on, objects and background below 0.
        canvas.shape -= objects.depth.shape[1]
        return self._label(indices, layout, build, canvas, images)

    def _cast(self, keys: Tensor, poses: Tensor | None) -> tuple[Int64[Tensor, "b p"], Float[Tensor, "b p 16 2"]]:
        """The people of each scene: their keys and normalised poses, the one to find first."""
        drawn = _PEOPLE_DRAWN if self.people == 1 else self.people
        crowd = random.fork(keys, drawn if self.occluded is None else occlusion.CANDIDATES)  # [b, people]
        normalised = self._prior.sample(crowd.flatten()).view(*crowd.shape, len(MPII), 2)
        if poses is not None:
            others = normalised[:, 1:] if self.occluded is None else poses[:, None].expand_as(normalised[:, 1:])
            normalised = torch.cat([poses[:, None], others], 1)
        if self.occluded is None:
            return crowd, normalised
        stages = keys.repeat_interleave(crowd.shape[1])
        joints = self._layout(stages, normalised.flatten(0, 1)[:, None]).poses[:, 0]
        hidden = occlusion.hidden_by_itself(dress(joints, crowd.flatten())[0], joints, self._own)
        count = (hidden & inside(joints, self.size)).sum(1).view(crowd.shape)
        # The least of them; of several, the first.
        chosen = (count * len(crowd[0]) + torch.arange(len(crowd[0]), device=keys.device)).argmin(1, keepdim=True)
        return crowd.gather(1, chosen), normalised.take_along_dim(chosen[..., None, None], 1)

    def _layout(self, keys: Tensor, normalised: Tensor) -> Layout:
        lay_out = _lay_out if self.people == 1 else _lay_out_group
        return lay_out(keys, normalised, self.size, self.difficulty == "life")

    def _paint(self, keys: Int64[Tensor, " b"], shapes: Shapes) -> tuple[Float[Tensor, "b 3 s s"], Canvas]:
        """Pixels, a few images at a time."""
        images, canvases = [], []
        for part in torch.arange(len(keys), device=self.device).split(self._at_once):
            light = scenery.light(keys[part])
            canvases.append(rasterise(shapes.map(lambda value, part=part: value[part]), self.size, light))
            images.append(scenery.photograph(keys[part], canvases[-1], self.size, self.difficulty, self.perturbation))
        return torch.cat(images), Canvas.join(canvases)

    def _label(self, indices: Tensor, layout: Layout, build: Build, canvas: Canvas, images: Tensor) -> Sample:
        shown = self.people
        joints = layout.poses[:, :shown]
        presence = _presence(joints, layout.present[:, :shown], canvas, self._own)
        owners = canvas.owner
        labelled = (owners >= 1) & (owners <= shown)
        back = build.front.view(layout.present.shape)[:, 0] < _BACK
        main, main_presence = joints[:, 0], presence[:, 0]
        head_joints = joints[:, :, MPII.index("upper_neck")] - joints[:, :, MPII.index("head_top")]
        head = HEAD_OF_JOINTS * head_joints.norm(dim=-1)  # (b, people)
        head = head.where(layout.present[:, :shown], torch.nan)
        return Sample(
            images=images,
            joints=main,
            presence=main_presence,
            head_size=head[:, 0],
            torso_size=torso_size(main, torch.ones_like(main_presence), MPII),
            index=indices,
            parsing=(canvas.label * labelled).to(torch.uint8),
            tags=tags(main_presence, back),
            people_joints=joints if shown > 1 else None,
            people_presence=presence if shown > 1 else None,
            people_head_size=head if shown > 1 else None,
            instances=(owners * labelled).to(torch.uint8),
        )


@dataclass
class Layout:
    """Where the people of a scene stand: poses in pixels, who is there, and who is before whom.

    Attributes:
        poses: in pixels, the person to find first.
        present: who of them is in the scene; the first always is.
        depths: distinct by more than a body's own depth.
    """

    poses: Float[Tensor, "b p 16 2"]
    present: Bool[Tensor, "b p"]
    depths: Float[Tensor, "b p"]


def _lay_out(keys: Tensor, normalised: Float[Tensor, "b p 16 2"], size: int, life: bool) -> Layout:
    """One person to find, and in "life" others who walk by."""
    draws = Draws(keys, 64, _STREAM)
    others = normalised.shape[1] - 1
    height = size * (draws.uniform(0.62, 0.9) if life else draws.uniform(0.72, 0.86))
    centre = draws.many(2, 0.45, 0.55) * size
    if life:
        # Some crops show a part of the body: it is drawn larger, around one of its joints.
        closer = draws.chance(0.22)
        height = height * torch.where(closer, draws.uniform(1.2, 1.9), 1.0)
        focus = torch.tensor([MPII.index(n) for n in ("thorax", "upper_neck", "pelvis", "r_knee", "l_knee")])
        focus = focus.to(keys.device)[draws.choice((0.4, 0.2, 0.2, 0.1, 0.1))]
        around = normalised[:, 0][torch.arange(len(keys), device=keys.device), focus]
        centre = centre - torch.where(closer[:, None], around * height[:, None], 0.0)

    scale = height[:, None] * torch.cat([torch.ones_like(height)[:, None], draws.many(others, 0.7, 1.15)], 1)
    side = torch.where(draws.many(others) < 0.5, -1.0, 1.0)
    apart = torch.stack([side * draws.many(others, 0.28, 0.62), draws.many(others, -0.14, 0.14)], -1) * size
    centres = torch.cat([centre[:, None], centre[:, None] + apart], 1)
    turned = _turn(normalised, draws.uniform(-0.12, 0.12) * life)
    poses = turned * scale[..., None, None] + centres[:, :, None]

    odds = torch.zeros(others, device=keys.device)
    if life:
        odds[:2] = torch.tensor([0.32, 0.1])[:others]
    company = draws.many(others) < odds
    present = torch.cat([company.new_ones(len(company), 1), company], 1)
    before = torch.where(draws.many(others) < 0.38, 1.0, -1.0)
    depths = before * (4 + 2.5 * torch.arange(1, others + 1, device=keys.device))
    return Layout(poses, present, torch.cat([depths.new_zeros(len(depths), 1), depths], 1))


def _lay_out_group(keys: Tensor, normalised: Float[Tensor, "b p 16 2"], size: int, life: bool) -> Layout:
    """Two people or more beside each other, the largest first, in random order from left to right and front to back."""
    draws = Draws(keys, 64, _GROUP)
    most = normalised.shape[1]
    count = 2 + (draws.uniform() * (most - 1)).long()  # (b,)
    present = torch.arange(most, device=keys.device) < count[:, None]
    turned = _turn(normalised, draws.uniform(-0.12, 0.12) * life)
    # Heads of one size, or who crouches would be a giant beside those who stand.
    bodies = normalised.flatten(0, 1)
    unit = measure(bodies, torch.zeros_like(bodies[:, 0, 0])).unit.view(-1, most)
    scale = torch.cat([torch.ones_like(unit[:, :1]), draws.many(most - 1, 0.75, 1.0)], 1)
    scale = scale * (draws.uniform(0.85, 1.15) / count.sqrt())[:, None]
    poses = turned * (scale * (_HEADS / unit).clamp_max(1.0))[..., None, None]

    place = _ranks(draws.many(most).masked_fill(~present, 2.0))
    across = (place + 0.5 + draws.many(most, -0.25, 0.25)) / count[:, None]
    nearness = _ranks(draws.many(most))
    down = draws.many(most, 0.4, 0.55) + 0.03 * nearness
    centres = torch.stack([across, down], -1)
    # The whole of everyone fits the image; then some scenes are seen from nearer, and their edges cut people off.
    reach = poses.abs().amax(2) + 0.03
    centres = torch.maximum(torch.minimum(centres, 1 - reach), reach)
    poses = poses + centres[:, :, None]
    if life:
        nearer = torch.where(draws.chance(0.25), draws.uniform(1.1, 1.3), 1.0)
        poses = (poses - 0.5) * nearer[:, None, None, None] + 0.5
    return Layout(poses * size, present, 2.5 * nearness)


def _ranks(values: Float[Tensor, "b p"]) -> Float[Tensor, "b p"]:
    """Each value's place among its row's, the smallest 0."""
    return values.argsort(1).argsort(1).to(values.dtype)


def _turn(poses: Float[Tensor, "b p 16 2"], angle: Float[Tensor, " b"]) -> Float[Tensor, "b p 16 2"]:
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).view(-1, 1, 2, 2)
    return poses @ rotation.transpose(-1, -2)


def _anyone(keys: Tensor, layout: Layout) -> Float[Tensor, "b 16 2"]:
    """Each joint of one or another of those present: what objects before a group are placed over."""
    draws = Draws(keys, layout.poses.shape[2], _ANYONE)
    who = (draws.many(layout.poses.shape[2]) * layout.present.sum(1, keepdim=True)).long()
    return layout.poses.gather(1, who[:, None, :, None].expand(-1, 1, -1, 2))[:, 0]


def _seat(body: Shapes, layout: Layout) -> Shapes:
    """The bodies of a scene as one list of shapes, at their depths, owned by 1, 2, ... in order."""
    count = layout.present.shape[1]
    per_body = body.depth.shape[1]
    body = body.map(lambda value: value.unflatten(0, (-1, count)).flatten(1, 2))
    person = torch.arange(count, device=body.owner.device).repeat_interleave(per_body)
    gone = ~layout.present[:, person]
    return replace(
        body,
        depth=body.depth + layout.depths[:, person],
        owner=body.owner + person + 1,
        start_radius=body.start_radius.masked_fill(gone, -1.0),
        end_radius=body.end_radius.masked_fill(gone, -1.0),
    )


def _presence(
    joints: Float[Tensor, "b p 16 2"], present: Bool[Tensor, "b p"], canvas: Canvas, own: Bool[Tensor, "16 n"]
) -> UInt8[Tensor, "b p 16"]:
    """0 outside the image, 1 where something else is drawn over the joint, 2 where its own limb or nothing is."""
    count = joints.shape[1]
    size = canvas.shape.shape[-1]
    shown = inside(joints, size) & present[..., None]
    place = joints.floor().long().clamp(0, size - 1)
    pixel = (place[..., 1] * size + place[..., 0]).flatten(1)
    owner = canvas.owner.flatten(1).gather(1, pixel).view(shown.shape)
    shape = canvas.shape.flatten(1).gather(1, pixel).view(shown.shape)
    person = torch.arange(1, count + 1, device=joints.device)[:, None]
    mine = owner == person
    part = (shape - (person - 1) * own.shape[1]).clamp(0, own.shape[1] - 1)
    joint = torch.arange(joints.shape[2], device=joints.device).expand_as(part)
    covered = torch.where(mine, ~own[joint, part], owner != 0)
    return (shown * (2 - covered.long())).to(torch.uint8)
