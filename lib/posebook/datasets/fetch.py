"""Getting the real sets that can be downloaded without a form: resumed, verified, unpacked inside their folder."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import stat
import struct
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import urlsplit

from posebook.compute.ending import check_stopped
from posebook.datasets.sets import SETS, Archive
from posebook.paths import alone, check_writable, replacing

TIMEOUT = 30
_CHUNK = 1 << 20
# In the folder of a set: what is being unpacked, and what is whole and being moved to its place.
_UNPACKING, _UNPACKED = ".unpacking-", ".unpacked"

# An archive of photographs is hardly smaller than they are, and one of annotations a few times: what unpacks to more
# than this times its own size, and to more than the floor, is none of theirs. Each file counts as a block at least.
MOST_TIMES, FLOOR, _BLOCK = 20, 64 << 20, 4096


def fetch(
    name: str,
    root: str | Path,
    part: str | None = None,
    url: str | None = None,
    sha256: str | None = None,
    progress: bool = True,
) -> list[Path]:
    """Download a set into a folder, verify and unpack it.

    A download that breaks off stays as `ARCHIVE.part` where it can be taken up again, and the same call does so.
    Archives are unpacked in a temporary folder inside `root` and moved when they are whole; what a killed call left of
    it is removed. Nothing that is there is overwritten. What is there already is not downloaded. Of two calls for one
    folder, the second waits for the first.

    Args:
        name: one of `SETS`.
        root: the folder to fill.
        part: only this part of a set that comes in several: "annotations" or "images".
        url: another address to take the archive from; with a set in several parts, `part` says which it is.
        sha256: what the archive's digest must be.

    Returns:
        The files and folders that the set's layout asks for.

    Raises:
        ValueError: an unknown set or part, a set that needs a form (says where), an archive that is not the set, is
            damaged, or names files outside its folder.
        OSError: no connection, no such address, a download that broke off, no room.
    """
    if name not in SETS:
        raise ValueError(f"no set is called '{name}'; there are {', '.join(SETS)}")
    about, root = SETS[name], Path(root)
    if not about.archives:
        raise ValueError(f"{about.title} has no address to download from: go to {about.site} and {about.how}")
    archives = [a for a in about.archives if part in (None, a.part)]
    if not archives:
        raise ValueError(f"{name} has no part '{part}'; it comes as {', '.join(a.part for a in about.archives)}")
    if len(archives) > 1 and (url or sha256):
        raise ValueError(f"{name} comes as {', '.join(a.part for a in archives)}: say which part the address is of")
    check_writable(root)
    with alone(root / ".fetching.lock", f"fetching into {root}"):
        for archive in archives:
            _get(name, archive, root, url, sha256, progress)
    return [root / given for archive in archives for given in archive.gives]


def _get(name: str, archive: Archive, root: Path, url: str | None, sha256: str | None, progress: bool) -> None:
    """One of a set's archives, downloaded and unpacked where it is not there."""
    _move(root / _UNPACKED, root, archive.gives)
    for left in root.glob(f"{_UNPACKING}*"):
        shutil.rmtree(left, ignore_errors=True)
    there = [root / given for given in archive.gives if (root / given).exists()]
    if len(there) == len(archive.gives):
        _forget(_part_of(url or archive.url, root))
        return
    if there:
        raise ValueError(f"{there[0]} is there and the rest of {name} is not: move it away, then fetch again")
    file = download(url or archive.url, root, sha256, progress)
    try:
        unpack(file, root, archive.gives)
    except Exception as error:
        # What is wrong with an archive will not mend, and it would be unpacked again for ever; a full disk may.
        if not isinstance(error, OSError | MemoryError):
            _forget(file)
        raise
    _forget(file)


def download(url: str, folder: Path, sha256: str | None = None, progress: bool = True) -> Path:
    """Download a file to `folder/NAME.part`, going on from where an earlier call broke off.

    Going on is sound where the server says which version of the file it serves (ETag or Last-Modified); that is kept
    beside, in `NAME.part.json`, and where it has changed or the server cannot go on, the download starts again.

    Returns:
        The whole file, still called `.part`.

    Raises:
        ValueError: not a web address, a page in place of an archive, or another digest.
        OSError: no connection, no such address, a download that broke off, no room.
    """
    address = urlsplit(url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ValueError(f"'{url}' is not a web address: it must start with http:// or https://")
    file = _part_of(url, folder)
    about = _read_note(file, url)
    have = file.stat().st_size if about else 0
    if about is None or have > about["size"]:
        _forget(file)
        about, have = None, 0
    if about is None or have < about["size"]:
        _receive(url, file, about, have, progress)
    if sha256 is not None:
        digest = _digest(file)
        if digest != sha256.lower():
            _forget(file)
            raise ValueError(f"{url} has the SHA-256 {digest}, not {sha256}: it is not the file that was asked for")
    return file


def _receive(url: str, file: Path, about: dict | None, have: int, progress: bool) -> None:
    """Get the file, or the rest of it; on return it is whole as far as the server says how long it is."""
    note = _note(file)
    with _ask(url, about, have) as reply:
        asked, answered = (urlsplit(address).scheme for address in (url, reply.url))
        if asked == "https" and answered != "https":
            raise OSError(f"{url} sends on to {reply.url}, which anybody on the way can change: give a safe address")
        if reply.status != 206:
            have = 0
        elif about is None or not _continues(reply, have, about):
            _forget(file)
            raise OSError(f"{url} sent another piece than was asked for: run the same again to start over")
        if reply.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
            _forget(file)
            raise ValueError(f"{url} is a web page, not an archive: open it in a browser to see what it says")
        length = reply.headers.get("Content-Length", "")
        size = have + int(length) if length.isdecimal() and len(length) < 16 else None
        version = _version(reply)
        _room(file.parent, (size or 0) - have)
        if not have:  # what is there is of another version, and is not to be taken for this one's
            file.unlink(missing_ok=True)
        if size and version:
            with replacing(note) as part:
                part.write_text(json.dumps({"url": url, "size": size, "version": version}))
        else:
            note.unlink(missing_ok=True)
        problem = _save(reply, file, have, size, progress)
    received = file.stat().st_size
    if not problem and size in (None, received):
        return
    said = f"{url} broke off after {received:,} of {f'{size:,}' if size else 'an unknown number of'} bytes"
    said += f" ({problem})" if problem else ""
    if note.exists():
        raise OSError(f"{said}: run the same again to go on from there")
    _forget(file)
    raise OSError(f"{said}, and the server gives no means to go on: run the same again to start over")


def _save(reply: HTTPResponse, file: Path, have: int, size: int | None, progress: bool) -> str:
    """Write the reply behind the first `have` bytes of the file; what broke it off, or nothing."""
    from tqdm import tqdm

    with (
        file.open("ab" if have else "wb") as target,
        tqdm(total=size, initial=have, desc=file.stem, unit="B", unit_scale=True, disable=not progress) as bar,
    ):
        try:
            while chunk := reply.read(_CHUNK):
                check_stopped()
                target.write(chunk)
                bar.update(len(chunk))
        except (TimeoutError, ConnectionError, HTTPException) as error:
            return str(error) or type(error).__name__
    return ""


def _ask(url: str, about: dict | None, have: int) -> HTTPResponse:
    """Open the address, from byte `have` on where there is something to go on from."""
    request = urllib.request.Request(url, headers={"User-Agent": "posebook"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", about["version"])
    host = urlsplit(url).hostname
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            return _ask(url, None, 0)
        raise OSError(f"{host} answers {error.code} {error.reason} for {url}: see whether the set has moved") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, HTTPException, ValueError) as error:
        # A ValueError is of an address that is none, which a server may send on to.
        reason = getattr(error, "reason", None) or error
        raise OSError(f"cannot reach {host} ({reason}): check the connection, or give another address") from error


def _version(reply: HTTPResponse) -> str | None:
    """What names the version of the file that the server sends; a weak ETag does not name its bytes."""
    tag = reply.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else reply.headers.get("Last-Modified")


def _continues(reply: HTTPResponse, have: int, about: dict) -> bool:
    """Whether a partial reply is the rest of the same file. Servers that ignore If-Range send a rest all the same."""
    expected = f"bytes {have}-{about['size'] - 1}/{about['size']}"
    return reply.headers.get("Content-Range") == expected and _version(reply) == about["version"]


def _part_of(url: str, folder: Path) -> Path:
    """Where an address is downloaded to."""
    return folder / f"{PurePosixPath(urlsplit(url).path).name or 'archive'}.part"


def _note(file: Path) -> Path:
    """Where it is written down what a partial download is a part of."""
    return file.with_name(f"{file.name}.json")


def _read_note(file: Path, url: str) -> dict | None:
    """What is known of a partial download; None where there is nothing sound to go on from."""
    try:
        about = json.loads(_note(file).read_text())
        sound = file.is_file() and about["url"] == url and about["version"] and isinstance(about["size"], int)
        return about if sound else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _forget(file: Path) -> None:
    """Remove a download, whole or partial, and its note."""
    file.unlink(missing_ok=True)
    _note(file).unlink(missing_ok=True)


def _room(folder: Path, wanted: int) -> None:
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise OSError(f"{folder} has {free / 1e9:.1f} GB free and {wanted / 1e9:.1f} GB are needed: make room first")


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def unpack(file: Path, root: Path, gives: tuple[str, ...]) -> None:
    """Unpack a `.zip` or `.tar.gz` into a folder, all of it or nothing.

    Args:
        gives: what must be in it, at the top or together in one folder; that folder's content is moved to `root`,
            except for what is there already.

    Raises:
        ValueError: neither kind of archive, damaged, without what it must give, many times larger unpacked, or with a
            member that is a link, a device or a sparse file or would lie outside its folder.
        OSError: no room.
    """
    inside = Path(tempfile.mkdtemp(prefix=_UNPACKING, dir=root))
    left = max(FLOOR, MOST_TIMES * file.stat().st_size)
    try:
        for member, stream in _members(file, left):
            left = _less(left, _BLOCK, file)
            target = inside.joinpath(*_safe(member, file).parts)
            if stream is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as copy:
                while chunk := stream.read(_CHUNK):
                    left = _less(left, len(chunk), file)
                    copy.write(chunk)
        folders = (inside, *sorted(entry for entry in inside.iterdir() if entry.is_dir()))
        top = next((f for f in folders if all((f / given).exists() for given in gives)), None)
        if top is None:
            raise ValueError(f"{_called(file)} does not hold {' and '.join(gives)}: it is not the set's archive")
        top.rename(root / _UNPACKED)
        _move(root / _UNPACKED, root, gives)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise ValueError(f"{_called(file)} names a file twice ({error.filename}): it is damaged") from error
    except _DAMAGED as error:
        raise ValueError(f"{_called(file)} is damaged ({error}): fetch it again") from error
    finally:
        shutil.rmtree(inside, ignore_errors=True)


def _move(unpacked: Path, root: Path, gives: tuple[str, ...]) -> None:
    """Move what is in a folder into another one, but for what is there; a call that was killed is gone on with."""
    if not unpacked.is_dir():
        return
    # What the set must have comes last, so that a folder that looks whole is whole.
    for entry in sorted(unpacked.iterdir(), key=lambda entry: entry.name in gives):
        if not (root / entry.name).exists():
            entry.rename(root / entry.name)
    shutil.rmtree(unpacked)


# What the standard library raises on archives that are damaged, or made to look like one.
_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, NotImplementedError, UnicodeError,
    OverflowError, struct.error,
)  # fmt: skip


def _less(left: int, taken: int, file: Path) -> int:
    """What is left of the bytes that an archive may unpack to; ValueError where nothing is."""
    if taken > left:
        raise ValueError(
            f"{_called(file)} unpacks to far more than its own {file.stat().st_size:,} bytes, as no set's archive "
            "does: it is not unpacked"
        )
    return left - taken


class _Bounded:
    """What a compressed stream unpacks to, up to a number of bytes."""

    def __init__(self, stream: gzip.GzipFile, most: int, file: Path) -> None:
        self.stream, self.left, self.file = stream, most, file

    def read(self, size: int = -1) -> bytes:
        """No more than is left and a byte, which tells that there is more."""
        content = self.stream.read(self.left + 1 if size < 0 else min(size, self.left + 1))
        self.left = _less(self.left, len(content), self.file)
        return content


def _members(file: Path, most: int) -> Iterator[tuple[str, BinaryIO | None]]:
    """Names and contents (None for a folder) of an archive; reading all of it verifies its check sums.

    Args:
        most: bytes that a compressed archive may unpack to, what lies between its files included.
    """
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            _room(file.parent, sum(info.file_size for info in archive.infolist()))
            for info in archive.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise ValueError(f"{_called(file)} holds a link or device, {info.filename!r}: it is not unpacked")
                if info.flag_bits & 1:
                    raise ValueError(f"{_called(file)} is locked with a password: it is not the official archive")
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError(f"{_called(file)} is compressed as no set's archive is: it is not unpacked")
                if info.is_dir():
                    yield info.filename, None
                else:
                    with archive.open(info) as stream:
                        yield info.filename, stream
        return
    with file.open("rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    if not compressed:
        raise ValueError(f"{_called(file)} is neither a .zip nor a .tar.gz, or not a whole one: fetch it again")
    with gzip.open(file) as unbounded:
        # A tar's heads of files (names, attributes) are read whole, and so may a lot of nothing behind its end.
        stream = _Bounded(unbounded, most + 10 * tarfile.RECORDSIZE, file)
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if not (member.isfile() or member.isdir()) or member.issparse():
                    what = "sparse file" if member.issparse() else "link or device"
                    raise ValueError(f"{_called(file)} holds a {what}, {member.name!r}: it is not unpacked")
                yield member.name, archive.extractfile(member) if member.isfile() else None
        while stream.read(_CHUNK):  # the check sum is at the very end
            pass


def _safe(member: str, file: Path) -> PurePosixPath:
    """A member's path; ValueError where it would lie outside the archive's folder, on any system."""
    path = PurePosixPath(member)
    if path.is_absolute() or ".." in path.parts or "\\" in member or ":" in member or "\0" in member:
        raise ValueError(f"{_called(file)} names {member!r}, which lies outside its folder: it is not unpacked")
    return path


def _called(file: Path) -> str:
    return os.fspath(file).removesuffix(".part")
