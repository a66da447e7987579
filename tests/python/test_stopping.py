"""Starting and stopping, as a service manager sees it."""

import signal
import socket
import time

import pytest
import requests

from backend import Backend
from listeners import Socket
from server import Server


def test_a_server_that_listens_can_be_stopped(tmp_path):
    """As soon as it says that it listens: a service manager may be quick."""
    for round in range(5):
        directory = tmp_path / str(round)
        directory.mkdir()
        assert Server(directory).stop() == 0


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_stop_says_goodbye_and_does_not_wait_for_idle_peers(tmp_path, name):
    server = Server(tmp_path)
    listener = Socket(server.url, Backend(server.url).connect("ada", "news"))
    idle = requests.Session()
    idle.get(f"{server.url}/admin/sign_in", timeout=5)
    silent = socket.create_connection(("127.0.0.1", server.port))
    began = time.monotonic()
    server.process.send_signal(getattr(signal, name))
    opcode, payload = listener.socket.recv_data()
    assert (opcode, int.from_bytes(payload[:2], "big")) == (8, 1012)
    listener.close()
    # Not told a second time: that would end it at once.
    assert server.process.wait(timeout=10) == 0
    assert time.monotonic() - began < 3
    idle.close()
    silent.close()
