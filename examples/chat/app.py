"""The backend of a chat. It needs Python 3.9 and nothing else.

    channelstream                     # in one terminal
    python3 examples/chat/app.py      # in another; then open http://127.0.0.1:8101

The page sends requests to this program. This program decides what is allowed and calls channelstream. channelstream
sends the messages to the pages of all users. `app.mjs` is the same program in Node.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
import urllib.error
import urllib.request
from collections import OrderedDict
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SERVER = os.environ.get("CHANNELSTREAM_URL", "http://127.0.0.1:8000")
SECRET = os.environ.get("CHANNELSTREAM_SECRET", "secret")
PORT = int(os.environ.get("PORT", "8101"))
PAGE = Path(__file__).parent / "page"
FILES = {"/": ("index.html", "text/html"), "/chat.js": ("chat.js", "text/javascript"),
         "/chat.css": ("chat.css", "text/css")}

ROOMS = ["general", "random", "help"]
STATUSES = ["here", "busy", "away"]
ROOM_SETTINGS = {"notify_presence": True, "broadcast_presence_with_user_lists": True, "notify_state": True,
                 "store_history": True, "history_size": 50}
MAX_TEXT = 2000
MAX_REMEMBERED = 10_000


class Refused(Exception):
    """A request that is not allowed, and the status of the answer."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status


class Remembered(OrderedDict):
    """A dictionary that drops its oldest entries, so that clients cannot fill the memory."""

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        while len(self) > MAX_REMEMBERED:
            self.popitem(last=False)


sessions = Remembered()     # cookie -> name
connections = Remembered()  # conn_id -> name
authors = Remembered()      # uuid of a message -> (name, room, pm_users)


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


def channel(room):
    if room not in ROOMS:
        raise Refused(422, "There is no such room.")
    return f"chat:{room}"


def checked_text(text):
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT:
        raise Refused(422, f"A message has 1 to {MAX_TEXT} characters.")
    return text.strip()


def connect(name, body):
    """Connects the page to its first room."""
    answer = call("POST", "/connect", {
        "username": name,
        "channels": [channel(ROOMS[0])],
        "channel_configs": {channel(room): ROOM_SETTINGS for room in ROOMS[:1]},
        "fresh_user_state": {"status": "here", "color": "#0b6b63"},
        "state_public_keys": ["status", "color"],
    })
    connections[answer["conn_id"]] = name
    return answer


def own_connection(name, body):
    if connections.get(body.get("conn_id")) != name:
        raise Refused(403, "This connection is not yours.")
    return body["conn_id"]


def subscribe(name, body):
    names = [channel(room) for room in body.get("channels", [])]
    return call("POST", "/subscribe", {"conn_id": own_connection(name, body), "channels": names,
                                       "channel_configs": {name: ROOM_SETTINGS for name in names}})


def unsubscribe(name, body):
    names = [channel(room) for room in body.get("channels", [])]
    return call("POST", "/unsubscribe", {"conn_id": own_connection(name, body), "channels": names})


def send(name, body):
    """Sends to a room, or to one user in private; a private message also goes to its sender's own pages."""
    message = {"user": name, "message": {"text": checked_text(body.get("text"))}}
    if body.get("to"):
        message["pm_users"] = [str(body["to"]), name]
        message["message"]["to"] = str(body["to"])
    else:
        message["channel"] = channel(body.get("room"))
    [sent] = call("POST", "/message", [message])
    authors[sent["uuid"]] = (name, message.get("channel"), message.get("pm_users", []))
    return {"uuid": sent["uuid"]}


def own_message(name, body):
    author, room, pm_users = authors.get(body.get("uuid"), (None, None, None))
    if author != name:
        raise Refused(403, "Only its author may change a message.")
    address = {"channel": room} if room else {"pm_users": pm_users}
    return {"uuid": body["uuid"], **address}


def edit(name, body):
    message = {"text": checked_text(body.get("text"))}
    address = own_message(name, body)
    if "pm_users" in address:
        message["to"] = address["pm_users"][0]
    call("PATCH", "/message", [{**address, "user": name, "message": message}])
    return {}


def delete(name, body):
    call("DELETE", "/message", [own_message(name, body)])
    return {}


def set_state(name, body):
    status, color = body.get("status"), body.get("color")
    if status not in STATUSES or not (isinstance(color, str) and len(color) == 7 and color.startswith("#")):
        raise Refused(422, "A status is here, busy or away; a colour is #rrggbb.")
    call("POST", "/user_state", {"user": name, "user_state": {"status": status, "color": color}})
    return {}


ACTIONS = {("POST", "/connect"): connect, ("POST", "/subscribe"): subscribe, ("POST", "/unsubscribe"): unsubscribe,
           ("POST", "/message"): send, ("PATCH", "/message"): edit, ("DELETE", "/message"): delete,
           ("POST", "/state"): set_state}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path not in FILES:
            return self.answer(404, {"error": "Not found."})
        name, kind = FILES[self.path]
        text = (PAGE / name).read_text().replace("{{server}}", SERVER)
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.finish_with(text.encode())

    def act(self):
        try:
            body = self.read_body()
            if (self.command, self.path) == ("POST", "/sign_in"):
                return self.sign_in(body)
            action = ACTIONS.get((self.command, self.path))
            if action is None:
                raise Refused(404, "Not found.")
            self.answer(200, action(self.user(), body))
        except Refused as error:
            self.answer(error.status, {"error": str(error)})

    do_POST = do_PATCH = do_DELETE = act

    def read_body(self):
        # A form on another site cannot send this type without a CORS preflight.
        if self.headers.get_content_type() != "application/json":
            raise Refused(415, "The body must be JSON.")
        length = int(self.headers.get("Content-Length", 0))
        if length > 64_000:
            self.close_connection = True
            raise Refused(413, "The body is too large.")
        try:
            body = json.loads(self.rfile.read(length))
        except ValueError as error:
            raise Refused(422, "The body must be JSON.") from error
        if not isinstance(body, dict):
            raise Refused(422, "The body must be an object.")
        return body

    def sign_in(self, body):
        """A real application would require a password. Here a name that is not in use is enough."""
        name = str(body.get("name", "")).strip()
        if not 1 <= len(name) <= 32:
            raise Refused(422, "A name has 1 to 32 characters.")
        cookie = secrets.token_urlsafe(24)
        if name in sessions.values() and self.session() != name:
            raise Refused(409, "Another user has this name.")
        sessions[cookie] = name
        self.answer(200, {"name": name}, {"Set-Cookie": f"chat={cookie}; HttpOnly; SameSite=Strict; Path=/"})

    def session(self):
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get("chat")
        return sessions.get(cookie.value) if cookie else None

    def user(self):
        name = self.session()
        if name is None:
            raise Refused(401, "Sign in first.")
        return name

    def answer(self, status, body, headers=None):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.finish_with(json.dumps(body).encode())

    def finish_with(self, content):
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Logs nothing, because the page shows errors."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    print(f"The chat is at http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
