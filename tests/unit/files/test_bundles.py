"""Files of a folder, an archive or an address: read by path, bounded, and never from outside; servers that misbehave."""

from __future__ import annotations

import gzip
import http.server
import os
import threading
import time
import zipfile

import pytest

from harness.errors import NotFetched
from harness.files import bundles, download
from harness.files.bundles import open_bundle
from harness.files.hashing import sha256_bytes
from harness.files.reading import Damaged

TEXT = b"0123456789" * 100
BOMB = gzip.compress(bytes(50_000_000))


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the last part of the path."""

    asked: list[str] = []  # noqa: RUF012
    seen: dict[str, str] = {}  # noqa: RUF012

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.asked.append(self.path)
        self.seen.update(self.headers.items())
        name = self.path.rpartition("/")[2].partition("?")[0]
        answer = getattr(self, name.replace(".", "_"), None)
        if answer:
            answer()
        elif name in ("index.json", "data.csv"):
            self.give(TEXT)
        else:
            self.send_error(404)

    def give(self, content, length=None, status=200, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content)

    def cut(self):
        self.give(TEXT, length=5000)
        self.close_connection = True

    def endless(self):
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(10_000):
                self.wfile.write(b"0" * 65_536)
        except OSError:
            pass

    def drip(self):
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(200):
                self.wfile.write(b"0")
                self.wfile.flush()
                time.sleep(0.02)
        except OSError:
            pass

    def silent(self):
        self.server.let_go.wait(5)

    def broken(self):
        self.send_error(503, "out of \x1b[31morder")

    def moved(self):
        self.give(b"", status=302, Location="/elsewhere/index.json")

    def circle(self):
        self.give(b"", status=302, Location="/circle")

    def to_file(self):
        self.give(b"", status=302, Location="file:///etc/passwd")

    def bomb(self):
        self.give(BOMB, **{"Content-Encoding": "gzip"})


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("ITM_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    Handler.asked, Handler.seen = [], {}
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    made.let_go = threading.Event()
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.let_go.set()
    made.shutdown()
    made.server_close()


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("nothing", download.Missing, "404"),
        ("cut", NotFetched, "cut off"),
        ("endless", Damaged, "more than 2,000 bytes"),
        ("bomb", Damaged, "more than 2,000 bytes"),
        ("broken", NotFetched, "503"),
        ("circle", NotFetched, "redirects"),
        ("to_file", NotFetched, "not of the web"),
        ("silent", NotFetched, "no answer in time"),
        ("drip", NotFetched, "too slow"),
    ],
)
def test_a_server_that_misbehaves_is_one_line(server, monkeypatch, path, error, message):
    monkeypatch.setattr(download, "TIMEOUTS", (1.0, 0.3))
    monkeypatch.setattr(download, "LONGEST_S", 0.3)
    with pytest.raises(error, match=message) as caught:
        download.fetch(f"{server}/{path}", 2000)
    assert "\n" not in str(caught.value)
    assert "object at 0x" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("file:///etc/passwd", "no address of the web"),
        ("ftp://example.org/x", "no address of the web"),
        ("http://", "no address of the web"),
        ("http://[::1", "no address of the web"),
        ("https://ann:secret@example.org/x", "password"),
        ("http://127.0.0.1:1/x", "no connection"),
    ],
)
def test_an_address_that_is_none_is_one_line(address, message):
    with pytest.raises(NotFetched, match=message) as caught:
        download.fetch(address, 2000)
    assert "secret" not in str(caught.value)


def test_redirects_are_followed_and_no_password_is_sent(server, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ann password secret")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert download.fetch(f"{server}/moved", 2000) == TEXT
    assert "Authorization" not in Handler.seen
    assert Handler.seen["User-Agent"].startswith("itm-harness/")


@pytest.mark.parametrize("end", ["", "/", "/index.json"])
def test_a_file_below_an_address_is_kept_by_its_hash(server, end):
    bundle = open_bundle(f"{server}/board{end}", "index.json")
    assert bundle.read("index.json", 2000) == TEXT
    for _ in range(2):
        assert bundle.read("data.csv", 2000, sha256_bytes(TEXT)) == TEXT
    assert Handler.asked == ["/board/index.json", "/board/data.csv"]


def test_what_the_cache_holds_is_checked(server, tmp_path):
    bundle = open_bundle(f"{server}/board", "index.json")
    bundle.read("data.csv", 2000, sha256_bytes(TEXT))
    (kept,) = (tmp_path / "cache").rglob(sha256_bytes(TEXT))
    kept.write_bytes(b"forged")
    assert bundle.read("data.csv", 2000, sha256_bytes(TEXT)) == TEXT
    assert bundle.read("data.csv", 2000, "0" * 64) == TEXT  # another hash: not kept
    assert [path.name for path in kept.parent.iterdir()] == [sha256_bytes(TEXT)]


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a//b", "", "C:\\x", "a\0b", ".hidden"])
def test_no_path_leaves_a_bundle(tmp_path, path):
    (tmp_path / "x").write_bytes(TEXT)
    (tmp_path / "board").mkdir()
    with pytest.raises(Damaged, match="no path within"):
        open_bundle(str(tmp_path / "board"), "index.json").read(path, 2000)


def test_a_link_that_leaves_the_folder_is_not_followed(tmp_path):
    (tmp_path / "board").mkdir()
    (tmp_path / "x").write_bytes(TEXT)
    (tmp_path / "board" / "x").symlink_to(tmp_path / "x")
    os.symlink(tmp_path, tmp_path / "board" / "up")
    for path in ("x", "up/x"):
        with pytest.raises(Damaged, match="link"):
            open_bundle(str(tmp_path / "board"), "index.json").read(path, 2000)


def _zip(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return str(path)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"index.json": b"", "../evil": b""}, "outside itself"),
        ({"index.json": b"", "/etc/evil": b""}, "outside itself"),
        ({"index.json": b"", "a\\..\\evil": b""}, "outside itself"),
        ({"other.json": b""}, "no index.json"),
        ({"a/b/index.json": b""}, "no index.json"),
    ],
)
def test_an_archive_that_leaves_itself_is_refused(tmp_path, members, message):
    with pytest.raises(Damaged, match=message):
        open_bundle(_zip(tmp_path / "a.zip", **members), "index.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


def test_an_archive_is_read_up_to_a_size_whatever_it_states(tmp_path):
    path = _zip(tmp_path / "bomb.zip", **{"index.json": TEXT, "data.csv": bytes(30_000_000)})
    bundle = open_bundle(path, "index.json")
    assert bundle.read("index.json", 2000) == TEXT
    with pytest.raises(Damaged, match="more than the 2,000 bytes"):
        bundle.read("data.csv", 2000)
    content = bytearray((tmp_path / "bomb.zip").read_bytes())
    at = content.rindex(b"PK\x01\x02", 0, content.rindex(b"PK\x01\x02") + 1)
    content[at + 24 : at + 28] = (1).to_bytes(4, "little")  # its size as the archive states it
    (tmp_path / "bomb.zip").write_bytes(content)
    with pytest.raises(Damaged, match=r"damaged|more than"):
        open_bundle(path, "index.json").read("data.csv", 2000)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(Damaged, match="no whole zip"):
        open_bundle(str(tmp_path / "a.zip"), "index.json")


def test_an_archive_is_fetched(server, tmp_path, monkeypatch):
    packed = (tmp_path / "b.zip", {"board/index.json": b"{}", "board/data.csv": TEXT})
    _zip(packed[0], **packed[1])
    content = packed[0].read_bytes()
    monkeypatch.setattr(Handler, "b_zip", lambda self: self.give(content), raising=False)
    bundle = open_bundle(f"{server}/b.zip", "index.json")
    assert (bundle.read("data.csv", 2000), bundle.names()) == (TEXT, {"index.json", "data.csv"})
    monkeypatch.setattr(bundles, "LARGEST_ARCHIVE", 50)
    with pytest.raises(Damaged, match="more than 50 bytes"):
        open_bundle(f"{server}/b.zip", "index.json")
