"""A web application's calls: requests signed with itsdangerous and sent with requests."""

import json

import requests
from itsdangerous import TimestampSigner

HEADER = "x-channelstream-secret"


class Backend:
    """Calls the signed API. The signed value is the path, as in the original's README."""

    def __init__(self, url, secret="secret"):
        self.url = url
        self.signer = TimestampSigner(secret)

    def headers(self, value):
        return {HEADER: self.signer.sign(value), "Content-Type": "application/json"}

    def send(self, method, path, payload=None):
        """Sends a payload as JSON and returns the response."""
        data = None if payload is None else json.dumps(payload)
        headers = self.headers(path)
        return requests.request(method, self.url + path, data=data, headers=headers, timeout=5)

    def call(self, method, path, payload=None):
        """Returns the answer of a call that must succeed."""
        response = self.send(method, path, payload)
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path, payload):
        return self.call("POST", path, payload)

    def connect(self, username, *channels, **fields):
        """Connects a user and returns the id of the connection."""
        answer = self.post("/connect", {"username": username, "channels": list(channels), **fields})
        return answer["conn_id"]

    def publish_text(self, channel, text, user="system", **fields):
        return self.post("/message", [{"user": user, "channel": channel, "message": {"text": text}, **fields}])
