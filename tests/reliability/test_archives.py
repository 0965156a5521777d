"""Archives that would take the disk or the memory, and servers that say what is not so. Names that lead out of the
folder, links and devices are in tests/datasets/test_fetch.py."""

from __future__ import annotations

import gzip
import io
import tarfile
import threading
import tracemalloc
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damage import damaged, few
from posebook.datasets import fetch as fetching
from posebook.datasets.fetch import download, unpack

GIVES = ("images",)


def member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def tar(*members: tuple[tarfile.TarInfo, bytes], tail: bytes = b"") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(file.getvalue() + tail)


def zipped(compression: int = zipfile.ZIP_DEFLATED, **files: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(f"images/{name}", content)
    return file.getvalue()


def sparse(claimed: int) -> bytes:
    """A tar of GNU's whose one file has a byte and is said to be so long."""
    info = tarfile.TarInfo("images/a")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 0
    head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    head[386:398], head[398:410] = b"%011o\0" % 0, b"%011o\0" % 0
    head[483:495] = b"%011o\0" % claimed
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return gzip.compress(bytes(head) + bytes(1024))


@pytest.fixture
def bounded(monkeypatch):
    """A floor of 1 MB in place of 64, so that a bomb is small too."""
    monkeypatch.setattr(fetching, "FLOOR", 1 << 20)


NOTHING = bytes(8 << 20)
BOMBS = {
    "zip": lambda: zipped(a=NOTHING),
    "tar": lambda: tar((member("images/a", len(NOTHING)), NOTHING)),
    "tar's tail": lambda: tar((member("images/a", 1), b"a"), tail=NOTHING),
    "tar's names": lambda: tar((member("images/" + "n" * (4 << 20), 1), b"a")),
    "many files": lambda: zipped(**{f"n{k}": b"" for k in range(3000)}),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_unpacks_to_far_more_than_its_size_is_refused(tmp_path, bounded, name):
    file = tmp_path / "a.part"
    file.write_bytes(BOMBS[name]())
    (tmp_path / "root").mkdir()
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"a unpacks to far more than its own .* bytes"):
        unpack(file, tmp_path / "root", GIVES)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert list((tmp_path / "root").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (sparse(3 << 30), "holds a sparse file"),
        (zipped(zipfile.ZIP_LZMA, a=b"content" * 99), "is compressed as no set's archive is"),
        (zipped(zipfile.ZIP_BZIP2, a=b"content" * 99), "is compressed as no set's archive is"),
    ],
    ids=["sparse", "LZMA", "bzip2"],
)
def test_other_kinds_are_refused(tmp_path, content, sentence):
    file = tmp_path / "a.part"
    file.write_bytes(content)
    assert len(content) < 1000
    (tmp_path / "root").mkdir()
    with pytest.raises(ValueError, match=sentence):
        unpack(file, tmp_path / "root", GIVES)
    assert list((tmp_path / "root").iterdir()) == []


def test_an_archive_of_the_usual_kind_is_unpacked(tmp_path, bounded):
    file = tmp_path / "a.part"
    for content in (zipped(a=b"photograph"), tar((member("images/a", 10), b"photograph"))):
        root = tmp_path / f"root{len(content)}"
        root.mkdir()
        file.write_bytes(content)
        unpack(file, root, GIVES)
        assert (root / "images" / "a").read_bytes() == b"photograph"


WHOLE = {
    "zip": zipped(a=b"photograph" * 50, b=bytes(2000)),
    "tar": tar((member("images/a", 500), b"photograph" * 50), (member("images/b", 2000), bytes(2000))),
}


@pytest.mark.parametrize("kind", WHOLE)
@few
@given(data=st.data())
def test_damaged_archives_are_unpacked_whole_or_not_at_all(tmp_path_factory, kind, data):
    folder = tmp_path_factory.mktemp(kind)
    file, root = folder / "a.part", folder / "root"
    file.write_bytes(data.draw(damaged(WHOLE[kind])))
    root.mkdir()
    refused = ""
    try:
        unpack(file, root, GIVES)
    except (ValueError, OSError) as error:
        refused = str(error)
    if refused:
        assert str(folder / "a") in refused
        assert list(root.iterdir()) == []
    else:
        found = [path.stat().st_size for path in (root / "images").iterdir()]
        assert sorted(found) in ([500, 2000], [2000], [500], [])


# --- servers --------------------------------------------------------------------------------------------------------


class Liar(BaseHTTPRequestHandler):
    """Answers what its server was told to."""

    def do_GET(self) -> None:
        status, headers, content = self.server.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def liar():
    server = HTTPServer(("127.0.0.1", 0), Liar)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((206, {"Content-Length": "3"}, b"abc"), "sent another piece than was asked for"),
        ((206, {"Content-Length": "3", "Content-Range": "bytes 5-7/8"}, b"abc"), "sent another piece"),
        ((200, {"Content-Length": "5"}, b"abc"), "broke off after 3 of 5 bytes"),
        ((200, {"Content-Length": "1" * 15}, b"abc"), "are needed: make room first"),
        ((302, {"Location": "file:///etc/passwd"}, b""), "answers 302"),
        ((302, {"Location": "http://["}, b""), r"cannot reach 127\.0\.0\.1 \(Invalid IPv6 URL\)"),
    ],
)
def test_answers_that_are_not_so_are_told_in_a_sentence(liar, tmp_path, answer, sentence):
    liar.answer = answer
    url = f"http://127.0.0.1:{liar.server_port}/a.zip"
    with pytest.raises((ValueError, OSError), match=sentence):
        download(url, tmp_path, progress=False)
    assert list(Path(tmp_path).iterdir()) == []


@pytest.mark.parametrize("length", ["9" * 5000, "\u00b2", "-3", "many"], ids=range(4))
def test_a_length_that_is_no_number_is_left_aside(liar, tmp_path, length):
    liar.answer = (200, {"Content-Length": length}, b"abc")
    try:
        file = download(f"http://127.0.0.1:{liar.server_port}/a.zip", tmp_path, progress=False)
    except OSError as error:
        content, said = b"", str(error)
    else:
        content, said = file.read_bytes(), ""
    assert content == b"abc" or "http://127.0.0.1" in said
