"""Somebody's own project: from a folder with code to an answering pod, with what `adopt` offers."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest
from driver import Driver, driven

pytestmark = pytest.mark.timeout(240)
_SERVER = """\
import os
from http.server import BaseHTTPRequestHandler, HTTPServer


class Shop(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
        self.wfile.write(b"open")


HTTPServer(("", int(os.environ.get("PORT", "8080"))), Shop).serve_forever()
"""


@pytest.fixture
def lab(tmp_path):
    with driven(tmp_path / "lab home") as driver:
        driver.home.mkdir()
        driver.environ = {"LAB_ENGINE": "embedded"}
        yield driver


def get(lab: Driver, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{lab.ports['app']}{path}", timeout=5) as answer:
        return answer.read().decode()


def adopted(lab: Driver, folder: Path) -> None:
    """Follow the commands that `adopt` prints, up to the running application."""
    result = lab.documents("adopt", folder, "--write")[-1]
    assert result["next"][-1] == "invoke up"
    lab.git(folder, "add", "-A")
    lab.git(folder, "commit", "-qm", "Round the loop")
    lab.invoke("up", timeout=120)


def test_a_python_program_goes_round_the_loop(lab, tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "app.py").write_text(_SERVER)
    lab.git(folder, "init", "-q", "-b", "main")
    lab.git(folder, "add", "-A")
    lab.git(folder, "commit", "-qm", "A shop")
    adopted(lab, folder)
    assert get(lab, "/health") == "open"
    hops = [document["id"] for document in lab.documents("smoke") if document["type"] == "hop"]
    assert hops[-1] == "T5"
    lab.invoke("verify")
    assert lab.documents("adopt", folder)[-1]["ready"] is True
    assert lab.up() == 0


def test_a_static_site_in_a_subfolder_of_another_branch_goes_round_the_loop(lab, tmp_path):
    site = tmp_path / "mono" / "sites" / "front"
    site.mkdir(parents=True)
    (site / "package.json").write_text('{"name": "front", "devDependencies": {"prettier": "3"}}\n')
    (site / "index.html").write_text("<h1>front</h1>\n")
    lab.git(tmp_path / "mono", "init", "-q", "-b", "develop")
    lab.invoke("adopt", site, "--write")
    lab.git(tmp_path / "mono", "add", "-A")
    lab.git(tmp_path / "mono", "commit", "-qm", "First")
    lab.invoke("up", timeout=120)
    assert "<h1>front</h1>" in get(lab, "/")
    lab.invoke("smoke")
