"""A playground that runs in a process of its own, and a browser that looks at it."""

import base64
import http.client
import json
import os
import shutil
import struct
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

START = "import sys; from ravine.cli import main; sys.exit(main(['play', '--no-browser', '--port', '0']))"


@dataclass
class Playground:
    """The server, and how to ask it as its page does."""

    process: subprocess.Popen
    port: int
    complaints: Path  # what the server writes to its terminal

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    def address(self, **state):
        """The address of a state; what is not said is as in the beginning, with default rates and 100 steps."""
        text = json.dumps({"rate": {"mode": "default", "lr": 0.01}, "steps": 100} | state).encode()
        return self.url + "#v1=" + base64.urlsafe_b64encode(text).decode().rstrip("=")

    def send(self, method, path, body=None, headers=None):
        """Status, headers and content of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer.headers, content

    def ask(self, name, question, **headers):
        """Status, and what the answer says: numbers are arrays in the place of their shapes."""
        body = question if isinstance(question, bytes) else json.dumps(question).encode()
        status, given, content = self.send(
            "POST", f"/api/{name}", body, {"Content-Type": "application/json", **headers}
        )
        if given["Content-Type"].startswith("application/json"):
            return status, json.loads(content)
        (length,) = struct.unpack("<Q", content[:8])
        head, at = json.loads(content[8 : 8 + length]), 8 + length
        for key, shape in head.pop("arrays").items():
            size = int(np.prod(shape))
            head[key] = np.frombuffer(content, "<f8", size, at).reshape(shape)
            at += 8 * size
        assert at == len(content)
        return status, head


@contextmanager
def playground(first=""):
    """Runs until it is left; `first` is code that its process runs before."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with TemporaryDirectory() as folder, open(Path(folder) / "stderr", "w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", f"{first}\n{START}"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        )
        line = process.stdout.readline()
        complaints = Path(errors.name)
        try:
            assert line.startswith("ravine play: http://127.0.0.1:"), (line, complaints.read_text())
            yield Playground(process, int(line.split(":")[3].split("/")[0]), complaints)
        finally:
            process.terminate()
            process.wait(20)
            process.stdout.close()


@contextmanager
def browser():
    """Chromium, without a network of its own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with playwright.sync_playwright() as play:
        made = play.chromium.launch(executable_path=chromium, args=flags)
        yield made
        made.close()


@contextmanager
def tab(chromium, url, width=1280, scheme="light", motion="reduce", allowed=()):
    """A page that is drawn; whatever it complains of or asks of anybody but its own server fails the test.

    allowed: the beginnings of complaints that belong to the test.
    """
    trouble = []
    context = chromium.new_context(
        viewport={"width": width, "height": 860}, color_scheme=scheme, reduced_motion=motion, accept_downloads=True
    )
    page = context.new_page()
    page.on("console", lambda m: None if m.text.startswith(tuple(allowed)) else trouble.append(m.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    own = (url.split("#")[0], "data:", "blob:")
    page.on("request", lambda r: None if r.url.startswith(own) else trouble.append(r.url))
    page.questions = []
    page.on("request", lambda r: r.url.endswith("/race") and page.questions.append(json.loads(r.post_data)))
    page.goto(url)
    page.wait_for_selector("body[data-ready]")
    page.wait_for_timeout(60)  # frames
    yield page
    context.close()
    assert trouble == []
