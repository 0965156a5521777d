"""Fetching from a local server that misbehaves in every way asked of it, and archives that mean harm."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import re
import socket
import stat
import tarfile
import threading
import urllib.request
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from posebook.cli import main
from posebook.datasets import fetch as fetching
from posebook.datasets.fetch import download, fetch, unpack
from posebook.datasets.sets import SETS

NOISE = random.Random(0).randbytes(300_000)
LSP_FILES = {"lsp/joints.mat": b"labels", "lsp/images/im0001.jpg": NOISE, "lsp/README.txt": b"read me"}


def zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def tarred(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


class Server(ThreadingHTTPServer):
    """Serves `content` at any path; its attributes say how it misbehaves."""

    content = zipped(LSP_FILES)
    version = "Wed, 21 Oct 2015 07:28:00 GMT"
    kind = "application/zip"
    status = 200
    ranges = True  # honours Range
    tells_size = True
    cut: int | None = None  # closes the connection after so many bytes

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/lsp_dataset.zip?a=b"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Server = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        body, start = server.content, 0
        if asked and server.ranges and self.headers.get("If-Range") == server.version:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
        self.send_response(206 if start else server.status)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Type", server.kind)
        if server.version:
            self.send_header("Last-Modified", server.version)
        if server.tells_size:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start : start + server.cut if server.cut else None])

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def contents(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


WHOLE = {name.removeprefix("lsp/"): content for name, content in LSP_FILES.items()}


def test_fetches_unpacks_and_does_not_fetch_again(server, tmp_path):
    digest = hashlib.sha256(server.content).hexdigest()
    there = fetch("lsp", tmp_path / "new", url=server.url, sha256=digest, progress=False)
    assert there == [tmp_path / "new" / "joints.mat", tmp_path / "new" / "images"]
    assert contents(tmp_path / "new") == WHOLE
    assert fetch("lsp", tmp_path / "new", url=server.url, progress=False) == there
    assert server.asked == [None]


@pytest.mark.parametrize("cut", [1, 100_000, len(Server.content) - 1])
def test_goes_on_where_it_broke_off(server, tmp_path, cut):
    server.cut = cut
    with pytest.raises(OSError, match=f"broke off after {cut:,} of {len(server.content):,} bytes.*to go on"):
        fetch("lsp", tmp_path, url=server.url, progress=False)
    assert set(contents(tmp_path)) == {"lsp_dataset.zip.part", "lsp_dataset.zip.part.json"}
    server.cut = None
    fetch("lsp", tmp_path, url=server.url, progress=False)
    assert server.asked == [None, f"bytes={cut}-"]
    assert contents(tmp_path) == WHOLE


@pytest.mark.parametrize("change", ["ignores ranges", "new version", "another address", "longer part"])
def test_starts_again_where_going_on_is_not_sound(server, tmp_path, change):
    server.cut = 1000
    with pytest.raises(OSError, match="broke off"):
        fetch("lsp", tmp_path, url=server.url, progress=False)
    server.cut = None
    server.content = zipped(LSP_FILES | {"lsp/joints.mat": b"other"})
    if change == "ignores ranges":
        server.ranges = False
    elif change == "new version":
        server.version = "Thu, 22 Oct 2015 07:28:00 GMT"
    elif change == "longer part":
        (tmp_path / "lsp_dataset.zip.part").write_bytes(b"x" * 500_000)
    url = server.url + "b" if change == "another address" else server.url
    fetch("lsp", tmp_path, url=url, progress=False)
    assert contents(tmp_path) == WHOLE | {"joints.mat": b"other"}


def test_keeps_no_part_that_cannot_be_gone_on_from(server, tmp_path):
    server.version, server.cut = None, 1000
    with pytest.raises(OSError, match="start over"):
        download(server.url, tmp_path, progress=False)
    assert contents(tmp_path) == {}
    server.tells_size = False  # then only the archive itself tells that it was cut
    with pytest.raises(ValueError, match="not a whole one"):
        fetch("lsp", tmp_path, url=server.url, progress=False)
    assert contents(tmp_path) == {}


def test_a_rest_of_another_file_is_not_appended(server, tmp_path):
    server.cut = 1000
    with pytest.raises(OSError, match="broke off"):
        download(server.url, tmp_path, progress=False)
    server.cut, server.content = None, server.content + b"longer"
    with pytest.raises(OSError, match="another piece"):
        download(server.url, tmp_path, progress=False)
    assert contents(tmp_path) == {}


def test_an_interrupted_unpacking_does_not_download_again(server, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "unpack", full)
        with pytest.raises(OSError, match="no room"):
            fetch("lsp", tmp_path, url=server.url, progress=False)
    fetch("lsp", tmp_path, url=server.url, progress=False)
    assert server.asked == [None]
    assert contents(tmp_path) == WHOLE


def test_says_what_is_wrong_with_the_answer(server, tmp_path):
    with pytest.raises(ValueError, match="SHA-256"):
        fetch("lsp", tmp_path, url=server.url, sha256="0" * 64, progress=False)
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(ValueError, match="is a web page"):
        fetch("lsp", tmp_path, url=server.url, progress=False)
    server.kind, server.content = "application/zip", b"<html>sorry</html>"
    with pytest.raises(ValueError, match=r"neither a \.zip nor a \.tar\.gz"):
        fetch("lsp", tmp_path, url=server.url, progress=False)
    server.content = zipped({"other.txt": b""})
    with pytest.raises(ValueError, match="does not hold joints"):
        fetch("lsp", tmp_path, url=server.url, progress=False)
    damaged = bytearray(Server.content)
    damaged[150_000] ^= 0xFF
    server.content = bytes(damaged)
    with pytest.raises(ValueError, match="is damaged"):
        fetch("lsp", tmp_path, url=server.url, progress=False)
    server.status = 404
    with pytest.raises(OSError, match="answers 404"):
        fetch("lsp", tmp_path, url=server.url, progress=False)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match=r"cannot reach 127\.0\.0\.1"):
            fetch("lsp", tmp_path, url=f"http://127.0.0.1:{unused.getsockname()[1]}/a.zip", progress=False)
    with pytest.raises(ValueError, match="not a web address"):
        fetch("lsp", tmp_path, url="file:///etc/passwd", progress=False)
    assert contents(tmp_path) == {}


def test_a_safe_address_that_sends_on_to_one_that_is_not_is_refused(server, tmp_path, monkeypatch):
    plain = urllib.request.urlopen
    monkeypatch.setattr(urllib.request, "urlopen", lambda _, **options: plain(server.url, **options))
    with pytest.raises(OSError, match=r"sends on to http://127\.0\.0\.1:\d+/.*, which anybody on the way can change"):
        download("https://posebook.invalid/lsp_dataset.zip", tmp_path)
    assert contents(tmp_path) == {}


def test_every_archive_comes_from_a_safe_address():
    assert {urlsplit(archive.url).scheme for some in SETS.values() for archive in some.archives} == {"https"}


def test_overwrites_nothing(server, tmp_path):
    (tmp_path / "README.txt").write_text("mine")
    fetch("lsp", tmp_path, url=server.url, progress=False)
    assert contents(tmp_path) == WHOLE | {"README.txt": b"mine"}
    (tmp_path / "joints.mat").unlink()
    with pytest.raises(ValueError, match="move it away"):
        fetch("lsp", tmp_path, url=server.url, progress=False)


def link(name: str, kind: bytes, target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_link() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("images")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc")
        archive.writestr("images/evil", b"evil")
    return file.getvalue()


BAD = ("/evil", "../evil", "images/../../evil", "a\\..\\evil", "C:evil")
EVIL = {
    **{f"zip {name}": zipped({"joints.mat": b"", "images/a": b"", name: b"evil"}) for name in BAD},
    **{
        f"tar {name}": tarred([(tarfile.TarInfo("images/a"), b""), (tarfile.TarInfo(name), b"evil")])
        for name in BAD[:3]
    },
    "zip link": zip_link(),
    "tar symbolic link": tarred(
        [(link("images", tarfile.SYMTYPE, "/tmp"), b""), (tarfile.TarInfo("images/evil"), b"")]
    ),
    "tar hard link": tarred([(link("images", tarfile.LNKTYPE), b"")]),
    "tar device": tarred([(link("images", tarfile.CHRTYPE, ""), b"")]),
    "tar pipe": tarred([(link("images", tarfile.FIFOTYPE, ""), b"")]),
}


@pytest.mark.parametrize("name", EVIL)
def test_archives_that_mean_harm_leave_nothing_behind(tmp_path, name):
    root = tmp_path / "deep" / "root"
    root.mkdir(parents=True)
    file = tmp_path / "archive.part"
    file.write_bytes(EVIL[name])
    with pytest.raises(ValueError, match="it is not unpacked") as error:
        unpack(file, root, ("images",))
    assert "archive" in str(error.value)
    assert list(root.iterdir()) == []
    assert set(contents(tmp_path)) == {"archive.part"}


def test_tars_are_verified_to_the_last_byte(tmp_path):
    good = tarred([(tarfile.TarInfo("images/a.jpg"), NOISE)])
    flipped = bytearray(good)
    flipped[-5] ^= 1  # in the check sum at the end
    for content in (good[:-4], good[:-20_000], bytes(flipped), gzip.compress(b"not a tar" * 1000)):
        (tmp_path / "a.part").write_bytes(content)
        with pytest.raises(ValueError, match="is damaged"):
            unpack(tmp_path / "a.part", tmp_path, ("images",))
    (tmp_path / "a.part").write_bytes(good)
    unpack(tmp_path / "a.part", tmp_path, ("images",))
    assert (tmp_path / "images" / "a.jpg").read_bytes() == NOISE


def test_names_that_meet_are_refused(tmp_path):
    members = [(tarfile.TarInfo("images/a"), b"1"), (tarfile.TarInfo("images/a"), b"2")]
    (tmp_path / "a.part").write_bytes(tarred(members))
    with pytest.raises(ValueError, match="twice"):
        unpack(tmp_path / "a.part", tmp_path, ("images",))
    (tmp_path / "a.part").write_bytes(tarred([(tarfile.TarInfo("images"), b"1"), (tarfile.TarInfo("images/a"), b"2")]))
    with pytest.raises(ValueError, match="twice"):
        unpack(tmp_path / "a.part", tmp_path, ("images",))
    assert list(contents(tmp_path)) == ["a.part"]


def test_sets_that_need_a_person_say_where(tmp_path):
    for name in ("flic", "lip", "pascal"):
        with pytest.raises(ValueError, match=re.escape(SETS[name].site)):
            fetch(name, tmp_path / "never")
    with pytest.raises(ValueError, match="there are lsp, lspet, mpii"):
        fetch("coco", tmp_path / "never")
    with pytest.raises(ValueError, match="comes as annotations, images"):
        fetch("mpii", tmp_path / "never", part="labels")
    with pytest.raises(ValueError, match="say which part"):
        fetch("mpii", tmp_path / "never", url="http://localhost/a.zip")
    assert list(tmp_path.iterdir()) == []


def test_commands(server, tmp_path):
    run = CliRunner().invoke
    listed = run(main, ["data", "list"])
    assert listed.exit_code == 0
    assert all(f"{name}: {about.title}" in listed.output for name, about in SETS.items())
    fetched = run(main, ["data", "fetch", "lsp", str(tmp_path), "--from", server.url])
    assert fetched.exit_code == 0, fetched.output
    assert f"posebook data check lsp {tmp_path}" in fetched.output
    for command, said in (
        (["check", "lsp", str(tmp_path)], "not a MATLAB file"),
        (["check", "flic", str(tmp_path)], "it needs train.h5 and valid.h5"),
        (["check", "lip", str(tmp_path)], "holds no lip_val_set.csv"),
        (["check", "ccp", str(tmp_path)], "holds no .mat files"),
        (["check", "pascal", str(tmp_path)], "holds no train_id.txt"),
        (["check", "coco", str(tmp_path)], "no set is called"),
        (["check", "packed", str(tmp_path / "none")], "does not exist"),
        (["fetch", "lip", str(tmp_path)], "go to https://www.sysu-hcp.net"),
        (["pack", "mpii", str(tmp_path), str(tmp_path / "out")], "no annotations of MPII"),
    ):
        result = run(main, ["data", *command])
        assert result.exit_code == 1
        assert said in result.output
        assert "Traceback" not in result.output
