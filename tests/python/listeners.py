"""A browser's connections to the server, over both transports, with independent client libraries."""

import json
import time

import requests
import websocket

LIMIT = 5
SILENCE = 0.3


class Socket:
    """A websocket that listens. It checks heartbeats and leaves them out."""

    def __init__(self, url, conn_id, path="/ws"):
        url = url.replace("http://", "ws://", 1)
        self.socket = websocket.create_connection(f"{url}{path}?conn_id={conn_id}", timeout=LIMIT)

    def events(self, count):
        """Returns the next `count` events."""
        events = []
        while len(events) < count:
            frame = json.loads(self.socket.recv())
            assert isinstance(frame, list) and len(frame) <= 1, frame
            events += frame
        return events

    def event(self):
        """Returns the next event."""
        return self.events(1)[0]

    def nothing_comes(self):
        """Returns whether no event arrives for a moment."""
        self.socket.settimeout(SILENCE)
        until = time.monotonic() + SILENCE
        try:
            while time.monotonic() < until:
                assert json.loads(self.socket.recv()) == []
        except websocket.WebSocketTimeoutException:
            pass
        finally:
            self.socket.settimeout(LIMIT)
        return True

    def close(self):
        self.socket.close()
        # Otherwise the library keeps a socket open that the server has closed.
        self.socket.shutdown()


class Poller:
    """A client that polls."""

    def __init__(self, url, conn_id, path="/listen"):
        self.address = f"{url}{path}?conn_id={conn_id}"

    def events(self, count):
        """Returns the next events, with as many polls as needed."""
        events = []
        while len(events) < count:
            response = requests.get(self.address, timeout=3 * LIMIT)
            assert response.status_code == 200, response.text
            events += response.json()
        assert len(events) == count, events
        return events

    def event(self):
        return self.events(1)[0]
