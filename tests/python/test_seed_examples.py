"""The examples of the documents that introduced the original to its users, run as they are written there."""

import json
import subprocess
from pathlib import Path

import pytest
import requests
import urllib3

from backend import Backend
from server import Server, environment

EXAMPLES = Path(__file__).parent / "seed_examples"


@pytest.fixture
def run(server, monkeypatch):
    """Runs an example. Its calls to 127.0.0.1:8000 are redirected to the server under test."""
    connect = urllib3.util.connection.create_connection

    def redirected(address, *arguments, **options):
        return connect(("127.0.0.1", server.port) if address == ("127.0.0.1", 8000) else address, *arguments, **options)

    monkeypatch.setattr(urllib3.util.connection, "create_connection", redirected)

    def run(name, **names):
        # The documents leave this import to the reader.
        names["json"] = json
        exec(compile((EXAMPLES / name).read_text(), name, "exec"), names)
        return names

    return run


def test_readme_example_signs_the_path(run, open_socket):
    names = run(
        "readme_connect.py",
        SERVER_SECRET="secret",
        url="http://127.0.0.1:8000/connect",
        payload={"username": "reader", "channels": ["/readme"]},
    )
    answer = names["response"]
    assert answer["username"] == "reader" and answer["channels"] == ["/readme"]
    channel = answer["channels_info"]["channels"]["/readme"]
    assert (channel["total_connections"], channel["users"]) == (1, ["reader"])
    assert open_socket(answer["conn_id"]).nothing_comes()


def test_tutorial_connects_a_user_and_sends_a_message(run, backend, open_socket):
    conn_id = run("tutorial_connect.py")["response"].json()["conn_id"]
    listener = open_socket(conn_id)
    names = run("tutorial_message.py")
    # The tutorial's code names /connect where its text names /message; a list is not a valid body of /connect.
    assert names["response"].status_code == 422
    assert names["response"].json() == {"_schema": ["Invalid input type."]}
    assert listener.nothing_comes()
    backend.post("/message", names["payload"])
    event = listener.event()
    assert event["message"] == {"text": "This can serve as notification", "level": "warning"}
    assert (event["type"], event["user"], event["channel"]) == ("message", "system", "/tutorial-1")
    assert event["date"] == event["timestamp"]


def test_installation_steps_start_a_server(tmp_path):
    # YOUR_PYTHON_ENV/bin/channelstream_utils make_config -o config.ini
    subprocess.run(["channelstream_utils", "make_config", "-o", "config.ini"], cwd=tmp_path, env=environment(), check=True)
    assert "[channelstream]" in (tmp_path / "config.ini").read_text()
    # YOUR_PYTHON_ENV/bin/channelstream -i config.ini
    server = Server(tmp_path, "-i", "config.ini")
    try:
        assert Backend(server.url).connect("someuser", "/tutorial-1")
        # "it is available by default under http://127.0.0.1:8000/api-explorer"
        explorer = requests.get(f"{server.url}/api-explorer", timeout=5)
        assert explorer.status_code == 200 and explorer.url == f"{server.url}/admin/sign_in"
    finally:
        assert server.stop() == 0
