"""Websockets that ask for compressed messages, with a client that does by default."""

import json

import pytest
from websockets.sync.client import connect

LONG = "žluťoučký kůň " * 200


def open_socket(server, conn_id, compression):
    address = server.url.replace("http", "ws", 1) + f"/ws?conn_id={conn_id}"
    return connect(address, compression=compression, open_timeout=5, close_timeout=5)


def extensions(socket):
    return socket.response.headers.get("Sec-WebSocket-Extensions")


def texts(socket, count):
    """The texts of the next messages, heartbeats left out."""
    found = []
    while len(found) < count:
        found += [event["message"]["text"] for event in json.loads(socket.recv(timeout=5))]
    return found


@pytest.mark.parametrize("compression", ["deflate", None])
def test_messages_arrive_alike_with_and_without(server, backend, own, compression):
    channel = own("news")
    with open_socket(server, backend.connect(own("ada"), channel), compression) as socket:
        assert (extensions(socket) is not None) == (compression is not None)
        sent = ["short", LONG, "short again", *(f"{n} {LONG}" for n in range(20))]
        for text in sent[:3]:
            backend.say(channel, text)
        # One request, one turn: these go out joined.
        backend.post("/message", [{"user": "s", "channel": channel, "message": {"text": t}} for t in sent[3:]])
        assert texts(socket, len(sent)) == sent
        # What the client says is compressed as well, and only shows that it lives.
        socket.send(json.dumps({"type": "heartbeat", "text": LONG}))
        backend.say(channel, "still here")
        assert texts(socket, 1) == ["still here"]


def test_both_kinds_listen_side_by_side(server, backend, own):
    channel = own("news")
    with (
        open_socket(server, backend.connect(own("ada"), channel), "deflate") as compressed,
        open_socket(server, backend.connect(own("bob"), channel), None) as plain,
    ):
        for n in range(50):
            backend.say(channel, f"{n} {LONG}")
        assert texts(compressed, 50) == texts(plain, 50) == [f"{n} {LONG}" for n in range(50)]


def test_it_can_be_turned_off(start_server):
    from backend import Backend

    server = start_server(CHANNELSTREAM_COMPRESSION="false")
    with open_socket(server, Backend(server.url).connect("ada", "news"), "deflate") as socket:
        assert extensions(socket) is None
