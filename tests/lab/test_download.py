"""Downloads resume, are checksummed, and fail in words; against a server on this machine."""

import hashlib
import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ravine.lab.errors import LabError
from ravine.lab.tasks.download import download

CONTENT = bytes(i * i % 251 for i in range(50_000))
MD5 = {"file.gz": hashlib.md5(CONTENT).hexdigest()}


class Server(BaseHTTPRequestHandler):
    """Serves CONTENT with ranges; hangs up after `hang_up` bytes, once."""

    asked: list[str | None] = []
    hang_up: int | None = None

    def do_GET(self):
        asked = self.headers.get("Range")
        self.asked.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : Server.hang_up])
        Server.hang_up = None

    def log_message(self, format, *args):
        pass


@pytest.fixture
def address():
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        Server.asked, Server.hang_up = [], None
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_downloads_once(address, tmp_path):
    for _ in range(2):
        download(address, MD5, tmp_path / "new")
    assert (tmp_path / "new" / "file.gz").read_bytes() == CONTENT
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["file.gz"]
    assert Server.asked == [None]


def test_resumes_where_the_connection_ended(address, tmp_path):
    Server.hang_up = 20_000
    with pytest.raises(LabError, match=r"connection ended 30,000 bytes early. Run again to resume"):
        download(address, MD5, tmp_path)
    download(address, MD5, tmp_path)
    assert Server.asked == [None, "bytes=20000-"]
    assert (tmp_path / "file.gz").read_bytes() == CONTENT


def test_a_part_that_is_already_whole(address, tmp_path):
    (tmp_path / "file.gz.part").write_bytes(CONTENT)
    download(address, MD5, tmp_path)
    assert (tmp_path / "file.gz").read_bytes() == CONTENT


def test_a_file_that_is_not_whole_comes_again(address, tmp_path):
    (tmp_path / "file.gz").write_bytes(CONTENT[:100])
    download(address, MD5, tmp_path)
    assert (tmp_path / "file.gz").read_bytes() == CONTENT


def test_an_answer_that_is_no_http(monkeypatch, tmp_path):
    def garbage(*_, **__):
        raise http.client.BadStatusLine("hello")

    monkeypatch.setattr("urllib.request.urlopen", garbage)
    with pytest.raises(LabError, match=r"cannot download http://here/file.gz into .*: hello"):
        download("http://here/", MD5, tmp_path)


def test_a_wrong_checksum_leaves_nothing(address, tmp_path):
    (tmp_path / "file.gz.part").write_bytes(b"something else")
    with pytest.raises(LabError, match=f"expected {MD5['file.gz']}"):
        download(address, MD5, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_network_says_how_to_go_on(tmp_path):
    with pytest.raises(LabError, match=r"cannot download http://127.0.0.1:9/file.gz .* pass it: --data FOLDER"):
        download("http://127.0.0.1:9/", MD5, tmp_path)
