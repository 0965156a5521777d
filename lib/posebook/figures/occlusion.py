"""How much of a figure is hidden: what `Figures(..., occluded=share)` is made of.

The same numbers at two shares are the same people in the same poses and clothes before the same background, which
makes them pairs to compare. They differ in the objects before the person alone: the larger share has those of the
smaller one and more, so that a joint hidden at one share is hidden at every larger one. Which joints the image shows
at all is the same throughout.

Objects are of the sizes, colours and kinds that scenes have without a share, save those that would hide more than
three joints. What else there is to know before reading a curve over shares:

- People are chosen for hiding none of their joints with their own body, so that at share 0 next to nothing is hidden.
  These poses are easier than those of scenes without a share: 78 % of people face the camera where 46 % do there, and
  4 % are in profile where 21 % are. Compare accuracy over shares, not with that of the usual test split.
- At share 0, 2 to 5 in 1,000 joints are hidden nevertheless: for 1 person in 90 none of the candidates will do, and
  the smaller the image, the more often a joint's pixel shows another limb than the joint's exact place.
- The share holds on average. A person is off by 0.3 to 0.8 joints on average and by three at most (of 16), and joints
  of the trunk, which lie close together, are hidden more often than ankles and head: 0.6 against 0.4 at 0.5.
- Every object hides a joint, which lies anywhere in it. A network that answered with the middle of the right object
  would be within half a head size in six cases of ten, as with the objects of scenes without a share.
- A scene without a share has three objects before the person at most, at 0.5 there are about five: the amount is
  beyond what a network trained on figures has seen.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from posebook.figures import random, scenery
from posebook.figures.raster import Shapes, covers

# Of so many people, the first is taken whose own body hides none of its joints: three in ten are such.
CANDIDATES = 12
# Objects to choose from. Those that are kept hide half of the joints long before the last.
_OBJECTS = 24
# A larger object would hide much of a person at a stroke.
_MOST_AT_ONCE = 3
_STREAM = 2


def hidden_by_itself(body: Shapes, joints: Float[Tensor, "m 16 2"], own: Bool[Tensor, "16 n"]) -> Bool[Tensor, "m 16"]:
    """Joints before which a body has another part of itself.

    Args:
        joints: in pixels.
        own: as `people.own_shapes` gives it.
    """
    over = covers(body, joints)
    nearest = body.depth[:, None].where(over, -torch.inf).argmax(-1)  # (m, 16)
    return over.any(-1) & ~own[torch.arange(len(own), device=own.device), nearest]


def objects(
    keys: Int64[Tensor, " b"],
    joints: Float[Tensor, "b 16 2"],
    inside: Bool[Tensor, "b 16"],
    hidden: Bool[Tensor, "b 16"],
    share: float | int,
    size: int,
) -> Shapes:
    """Objects before people, so many that they hide a share of the joints.

    Objects come one after the other and each hides at least one more joint. The one that would go beyond the share
    comes with the chance that makes the expected number of hidden joints exactly the share of those in the image.

    Args:
        joints: in pixels.
        inside: which of them the image shows.
        hidden: which of them are occluded already; they count.
        share: of the joints in the image, to be occluded.
        size: side of the image.
    """
    things = scenery.occluders(keys, joints, size, _OBJECTS)
    over = covers(things, joints.floor() + 0.5).transpose(1, 2) & inside[:, None]  # (b, objects, 16)
    over &= over.sum(-1, keepdim=True) <= _MOST_AT_ONCE
    gone = torch.cat([(hidden & inside)[:, None], over], 1).int().cumsum(1) > 0  # after none, one, two ... objects
    count = gone.sum(-1).float()
    before, more = count[:, :-1], count.diff(dim=1)
    # One toss a person and not one an object: what is kept at a share is kept at every larger one.
    toss = random.uniforms(keys, 1, stream=_STREAM)
    kept = (more > 0) & (before + toss * more < share * inside.sum(1, keepdim=True))
    return replace(
        things, start_radius=things.start_radius.where(kept, -1.0), end_radius=things.end_radius.where(kept, -1.0)
    )
