"""Sends a notification, from a program or from the command line.

    python3 examples/notifications/notify.py "Backup finished" --level success --to ada
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.request

SERVER = os.environ.get("CHANNELSTREAM_URL", "http://127.0.0.1:8000")
SECRET = os.environ.get("CHANNELSTREAM_SECRET", "secret")
LEVELS = ["info", "success", "warning", "error"]
MAX_TEXT = 500


class Refused(Exception):
    """A request that is not allowed, and the status of the answer."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status


def signature():
    def text(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    signed = b"channelstream." + text(int(time.time()).to_bytes(4, "big"))
    key = hashlib.sha1(b"itsdangerous.Signersigner" + SECRET.encode()).digest()
    return (signed + b"." + text(hmac.new(key, signed, hashlib.sha1).digest())).decode()


def call(method, path, body):
    """One signed call of channelstream's API."""
    headers = {"x-channelstream-secret": signature(), "Content-Type": "application/json"}
    request = urllib.request.Request(SERVER + path, json.dumps(body).encode(), headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        raise Refused(502, f"channelstream refused the call: {error.read().decode()}") from error
    except OSError as error:
        raise Refused(502, f"channelstream does not answer at {SERVER}: {error}") from error


def notify(text, level="info", user=None):
    """Sends to all users, or to all pages of one user. Returns the notification's uuid."""
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT:
        raise Refused(422, f"A notification has 1 to {MAX_TEXT} characters.")
    if level not in LEVELS:
        raise Refused(422, f"A level is one of {', '.join(LEVELS)}.")
    receivers = {"pm_users": [str(user)]} if user else {"channel": "notifications"}
    [sent] = call("POST", "/message", [
        {"user": "system", "message": {"text": text.strip(), "level": level}, **receivers}])
    return {"uuid": sent["uuid"]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Sends a notification.")
    parser.add_argument("text")
    parser.add_argument("--level", choices=LEVELS, default="info")
    parser.add_argument("--to", help="a user; by default all users receive it")
    given = parser.parse_args()
    try:
        print(notify(given.text, given.level, given.to)["uuid"])
    except Refused as error:
        sys.exit(str(error))
