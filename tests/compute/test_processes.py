"""Joining the processes of `torchrun`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest


@pytest.fixture
def address():
    """Where nobody listens, as what torchrun tells its processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = f"{free.getsockname()[1]}"
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_USE_AGENT_STORE": "True"}
    return os.environ | where | {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}


def test_a_process_whose_torchrun_is_gone_ends(tmp_path, address):
    """It would wait for the others for half an hour."""
    train = [sys.executable, "-m", "posebook.cli", "train", "hourglass", "--output", f"{tmp_path}", "--device", "cpu"]
    ended = subprocess.run(train, env=address, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, "torchrun" in ended.stderr, "Traceback" in ended.stderr) == (1, True, False)
