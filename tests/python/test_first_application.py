"""Runs the code of the tutorial page as it is written, in each language; a listener must receive all its messages."""

import os
import pathlib
import subprocess
import sys

import pytest

from backend import Backend
from listeners import Socket

FILES = pathlib.Path(__file__).parents[2] / "static" / "first-application"
PROGRAMS = {
    "python.py": [sys.executable],
    "javascript.mjs": ["node"],
    "php.php": ["php"],
    "ruby.rb": ["ruby"],
    "curl.sh": ["sh"],
}
SECTIONS = ["setup", "connect", "subscribe", "message", "edit", "delete", "private", "state", "info"]


@pytest.fixture(params=PROGRAMS)
def sample(request):
    return FILES / request.param


def test_tests_run_every_file_of_the_tutorial():
    assert {path.name for path in FILES.iterdir()} == set(PROGRAMS)


def test_each_file_has_all_parts(sample):
    marks = [line.split()[2] for line in sample.read_text().splitlines() if " == " in line and line.endswith(" ==")]
    assert marks == SECTIONS


def test_code_does_what_the_tutorial_describes(sample, start_server):
    server = start_server()
    backend = Backend(server.url)
    backend.post("/channel_config", {"/tutorial-1": {"notify_state": True}})
    listener = Socket(server.url, backend.connect("bob", "/tutorial-1"))
    try:
        ran = subprocess.run(
            [*PROGRAMS[sample.name], sample],
            env={**os.environ, "CHANNELSTREAM_URL": server.url, "CHANNELSTREAM_SECRET": "secret"},
            capture_output=True, text=True, timeout=60, check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        assert "alice listens with" in ran.stdout and "alice" in ran.stdout.splitlines()[-1]
        received = listener.events(5)
    finally:
        listener.close()
    by_type = [frame["type"] for frame in received]
    assert sorted(by_type) == ["message", "message", "message:delete", "message:edit", "user_state_change"]
    message, edit, delete = (next(f for f in received if f["type"] == kind)
                             for kind in ("message", "message:edit", "message:delete"))
    assert message["message"] == {"text": "This can serve as notification", "level": "warning"}
    assert edit["uuid"] == delete["uuid"] == message["uuid"]
    assert edit["message"] == {"text": "It has been taken care of", "level": "info"}
    private = next(f for f in received if f["type"] == "message" and f["uuid"] != message["uuid"])
    assert (private["user"], private["message"]) == ("alice", {"text": "Only bob gets this"})
    assert next(f for f in received if f["type"] == "user_state_change")["message"]["state"] == {"status": "away"}
