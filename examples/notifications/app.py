"""The backend of the notifications. It needs Python 3.9 and nothing else.

    channelstream                              # in one terminal
    python3 examples/notifications/app.py      # in another; then open http://127.0.0.1:8102

Pages listen on a channel for all users, and also receive the private messages of their user. You send a notification
from the page, or from another program such as a background job:

    python3 examples/notifications/notify.py "Backup finished" --level success
"""

import json
import os
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from notify import SERVER, Refused, call, notify

PORT = int(os.environ.get("PORT", "8102"))
PAGE = Path(__file__).parent / "page"
FILES = {"/": ("index.html", "text/html"), "/notifications.js": ("notifications.js", "text/javascript"),
         "/notifications.css": ("notifications.css", "text/css")}


def connect(body):
    """Connects a page. A real application would take the user from its session, never from the request."""
    name = str(body.get("user", "")).strip()
    if not 1 <= len(name) <= 32:
        raise Refused(422, "A name has 1 to 32 characters.")
    return call("POST", "/connect", {
        "username": name,
        "channels": ["notifications"],
        # The answer to a page that connects later contains the last twenty.
        "channel_configs": {"notifications": {"store_history": True, "history_size": 20}},
        "info": {"include_users": False},
    })


def send(body):
    return notify(body.get("text"), body.get("level", "info"), body.get("to") or None)


ACTIONS = {"/connect": connect, "/notify": send}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path not in FILES:
            return self.answer(404, {"error": "Not found."})
        name, kind = FILES[self.path]
        text = (PAGE / name).read_text().replace("{{server}}", SERVER)
        self.answer_with(200, f"{kind}; charset=utf-8", text.encode())

    def do_POST(self):
        path = urllib.parse.urlsplit(self.path).path
        try:
            if path not in ACTIONS:
                raise Refused(404, "Not found.")
            self.answer(200, ACTIONS[path](self.read_body()))
        except Refused as error:
            self.answer(error.status, {"error": str(error)})

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

    def answer(self, status, body):
        self.answer_with(status, "application/json", json.dumps(body).encode())

    def answer_with(self, status, kind, content):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Logs nothing, because the page shows errors."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    print(f"The notifications are at http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
