"""Websockets that negotiate compression, with a client that does so by default."""

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
    """Returns the texts of the next messages, without heartbeats."""
    found = []
    while len(found) < count:
        found += [event["message"]["text"] for event in json.loads(socket.recv(timeout=5))]
    return found


@pytest.mark.parametrize("compression", ["deflate", None])
def test_client_receives_the_same_messages_with_and_without_compression(server, backend, own, compression):
    channel = own("news")
    with open_socket(server, backend.connect(own("ada"), channel), compression) as socket:
        assert (extensions(socket) is not None) == (compression is not None)
        sent = ["short", LONG, "short again", *(f"{n} {LONG}" for n in range(20))]
        for text in sent[:3]:
            backend.publish_text(channel, text)
        # One request is handled in one turn: the server sends these messages in one batch.
        backend.post("/message", [{"user": "s", "channel": channel, "message": {"text": t}} for t in sent[3:]])
        assert texts(socket, len(sent)) == sent
        # The client's message is compressed too, and only shows that the client is alive.
        socket.send(json.dumps({"type": "heartbeat", "text": LONG}))
        backend.publish_text(channel, "still here")
        assert texts(socket, 1) == ["still here"]


def test_compressed_and_plain_clients_share_a_channel(server, backend, own):
    channel = own("news")
    with (
        open_socket(server, backend.connect(own("ada"), channel), "deflate") as compressed,
        open_socket(server, backend.connect(own("bob"), channel), None) as plain,
    ):
        for n in range(50):
            backend.publish_text(channel, f"{n} {LONG}")
        assert texts(compressed, 50) == texts(plain, 50) == [f"{n} {LONG}" for n in range(50)]


def test_operator_can_turn_compression_off(start_server):
    from backend import Backend

    server = start_server(CHANNELSTREAM_COMPRESSION="false")
    with open_socket(server, Backend(server.url).connect("ada", "news"), "deflate") as socket:
        assert extensions(socket) is None
