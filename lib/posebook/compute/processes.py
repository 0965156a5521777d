"""The device and memory of a process, and the processes that train one network together, as `torchrun` starts them."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import socket

import torch
import torch.distributed as dist
from torch import Tensor

from posebook.compute.ending import end_with


def processes() -> tuple[int, int]:
    """This process's number, and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def pick_device(name: str) -> torch.device:
    """A device by its name; "auto" is a GPU where there is one. ValueError where it is not to be had."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.empty(0, device=name).device
        # A device of shapes alone has nothing to give back.
        torch.zeros(1, device=device).item()
        return device
    except (RuntimeError, AssertionError) as error:  # which of them depends on how torch was built
        raise ValueError(f"device '{name}' cannot be used here ({str(error).splitlines()[0]}); try cpu") from error


def device_name(device: torch.device) -> str:
    """What a device is called in records: the GPU's name, or the processor's architecture."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()


def join_processes(device: torch.device | str) -> torch.device:
    """Under `torchrun`, meet the other processes; elsewhere do nothing. The device that this process works on.

    Raises:
        ConnectionRefusedError: torchrun is gone already.
    """
    device = torch.device(device)
    if "LOCAL_RANK" not in os.environ:
        return device
    # torchrun stops its processes when it is stopped, but not when it is killed.
    end_with(os.getppid(), ctrl_c=True)
    _check_launcher()
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def _check_launcher() -> None:
    """ConnectionRefusedError where torchrun ended before it was watched: the processes would wait for each other.

    torchrun itself listens at their address, on the first machine, unless it was told otherwise.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return
    host, port = os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
    try:
        socket.create_connection((host, int(port)), timeout=60).close()
    except ConnectionRefusedError:
        gone = f"nobody answers at {host}, port {port}, where torchrun on the first machine should: start it again"
        raise ConnectionRefusedError(gone) from None


def keep_memory() -> None:
    """Keep memory that tensors gave back for the next ones, instead of returning it to the system each time.

    On Linux large tensors are otherwise mapped, and their pages cleared, anew in every step, which takes a twentieth
    to a tenth of its time on a CPU. Elsewhere nothing happens.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    # M_MMAP_MAX: no maps of their own for large blocks. M_TRIM_THRESHOLD: nothing is given back at the end.
    library.mallopt(-4, 0)
    library.mallopt(-1, 2**31 - 1)


def leave_processes() -> None:
    """Say goodbye to the other processes."""
    if not dist.is_initialized():
        return
    # DistributedDataParallel sits in a reference cycle and holds the group: one that is still alive when Python ends
    # now and then aborts it, and torchrun then calls the whole run failed.
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


def sum_over_processes(value: Tensor) -> Tensor:
    """The sum of what each process holds, in place and in all of them."""
    if dist.is_initialized():
        dist.all_reduce(value)
    return value


def first_process_decides(number: float, device: torch.device) -> float:
    """The first process's number, in all of them: their clocks differ."""
    if not dist.is_initialized():
        return number
    shared = torch.tensor(number, dtype=torch.float64, device=device)
    dist.broadcast(shared, 0)
    return float(shared)
