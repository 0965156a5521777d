"""A pose dressed: 16 joints in, the shapes of a clothed body out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from posebook.figures import palette
from posebook.figures.palette import Draws
from posebook.figures.raster import NO_CUT, Shapes
from posebook.skeleton import MPII, PART_INDEX

_STREAM = 11
_DRAWS = 128

# Shapes of a body in the order they are listed; the names of what covers a joint without hiding it are built on these.
NAMES = (
    "torso", "shoulders", "flank_r", "flank_l", "waist", "neck", "skull", "face", "hair", "eye_r", "eye_l", "mouth",
    "sunglasses", "crown", "brim", "scarf", "scarf_tail", "opening", "hem", "hem_r", "hem_l",
    "upper_arm_r", "upper_arm_l", "lower_arm_r", "lower_arm_l", "hand_r", "hand_l",
    "thigh_r", "thigh_l", "shin_r", "shin_l", "sock_r", "sock_l", "foot_r", "foot_l",
)  # fmt: skip

_TORSO = ("torso", "shoulders", "flank_r", "flank_l", "waist", "opening", "hem")
_HEAD = ("skull", "face", "hair", "eye_r", "eye_l", "mouth", "sunglasses", "crown", "brim")
_OWN = {
    "ankle": ("shin", "sock", "foot"), "knee": ("thigh", "shin", "sock", "hem"), "hip": ("thigh", "hem"),
    "wrist": ("lower_arm", "hand"), "elbow": ("upper_arm", "lower_arm"), "shoulder": ("upper_arm",),
}  # fmt: skip
_SHARED = {
    "knee": ("hem",), "hip": _TORSO, "shoulder": (*_TORSO, "hair", "scarf", "neck"),
    "pelvis": (*_TORSO, "thigh_r", "thigh_l", "hem_r", "hem_l", "scarf_tail"),
    "thorax": (*_TORSO, "neck", "scarf", "scarf_tail", "hair", "face", "skull", "upper_arm_r", "upper_arm_l"),
    "upper_neck": ("neck", "scarf", "torso", "shoulders", *_HEAD), "head_top": _HEAD,
}  # fmt: skip


def own_shapes() -> Bool[Tensor, "16 shapes"]:
    """Which shapes of its own body may show at a joint that counts as visible: the limb, and the clothes on it."""
    own = torch.zeros(len(MPII), len(NAMES), dtype=torch.bool)
    for row, joint in enumerate(MPII.joints):
        side, kind = (joint[0], joint[2:]) if joint[:2] in ("l_", "r_") else ("", joint)
        names = (*_SHARED.get(kind, ()), *(f"{part}_{side}" for part in _OWN.get(kind, ())))
        own[row, [NAMES.index(name) for name in names]] = True
    return own


@dataclass
class Build:
    """What the shapes of a body are measured by.

    Attributes:
        unit: about the length of the head, in pixels; foreshortening taken out.
        front: cosine of the turn away from the camera, 1 facing it, -1 showing the back.
        aside: sine of that turn, positive facing the image's right.
    """

    unit: Float[Tensor, " m"]
    front: Float[Tensor, " m"]
    aside: Float[Tensor, " m"]


# Lengths in heads of people who stand in the image plane, from MPII's joints.
_LENGTHS = (
    ("upper_neck", "head_top", 1.0), ("pelvis", "thorax", 1.95), ("r_hip", "r_knee", 1.65), ("l_hip", "l_knee", 1.65),
    ("r_knee", "r_ankle", 1.6), ("l_knee", "l_ankle", 1.6), ("r_shoulder", "r_elbow", 1.15),
    ("l_shoulder", "l_elbow", 1.15), ("r_elbow", "r_wrist", 1.0), ("l_elbow", "l_wrist", 1.0),
)  # fmt: skip


def measure(pose: Float[Tensor, "m 16 2"], toss: Float[Tensor, " m"]) -> Build:
    """Size and turn of a body, read off its joints.

    Args:
        toss: a random number in [0, 1) for profiles whose limbs do not tell which way they face.
    """
    at = {name: pose[:, place] for place, name in enumerate(MPII.joints)}
    lengths = torch.stack([(at[a] - at[b]).norm(dim=-1) / heads for a, b, heads in _LENGTHS], 1)
    # Foreshortening only shortens: the larger lengths tell the size, the very largest may be a stretched limb.
    unit = lengths.sort(1).values[:, -4]
    up = _unit(at["thorax"] - at["pelvis"])
    shoulders, hips = at["l_shoulder"] - at["r_shoulder"], at["l_hip"] - at["r_hip"]
    front = (_cross(up, shoulders) + 0.6 * _cross(up, hips)) / (2.0 * unit).clamp_min(1e-3)
    front = front.clamp(-1, 1)
    # Knees point forward and elbows back.
    right = torch.stack([-up[:, 1], up[:, 0]], -1)
    bend = sum(
        sign * ((at[f"{side}_{b}"] - (at[f"{side}_{a}"] + at[f"{side}_{c}"]) / 2) * right).sum(-1)
        for side in "rl"
        for sign, a, b, c in ((1.0, "hip", "knee", "ankle"), (-0.7, "shoulder", "elbow", "wrist"))
    )
    sign = torch.where(bend.abs() > 0.15 * unit, bend.sign(), torch.where(toss < 0.5, -1.0, 1.0))
    return Build(unit, front, sign * (1 - front.square()).sqrt())


def dress(pose: Float[Tensor, "m 16 2"], keys: Int64[Tensor, " m"]) -> tuple[Shapes, Build]:
    """The shapes of clothed bodies, in the order of `NAMES`.

    Args:
        pose: joints in pixels.
        keys: everything random about a body and its clothes follows from its key.

    Returns:
        Shapes whose depth lies within (-1, 1) around the torso's 0 and whose owner is 0, and the body's measures.
    """
    draws = Draws(keys, _DRAWS, _STREAM)
    build = measure(pose, draws.uniform())
    return _Body(pose, build, draws).shapes(), build


class _Body:
    """One use: collects the shapes of a batch of bodies by name, then stacks them in the order of `NAMES`."""

    def __init__(self, pose: Tensor, build: Build, draws: Draws) -> None:
        self.at = {name: pose[:, place] for place, name in enumerate(MPII.joints)}
        self.build, self.draws = build, draws
        self.parts: dict[str, dict[str, Tensor]] = {}
        self.unit = build.unit
        self.weight = draws.uniform(0.85, 1.22)
        self.skin = palette.skin(draws)
        self.zero = torch.zeros_like(pose[:, 0, 0])

    def shapes(self) -> Shapes:
        outfit = self._outfit()
        self._trunk(outfit)
        self._head(outfit)
        for side in "rl":
            self._arm(side, outfit)
            self._leg(side, outfit)
        self._hem(outfit)
        columns = {k: torch.stack([self.parts[n][k] for n in NAMES], 1) for k in self.parts[NAMES[0]]}
        return Shapes(**columns)

    def _add(
        self,
        name: str,
        start: Tensor,
        end: Tensor,
        radii: tuple[Tensor, Tensor],
        depth: Tensor | float,
        label: Tensor | str,
        colour: Tensor,
        second: tuple[Tensor | str, Tensor] | None = None,
        cut: Tensor | float = NO_CUT,
        flat: bool = False,
        on: Tensor | None = None,
        axis: tuple[Tensor, Tensor, Tensor] | None = None,
        relief: float = 0.55,
        pattern: Tensor | None = None,
    ) -> None:
        """`second` is what shows beyond `cut`; without one the shape is of one piece."""
        like = self.zero
        first_label = self._label(label)
        second_label, second_colour = (first_label, colour) if second is None else (self._label(second[0]), second[1])
        axis = axis or (start, end, torch.maximum(*radii))
        shown = torch.ones_like(like, dtype=torch.bool) if on is None else on
        self.parts[name] = {
            "start": start,
            "end": end,
            "start_radius": torch.where(shown, radii[0], -1.0),
            "end_radius": torch.where(shown, radii[1], -1.0),
            "flat": torch.full_like(like, flat, dtype=torch.bool),
            "depth": like + depth,
            "cut": like + cut,
            "colours": torch.stack([colour, second_colour], 1),
            "labels": torch.stack([first_label, second_label], 1),
            "owner": torch.zeros_like(first_label),
            "axis_start": axis[0],
            "axis_end": axis[1],
            "axis_radius": axis[2],
            "relief": like + relief,
            "pattern": like[:, None].expand(-1, 3) if pattern is None else pattern,
        }

    def _label(self, label: Tensor | str) -> Tensor:
        if isinstance(label, str):
            return torch.full_like(self.zero, PART_INDEX[label], dtype=torch.long)
        return label

    def _pick(self, number: Tensor, *labels: str) -> Tensor:
        return torch.tensor([PART_INDEX[name] for name in labels], device=number.device)[number]

    def _outfit(self) -> dict[str, Tensor]:
        d = self.draws
        top = d.choice((0.60, 0.18, 0.14, 0.08))  # shirt, coat, dress, jumpsuit
        bottom = d.choice((0.62, 0.16, 0.14, 0.08))  # trousers, shorts, skirt, bare
        dress, jumpsuit = top == 2, top == 3
        sleeve = d.choice((0.42, 0.40, 0.18))  # long, short, none
        sleeve = torch.where(top == 1, 0, sleeve)
        bottom = torch.where(dress, 3, torch.where(jumpsuit, 0, bottom))
        top_colour, bottom_colour, shirt_colour = (palette.cloth(d) for _ in range(3))
        top_pattern, bottom_pattern = palette.stripes(d, 0.35), palette.stripes(d, 0.15)
        top_label = self._pick(top, "upper_clothes", "coat", "dress", "jumpsuits")
        whole = (dress | jumpsuit)[:, None]
        bottom_label = self._pick(bottom, "pants", "pants", "skirt", "pants")
        return {
            "top": top_label,
            "top_colour": top_colour,
            "top_pattern": top_pattern,
            "sleeve_upper": torch.where(sleeve == 0, 2.0, torch.where(sleeve == 1, d.uniform(0.4, 0.95), NO_CUT)),
            "sleeve_lower": torch.where(sleeve == 0, d.uniform(0.75, 1.0), NO_CUT),
            "bottom": torch.where(dress | jumpsuit, top_label, bottom_label),
            "bottom_colour": torch.where(whole, top_colour, bottom_colour),
            "bottom_pattern": torch.where(whole, top_pattern, bottom_pattern),
            "leg_upper": torch.where(bottom == 0, 2.0, torch.where(bottom == 1, d.uniform(0.4, 0.95), NO_CUT)),
            "leg_lower": torch.where(bottom == 0, d.uniform(0.78, 1.02), NO_CUT),
            "tucked": d.chance(0.45) & (top == 0),
            "coat": top == 1,
            "open_coat": (top == 1) & d.chance(0.7),
            "shirt_colour": shirt_colour,
            "hem_label": torch.where(dress | (top == 1), top_label, bottom_label),
            "hem_colour": torch.where((dress | (top == 1))[:, None], top_colour, bottom_colour),
            "hem_pattern": torch.where((dress | (top == 1))[:, None], top_pattern, bottom_pattern),
            "has_hem": dress | (bottom == 2) | (top == 1),
            "hem_length": torch.where(top == 1, d.uniform(0.3, 0.8), d.uniform(0.45, 1.1)),
            "socks": d.chance(0.55),
            "sock_colour": palette.cloth(d),
            "shod": d.chance(0.93),
            "shoe_colour": palette.cloth(d),
            "gloves": d.chance(0.16),
            "glove_colour": palette.cloth(d),
        }

    def _trunk(self, o: dict[str, Tensor]) -> None:
        at, u, w = self.at, self.unit, self.weight
        half_shoulders = (at["l_shoulder"] - at["r_shoulder"]).norm(dim=-1) / 2
        half_hips = (at["l_hip"] - at["r_hip"]).norm(dim=-1) / 2
        chest = torch.maximum(half_shoulders + 0.08 * u, 0.42 * u * w)
        seat = torch.maximum(half_hips + 0.22 * u * w, 0.42 * u * w)
        upper, lower = at["thorax"], at["pelvis"]
        axis = (upper, lower, torch.maximum(chest, seat) + 0.1 * u)
        self.axis = axis
        look = {"label": o["top"], "colour": o["top_colour"], "axis": axis, "pattern": o["top_pattern"], "relief": 0.5}
        self._add("torso", upper, lower, (chest, seat), 0.0, flat=True, **look)
        shoulder = 0.24 * u * w
        self._add("shoulders", at["r_shoulder"], at["l_shoulder"], (shoulder, shoulder), 0.001, **look)
        for side in "rl":
            hip = torch.lerp(at[f"{side}_hip"], at["pelvis"], 0.15)
            radii = (0.22 * u * w, 0.3 * u * w)
            self._add(f"flank_{side}", at[f"{side}_shoulder"], hip, radii, -0.001, **look)
        waist = 0.33 * u * w
        self._add(
            "waist", at["r_hip"], at["l_hip"], (waist, waist), torch.where(o["tucked"], 0.004, -0.004),
            label=o["bottom"], colour=o["bottom_colour"], axis=axis, pattern=o["bottom_pattern"],
        )  # fmt: skip
        middle = torch.lerp(upper, lower, 0.02)
        strip = 0.2 * u
        self._add(
            "opening", middle, lower, (strip, strip * 1.25), 0.006, "upper_clothes",
            o["shirt_colour"], flat=True, on=o["open_coat"] & (self.build.front > 0.35), axis=axis, relief=0.4,
        )  # fmt: skip
        throat = 0.2 * u * w
        self._add("neck", upper, at["upper_neck"], (throat, throat), 0.03, "face", self.skin * 0.93, relief=0.4)

    def _head(self, o: dict[str, Tensor]) -> None:
        at, u, d, b = self.at, self.unit, self.draws, self.build
        chin, top = at["upper_neck"], at["head_top"]
        length = (top - chin).norm(dim=-1).clamp_min(1e-3)
        up = _unit(top - chin)
        # The image's right of an upright head; the face turns along it.
        right = torch.stack([-up[:, 1], up[:, 0]], -1)
        size = torch.maximum(length, 0.7 * u)
        middle = chin + up * (0.5 * length)[:, None]

        def place(sideways: Tensor | float, upwards: Tensor | float) -> Tensor:
            return middle + right * (self.zero + sideways)[:, None] + up * (self.zero + upwards)[:, None]

        hair = palette.hair(d)
        bald, long = d.chance(0.07), d.chance(0.45)
        facing = b.front > -0.25
        radius = 0.36 * size
        skull = torch.where(bald[:, None], self.skin, hair)
        skull_label = torch.where(bald, PART_INDEX["face"], PART_INDEX["hair"])
        turn = 0.16 * size * b.aside
        self._add(
            "skull", place(-0.4 * turn, -0.08 * size), place(-0.4 * turn, 0.16 * size), (radius, radius * 1.02), 0.11,
            skull_label, skull, relief=0.45,
        )  # fmt: skip
        fringe = d.uniform(0.04, 0.13) * size
        self._add(
            "face", place(turn, -0.14 * size), place(turn, 0.12 * size - fringe), (0.29 * size, 0.31 * size), 0.12,
            "face", self.skin, on=facing, relief=0.35,
        )  # fmt: skip
        locks = torch.where(b.front > 0.3, -0.2, torch.where(facing, 0.09, 0.14))
        self._add(
            "hair", place(-0.9 * turn, 0.1 * size), place(-0.9 * turn, -d.uniform(0.6, 1.25) * size),
            (0.39 * size, 0.33 * size), locks, "hair", hair * 0.92, on=long & ~bald, relief=0.4,
        )  # fmt: skip
        eye = 0.052 * size
        dark = hair.new_tensor([0.08, 0.06, 0.06]).expand_as(hair)
        spread = 0.13 * size * b.front.clamp_min(0.35)
        for side, sign in (("r", -1.0), ("l", 1.0)):
            spot = place(1.5 * turn + sign * spread, 0.03 * size)
            self._add(f"eye_{side}", spot, spot, (eye, eye), 0.13, "face", dark, on=facing, relief=0.0)
        lips = self.skin * hair.new_tensor([0.82, 0.5, 0.5])
        wide = 0.1 * size * b.front.clamp_min(0.4)
        self._add(
            "mouth", place(1.5 * turn - wide, -0.19 * size), place(1.5 * turn + wide, -0.19 * size),
            (0.035 * size, 0.035 * size), 0.13, "face", lips, on=facing, relief=0.0,
        )  # fmt: skip
        shades = (spread + 0.12 * size).clamp_max(0.3 * size)
        self._add(
            "sunglasses", place(1.45 * turn - shades, 0.04 * size), place(1.45 * turn + shades, 0.04 * size),
            (0.085 * size, 0.085 * size), 0.14, "sunglasses", dark * 1.2, on=facing & d.chance(0.17), relief=0.2,
        )  # fmt: skip
        hat, cloth = d.chance(0.24), palette.cloth(d)
        self._add(
            "crown", place(-0.2 * turn, 0.2 * size), place(-0.2 * turn, 0.42 * size), (0.39 * size, 0.31 * size), 0.15,
            "hat", cloth, on=hat, flat=True, relief=0.5,
        )  # fmt: skip
        brim = torch.where(d.chance(0.5), 0.52, 0.36) * size
        shift = turn * 1.5
        self._add(
            "brim", place(shift - brim, 0.2 * size), place(shift + brim, 0.2 * size),
            (0.05 * size, 0.05 * size), 0.151, "hat", cloth * 0.8, on=hat, relief=0.3,
        )  # fmt: skip
        worn, wool, pattern = d.chance(0.14), palette.cloth(d), palette.stripes(d, 0.6)
        throat = torch.lerp(at["thorax"], chin, 0.55)
        half = right * (0.27 * u)[:, None]
        thick = 0.19 * u
        look = {"label": "scarf", "colour": wool, "on": worn, "pattern": pattern}
        self._add("scarf", throat - half, throat + half, (thick, thick), 0.16, **look)
        hang = torch.lerp(at["thorax"], at["pelvis"], 0.55) + half * 0.5
        hang_depth = torch.where(b.front > -0.2, 0.155, -0.3)
        self._add("scarf_tail", throat + half * 0.6, hang, (0.13 * u, 0.15 * u), hang_depth, flat=True, **look)

    def _arm(self, side: str, o: dict[str, Tensor]) -> None:
        at, u, d, b = self.at, self.unit, self.draws, self.build
        w = self.weight.sqrt()
        shoulder, elbow, wrist = at[f"{side}_shoulder"], at[f"{side}_elbow"], at[f"{side}_wrist"]
        # Facing right, the right arm is the near one. Arms move before the body rather than behind it.
        near = b.aside if side == "r" else -b.aside
        before = d.chance((0.5 + 0.38 * b.front + 0.5 * near).clamp(0.04, 0.96))
        sign = torch.where(before, 1.0, -1.0)
        jitter = d.uniform(0, 0.02)
        look = {"label": o["top"], "colour": o["top_colour"], "pattern": o["top_pattern"], "relief": 0.75}
        arm = ("r_arm" if side == "r" else "l_arm", self.skin)
        self._add(
            f"upper_arm_{side}", shoulder, elbow, (0.235 * u * w, 0.19 * u * w), sign * (0.2 + jitter),
            second=arm, cut=o["sleeve_upper"], **look,
        )  # fmt: skip
        self._add(
            f"lower_arm_{side}", elbow, wrist, (0.185 * u * w, 0.125 * u * w), sign * (0.25 + jitter),
            second=arm, cut=o["sleeve_lower"], **look,
        )  # fmt: skip
        reach = _unit(wrist - elbow) * (0.2 * u)[:, None]
        gloved = o["gloves"]
        palm = torch.where(gloved, PART_INDEX["glove"], PART_INDEX[arm[0]])
        colour = torch.where(gloved[:, None], o["glove_colour"], self.skin)
        self._add(
            f"hand_{side}", wrist + reach * 0.3, wrist + reach * 1.25, (0.15 * u * w, 0.14 * u * w),
            sign * (0.26 + jitter), palm, colour,
        )  # fmt: skip

    def _leg(self, side: str, o: dict[str, Tensor]) -> None:
        at, u, d, b = self.at, self.unit, self.draws, self.build
        w = self.weight
        hip, knee, ankle = at[f"{side}_hip"], at[f"{side}_knee"], at[f"{side}_ankle"]
        near = b.aside if side == "r" else -b.aside
        depth = -0.03 + 0.015 * near + d.uniform(-0.006, 0.006)
        # A thigh much shorter than it is points at the camera, or away from it when the back is turned.
        short = (1.65 * u - (hip - knee).norm(dim=-1)) / (1.65 * u) > 0.5
        depth = torch.where(short, depth + 0.06 * torch.where(b.front > -0.2, 1.0, -1.0), depth)
        look = {"label": o["bottom"], "colour": o["bottom_colour"], "pattern": o["bottom_pattern"], "relief": 0.75}
        leg = ("r_leg" if side == "r" else "l_leg", self.skin)
        self._add(
            f"thigh_{side}", hip, knee, (0.33 * u * w, 0.23 * u * w), depth,
            second=leg, cut=o["leg_upper"], **look,
        )  # fmt: skip
        self._add(
            f"shin_{side}", knee, ankle, (0.225 * u * w, 0.135 * u * w), depth - 0.001,
            second=leg, cut=o["leg_lower"], **look,
        )  # fmt: skip
        bare = o["leg_lower"] < 0.9
        sock = torch.lerp(knee, ankle, d.uniform(0.55, 0.85)[:, None])
        self._add(
            f"sock_{side}", sock, ankle, (0.175 * u * w, 0.15 * u * w), depth - 0.0005, "socks", o["sock_colour"],
            on=o["socks"] & bare, flat=True,
        )  # fmt: skip
        # Feet point forward, and away from the shin when seen from the front.
        down = _unit(ankle - knee)
        right = torch.stack([-down[:, 1], down[:, 0]], -1) * -1.0
        outward = 0.35 * (-1.0 if side == "r" else 1.0) * b.front
        toes = _unit(down * (0.25 + 0.55 * b.front.abs())[:, None] + right * (b.aside + outward)[:, None])
        shod = o["shod"]
        shoe = "r_shoe" if side == "r" else "l_shoe"
        label = torch.where(shod, PART_INDEX[shoe], PART_INDEX[leg[0]])
        colour = torch.where(shod[:, None], o["shoe_colour"], self.skin)
        length = (0.3 + 0.3 * b.aside.abs()) * u
        heel = ankle + down * (0.1 * u)[:, None]
        self._add(
            f"foot_{side}", heel, heel + toes * length[:, None],
            (0.175 * u * w.sqrt(), 0.125 * u * w.sqrt()), depth + 0.002, label, colour,
        )  # fmt: skip

    def _hem(self, o: dict[str, Tensor]) -> None:
        at, u, w = self.at, self.unit, self.weight
        reach = o["hem_length"][:, None]
        hips = {side: torch.lerp(at[f"{side}_hip"], at["pelvis"], 0.2) for side in "rl"}
        ends = {side: torch.lerp(at[f"{side}_hip"], at[f"{side}_knee"], reach) for side in "rl"}
        look = {
            "label": o["hem_label"], "colour": o["hem_colour"], "pattern": o["hem_pattern"], "on": o["has_hem"],
            "flat": True, "axis": self.axis, "relief": 0.5,
        }  # fmt: skip
        for side in "rl":
            self._add(f"hem_{side}", hips[side], ends[side], (0.36 * u * w, 0.36 * u * w), 0.06, **look)
        gap = (ends["r"] - ends["l"]).norm(dim=-1) / 2
        middle = torch.lerp(at["pelvis"], (ends["r"] + ends["l"]) / 2, 0.97)
        self._add("hem", at["pelvis"], middle, (0.55 * u * w, torch.maximum(gap, 0.4 * u)), 0.061, **look)


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm(dim=-1, keepdim=True).clamp_min(1e-6)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
