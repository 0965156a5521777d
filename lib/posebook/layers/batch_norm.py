"""Batch norm whose statistics are those of the whole batch, however many processes share it, on a CPU too.

torch's own SyncBatchNorm needs a GPU. With it, or with this, two processes train what one does.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn


class SharedBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` with mean and variance taken over all processes; the same settings and the same state.

    Every process must hold equally many values, as equal shares of a batch do. Alone, it is `nn.BatchNorm2d`.
    """

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        # Without running statistics a batch is normalised by its own in evaluation too.
        learnt = not self.training and self.running_mean is not None
        if learnt or not dist.is_initialized():
            return super().forward(x)
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = _mean_over_processes(values.mean((0, 2, 3)))  # (c,)
        # About the common mean: the mean of squares less the square of the mean loses digits.
        variance = _mean_over_processes((values - mean[:, None, None]).square().mean((0, 2, 3)))  # (c,)
        if self.training and self.running_mean is not None:
            self._track(mean.detach(), variance.detach(), values.numel() // len(mean) * dist.get_world_size())
        scale = torch.rsqrt(variance + self.eps)
        normal = (values - mean[:, None, None]) * scale[:, None, None]
        if self.affine:
            normal = normal * self.weight[:, None, None] + self.bias[:, None, None]
        return normal.to(x.dtype)

    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics on, as torch does: the variance kept is the unbiased one."""
        self.num_batches_tracked += 1
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), momentum)


def share_batch_norm(module: nn.Module) -> nn.Module:
    """The network with each `nn.BatchNorm2d` made to share its statistics; weights and their names stay.

    On a GPU this is torch's SyncBatchNorm.
    """
    parameter = next(module.parameters(), None)
    if parameter is not None and parameter.device.type != "cpu":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for part in module.modules():
        if type(part) is nn.BatchNorm2d:
            # The subclass adds no state, only another forward.
            part.__class__ = SharedBatchNorm2d
    return module


class _Mean(torch.autograd.Function):
    """The mean over the processes, whose gradient is the mean of their gradients."""

    @staticmethod
    def forward(context, value: Tensor) -> Tensor:
        return _reduce(value)

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        return _reduce(gradient)


def _reduce(value: Tensor) -> Tensor:
    total = value.contiguous().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def _mean_over_processes(value: Float[Tensor, " c"]) -> Float[Tensor, " c"]:
    return _Mean.apply(value)
