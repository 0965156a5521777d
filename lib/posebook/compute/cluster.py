"""Jobs of joblib that run at the same time: in processes of this machine, or on the workers of a Dask cluster."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from posebook.compute.ending import end_with
from posebook.extras import needs

# Seconds in which a scheduler has to answer, and then its first worker to be there.
PATIENCE = 20


@contextmanager
def on_cluster(address: str | None) -> Iterator[int]:
    """A context in which joblib's jobs run on a cluster's workers; gives how many there are. No address: 0, and here.

    A job whose worker is lost is done again by another one.

    Args:
        address: of the scheduler, as `dask scheduler` prints it: "tcp://127.0.0.1:8786".

    Raises:
        ModuleNotFoundError: Dask is not installed.
        OSError: there is no scheduler, or it is lost; it has no worker, or one without posebook or of several
            threads (`check_worker`); several workers were lost at one job.
    """
    if address is None:
        yield 0
        return
    from concurrent.futures import CancelledError

    from joblib import parallel_config

    with needs("cluster", "a cluster"):
        from distributed import Client, KilledWorker
    try:
        client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise OSError(f"no scheduler answers at {address} ({error}): start one with `dask scheduler`") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            start = f"start some with `dask worker {address} --nthreads 1`"
            raise OSError(f"the scheduler at {address} has no worker: {start}") from error
        for worker, threads in client.nthreads().items():
            _check_threads(worker, threads)
        found = client.run(is_elsewhere, on_error="return")
        for worker, fault in found.items():
            if isinstance(fault, Exception):
                raise OSError(f"the worker at {worker} cannot import posebook ({fault}): install it there")
        try:
            with parallel_config(_backend(client)):
                yield len(found)
        except KilledWorker as error:
            reason = "several workers were lost at the same job, as when memory runs out"
            raise OSError(f"{reason}: see what they printed, and give them more with --memory-limit") from error
        except CancelledError as error:
            raise OSError(f"the scheduler at {address} was lost: start it and its workers again, then this") from error


def _backend(client: Any) -> Any:
    """joblib's backend for Dask, mended in two places (of joblib 1.6)."""
    from concurrent.futures import Future

    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs: int = 1) -> int:
            # For a single worker joblib would do the jobs in this process.
            return max(2, super().effective_n_jobs(n_jobs))

        def submit(self, func, callback=None) -> Future:
            # joblib would wait forever for a job that the scheduler gave up.
            job = super().submit(func, callback)
            job.add_done_callback(lambda job: job.exception() is not None and callback(job.exception()))
            return job

    return Backend(client=client)


def is_elsewhere() -> bool:
    """Whether joblib's jobs are sent to a cluster, as they are within `on_cluster`."""
    from joblib.parallel import get_active_backend

    # Of joblib's own backends, that for Dask alone has a client.
    return hasattr(get_active_backend()[0], "client")


def as_they_end(jobs: Iterable, count: int) -> Iterator:
    """What joblib's `delayed` jobs give, each as it ends: `count` at a time here, on a cluster one per worker.

    Closed before its end, it stops what runs in processes of this machine, and these end with this one. What runs on a
    cluster goes on to its end, unless it asks `is_wanted`.
    """
    from joblib import Parallel

    # Each process ends with this one from its own start on, when it has no job yet. Threads need no such watch, and
    # joblib starts them without.
    watched = {} if is_elsewhere() else {"initializer": end_with, "initargs": (os.getpid(),)}
    # No batches: what has ended would wait for the rest of its batch. A cluster is sent all at once, so that workers
    # that join it later find some.
    ahead = "all" if is_elsewhere() else "2 * n_jobs"
    return Parallel(n_jobs=count, batch_size=1, pre_dispatch=ahead, return_as="generator_unordered", **watched)(jobs)


def check_worker() -> None:
    """On a worker: OSError where it does several jobs at a time in one process, whose random numbers would mix."""
    with needs("cluster", "a cluster"):
        from distributed import get_worker

    _check_threads(get_worker().address, get_worker().state.nthreads)


def _check_threads(worker: str, threads: int) -> None:
    if threads != 1:
        raise OSError(
            f"the worker at {worker} does {threads} jobs at a time in one process, whose random numbers would mix: "
            "start it with --nthreads 1, and with --nworkers for more of them"
        )


def is_wanted() -> bool:
    """On a worker: whether anybody waits for its job still; not once the command that sent it has ended."""
    with needs("cluster", "a cluster"):
        from distributed import get_worker

    worker = get_worker()
    job = worker.state.tasks.get(worker.get_current_task())
    return job is not None and job.state != "cancelled"
