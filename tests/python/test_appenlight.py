"""AppEnlight's calls: it gives the browser an id of its own, joins paths with two slashes, and reconnects."""

import uuid

import requests

from listeners import Poller


def connect(backend, conn_id):
    payload = {"username": "appenlight", "conn_id": conn_id, "channels": ["app_7"]}
    # One of its configurations ends the server's address with a slash.
    headers = backend.headers("/connect")
    answer = requests.post(f"{backend.url}//connect", json=payload, headers=headers, timeout=2)
    assert answer.status_code == 200, answer.text


def report(backend, number):
    message = {"topic": "front_dashboard.new_topic", "report": {"group": {"id": number}}}
    backend.post("/message", [{"type": "message", "user": "system", "channel": "app_7", "message": message}])


def test_server_accepts_doubled_slashes(backend, open_socket):
    conn_id = str(uuid.uuid4())
    connect(backend, conn_id)
    socket = open_socket(conn_id, "//ws")
    report(backend, 1)
    assert socket.event()["message"]["report"]["group"]["id"] == 1


def test_browser_reconnects_with_the_same_id(backend, open_socket):
    conn_id = str(uuid.uuid4())
    connect(backend, conn_id)
    first = open_socket(conn_id)
    report(backend, 1)
    assert first.event()["message"]["report"]["group"]["id"] == 1
    first.close()
    report(backend, 2)
    # Absent for longer than the original's second, but not longer than the grace time.
    wait_until_absent(backend)
    report(backend, 3)
    again = open_socket(conn_id)
    assert [event["message"]["report"]["group"]["id"] for event in again.events(2)] == [2, 3]
    report(backend, 4)
    assert again.event()["message"]["report"]["group"]["id"] == 4


def wait_until_absent(backend):
    """Requests the count until it no longer includes the connection."""
    while backend.post("/info", {"info": {"channels": ["app_7"]}})["channels"]["app_7"]["total_connections"]:
        pass


def test_reconnecting_browser_may_poll(server, backend, open_socket):
    conn_id = str(uuid.uuid4())
    connect(backend, conn_id)
    open_socket(conn_id).close()
    report(backend, 5)
    assert Poller(server.url, conn_id).event()["message"]["report"]["group"]["id"] == 5


def test_server_closes_an_unknown_id_immediately(open_socket):
    socket = open_socket(uuid.uuid4())
    opcode, payload = socket.socket.recv_data()
    assert (opcode, int.from_bytes(payload[:2], "big")) == (8, 1000)
