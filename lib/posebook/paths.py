"""Where things are, in a repository or in an installed package, and how files are written: whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# A wheel carries what ships within the package; in a repository the same folders lie beside lib/.
_SHIPPED = Path(__file__).resolve().with_name("shipped")
INSTALLED = _SHIPPED.is_dir()
ROOT = _SHIPPED if INSTALLED else Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
WEIGHTS = DATA / "weights"
RESULTS = ROOT / "results"
NOTEBOOKS = ROOT / "notebooks"
# Where runs and results go for which nobody gave a folder: an installed package is not written to.
WORK = Path() if INSTALLED else ROOT


# What a system says when a file cannot grow: no room, a quota or a limit, a disk that is read-only, broken or gone.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE}


@contextmanager
def replacing(path: Path, wait: bool = True) -> Iterator[Path]:
    """A name to write to; what was written takes the place of `path`, and its permissions, when the block ends well.

    The name is the same for everybody, so that what a killed process left is written over, and one process at a time
    has it.

    Args:
        wait: for another process that writes the same file; otherwise that is an error.

    Raises:
        OSError: the disk is full or broken, or another process writes the file.
    """
    part = path.with_name(path.name + ".part")
    descriptor = _hold(part, path, wait)
    try:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, part)
        os.replace(part, path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _DISK:
            raise OSError(
                error.errno, f"{path} cannot be written ({error.strerror}): make room, or give another folder"
            ) from error
        raise
    finally:
        os.close(descriptor)


def _hold(part: Path, path: Path, wait: bool) -> int:
    """The empty file open and locked; the system gives the lock back with the process, however that ends."""
    try:
        import fcntl
    except ImportError:  # Windows, which lets nobody write a file that another process has open
        return os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
    while True:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            os.close(descriptor)
            raise OSError(f"another process is writing {path}: wait for it, or give another file") from error
        except OSError:  # a disk without locks
            return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        # The process that was waited for has renamed the file or removed it.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(part)):
                os.truncate(descriptor, 0)
                return descriptor
        os.close(descriptor)


@contextmanager
def alone(lock: Path, at: str | None = None, wait: bool = True) -> Iterator[None]:
    """A context that one process at a time is in. The system ends it with its process, however that comes about.

    Args:
        lock: a file in a folder that exists; it is gone when nobody is in the context.
        at: what the process is at, for those that come later; None where they do not wait long enough to be told.
        wait: for another process; otherwise that is an error.

    Raises:
        OSError: another process is in it.
    """
    from filelock import FileLock, Timeout

    held = FileLock(lock)
    try:
        held.acquire(blocking=False)
    except Timeout as error:
        if not wait:
            raise OSError(f"another process is at {at}: wait for it to end, or give another folder") from error
        if at is not None:
            print(f"Another process is at {at}: waiting for it", file=sys.stderr, flush=True)
        held.acquire()
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps a file that is open
            lock.unlink(missing_ok=True)
        held.release()


def check_writable(folder: str | Path) -> Path:
    """The folder, made where it is missing and tried by writing to it, so that work is not lost for want of a place.

    Raises:
        OSError: it cannot be made or written to; a sentence that says what to do.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".posebook-"):
            pass
    except FileExistsError as error:
        raise OSError(f"{folder} is a file: give another folder to write to") from error
    except OSError as error:
        raise OSError(f"{folder} cannot be written to ({error.strerror or error}): give another folder") from error
    return folder
