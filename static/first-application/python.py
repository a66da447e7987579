# == setup ==
# pip install requests itsdangerous
import os

import requests
from itsdangerous import TimestampSigner

SERVER = os.environ.get("CHANNELSTREAM_URL", "http://127.0.0.1:8000")
SECRET = os.environ.get("CHANNELSTREAM_SECRET", "secret")


def call(method, path, body):
    signature = TimestampSigner(SECRET).sign("channelstream").decode()
    headers = {"x-channelstream-secret": signature}
    reply = requests.request(method, SERVER + path, json=body, headers=headers, timeout=10)
    reply.raise_for_status()
    return reply.json()


# == connect ==
alice = call("POST", "/connect", {"username": "alice", "channels": ["/tutorial-1"]})
bob = call("POST", "/connect", {"username": "bob", "channels": ["/tutorial-1"]})
print("alice listens with", alice["conn_id"])

# == subscribe ==
joined = call("POST", "/subscribe", {"conn_id": alice["conn_id"], "channels": ["/tutorial-2"]})
print("alice is now in", joined["channels"])

# == message ==
[message] = call("POST", "/message", [{
    "user": "system",
    "channel": "/tutorial-1",
    "message": {"text": "This can serve as notification", "level": "warning"},
}])
print("sent", message["uuid"])

# == edit ==
call("PATCH", "/message", [{
    "uuid": message["uuid"],
    "channel": "/tutorial-1",
    "message": {"text": "It has been taken care of", "level": "info"},
}])

# == delete ==
call("DELETE", "/message", [{"uuid": message["uuid"], "channel": "/tutorial-1"}])

# == private ==
call("POST", "/message", [{
    "user": "alice",
    "pm_users": ["bob"],
    "message": {"text": "Only bob gets this"},
}])

# == state ==
state = call("POST", "/user_state", {
    "user": "alice",
    "user_state": {"status": "away", "age": 36},
    "state_public_keys": ["status"],
})
print("alice is", state["user_state"])

# == info ==
info = call("POST", "/info", {"info": {"channels": ["/tutorial-1"]}})
print("in /tutorial-1:", info["channels"]["/tutorial-1"]["users"])
