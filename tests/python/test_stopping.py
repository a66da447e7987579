"""Start and stop, as a service manager sees them."""

import signal
import socket
import time

import pytest
import requests

from backend import Backend
from listeners import Socket
from server import Server


def test_server_stops_as_soon_as_it_listens(tmp_path):
    """A service manager may stop the server as soon as it has logged that it listens."""
    for round in range(5):
        directory = tmp_path / str(round)
        directory.mkdir()
        assert Server(directory).stop() == 0


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_server_closes_its_clients_and_does_not_wait_for_idle_ones(tmp_path, name):
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
    # There is no second signal: that would end the server immediately.
    assert server.process.wait(timeout=10) == 0
    assert time.monotonic() - began < 3
    idle.close()
    silent.close()
