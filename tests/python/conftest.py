"""Shared fixtures: servers that stop after the tests, and the backend and listeners of one server."""

import contextlib
import functools

import pytest

from backend import Backend
from listeners import Poller, Socket
from server import Server


@pytest.fixture(scope="session")
def start_server(tmp_path_factory):
    """Starts servers with arguments and environment variables; they stop after the last test."""
    started = []

    def start(*arguments, **variables):
        server = Server(tmp_path_factory.mktemp("server"), *arguments, **variables)
        started.append(server)
        return server

    yield start
    ended = [server.stop() for server in started]
    assert all(status == 0 for status in ended), ended


@pytest.fixture(scope="session")
def server(start_server):
    """The server that most tests share, with default settings; each test uses names of its own."""
    return start_server()


@pytest.fixture
def backend(server):
    return Backend(server.url)


@pytest.fixture
def own(request):
    """Makes names that only the running test uses, different for each parameter."""
    return lambda name: f"{name} of {request.node.name}"


@pytest.fixture
def open_socket(server):
    """Opens websockets for connections; they are closed after the test."""
    with contextlib.ExitStack() as opened:

        def start(conn_id, path="/ws"):
            socket = Socket(server.url, conn_id, path)
            opened.callback(socket.close)
            return socket

        yield start


@pytest.fixture(params=["websocket", "longpoll"])
def listen(request, server, open_socket):
    """Listens to a connection, over each of the transports."""
    return open_socket if request.param == "websocket" else functools.partial(Poller, server.url)
