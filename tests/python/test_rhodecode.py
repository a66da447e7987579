"""RhodeCode's calls: how a code review application connects its users, and which parts of the answers it reads."""

import uuid
from pathlib import Path

import pytest
import requests

from backend import Backend
from server import Server

INI = Path(__file__).parent.parent / "data" / "rhodecode.ini"
CONFIGS = {
    "notify_presence": True,
    "history_size": 100,
    "store_history": True,
    "broadcast_presence_with_user_lists": True,
}
STATE = {"id": 2, "full_name": "Zoë Ó Briain", "icon_link": "/_avatar/2", "admin": False}
REVIEW = "/repo$grüße/тест$/pr/17"


def connect(backend, username, *channels):
    payload = {
        "username": username,
        # A null for a key that is not set is not stored, as in the original.
        "user_state": {**STATE, "bio": None},
        "conn_id": str(uuid.uuid4()),
        "channels": [*channels, "broadcast"],
        "channel_configs": {channel: CONFIGS for channel in channels},
        "state_public_keys": ["id", "full_name", "icon_link"],
        "info": {"exclude_channels": ["broadcast"]},
    }
    answer = backend.post("/connect", payload)
    assert answer["conn_id"] == payload["conn_id"]
    return answer


def review(backend, text, channel=REVIEW, **fields):
    message = {
        "type": "message",
        "timestamp": "2026-02-03T04:05:06.789",
        "user": "system",
        "channel": channel,
        "message": {"topic": "/notifications", "message": text, "level": "success", "testMessage": False},
        **fields,
    }
    backend.post("/message", [message])


def readable(info, channels):
    """Reads `channels_info` as RhodeCode does: every look-up must succeed."""
    states = {entry["user"]: entry["state"] for entry in info["users"]}
    assert sorted(info["channels"]) == sorted(channels)
    return {
        name: ([states[user] for user in info["channels"][name]["users"]], info["channels"][name]["history"])
        for name in channels
    }


def test_connect_returns_the_requested_channels(backend):
    channel = REVIEW + "/connect"
    assert connect(backend, "rc_first", channel)["channels"] == sorted([channel, "broadcast"])
    review(backend, "one", channel)
    review(backend, "two", channel)
    users, history = readable(connect(backend, "rc_second", channel)["channels_info"], [channel])[channel]
    assert users == [STATE, STATE]
    assert [entry["message"]["message"] for entry in history] == ["one", "two"]
    assert [entry["timestamp"] for entry in history] == ["2026-02-03T04:05:06.789000"] * 2


def test_subscribe_returns_all_channels_but_the_excluded(backend):
    conn_id = connect(backend, "rc_subscriber")["conn_id"]
    channel = "/repo$grüße$/commit/0123abc"
    payload = {
        "conn_id": conn_id,
        "channels": [channel],
        "channel_configs": {channel: CONFIGS},
        "info": {"exclude_channels": ["broadcast"]},
    }
    answer = backend.post("/subscribe", payload)
    assert answer["channels"] == [channel, "broadcast"]
    assert answer["channels_info"]["channels"][channel]["settings"]["history_size"] == 100
    assert readable(answer["channels_info"], [channel])[channel] == ([STATE], [])


def test_message_reaches_the_other_users(backend, open_socket):
    channel = REVIEW + "/message"
    author, reader = (open_socket(connect(backend, name, channel)["conn_id"]) for name in ("rc_a", "rc_b"))
    assert [event["message"]["action"] for event in author.events(1)] == ["joined"]
    review(backend, "<b>größer</b>", channel, exclude_users=["rc_a"])
    event = reader.event()
    assert event["message"]["topic"] == "/notifications"
    assert event["message"]["message"] == "<b>größer</b>"
    assert event["timestamp"] == "2026-02-03T04:05:06.789000"
    assert author.nothing_comes()
    author.close()
    left = reader.event()
    assert (left["type"], left["message"], left["user"]) == ("presence", {"action": "parted"}, "rc_a")
    assert [entry["user"] for entry in left["users"]] == ["rc_b"]
    assert left["state"] is None


def test_private_message_reaches_every_window_of_its_user(backend, open_socket):
    windows = [open_socket(connect(backend, "rc_windows")["conn_id"]) for _ in range(2)]
    other = open_socket(connect(backend, "rc_other")["conn_id"])
    message = {
        "type": "message",
        "timestamp": "2026-02-03T04:05:06.789",
        "user": "system",
        "exclude_users": [],
        "pm_users": ["rc_windows", "nobody known"],
        "message": {"topic": "/notifications", "message": "for you"},
    }
    backend.post("/message", [message])
    for window in windows:
        event = window.event()
        assert event["channel"] is None and event["message"]["message"] == "for you"
    assert other.nothing_comes()


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """The server as RhodeCode's stack starts it, with its INI file and a variable that the server must ignore."""
    directory = tmp_path_factory.mktemp("stack")
    (directory / "config.ini").write_text(INI.read_text())
    server = Server(directory, "-i", "config.ini", CHANNELSTREAM_SECRET="ignored")
    yield server
    assert server.stop() == 0


def test_server_starts_with_the_ini_file(stack):
    assert Backend(stack.url, "100%secret").connect("someone", "broadcast")
    assert Backend(stack.url, "ignored").send("POST", "/info").status_code == 401
    log = stack.log.read_text()
    assert "statsd_host" in log and "CHANNELSTREAM_SECRET" in log


def test_server_answers_the_health_check(stack):
    answer = requests.get(f"http://127.0.0.1:{stack.port}/admin/sign_in", timeout=5)
    assert answer.status_code == 200 and "<form" in answer.text


def test_server_with_an_ini_file_has_no_demo(stack):
    assert 'data-demo="false"' in requests.get(f"{stack.url}/", timeout=5).text
    assert requests.post(f"{stack.url}/demo/connect", json={}, timeout=5).status_code == 404


PROXIED = {
    "Host": "code.example.org",
    "X-Real-IP": "203.0.113.9",
    "X-Url-Scheme": "https",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-For": "203.0.113.9",
    "Connection": "upgrade",
}


@pytest.mark.parametrize("upgrade", [{}, {"Upgrade": ""}], ids=["without", "empty"])
def test_server_accepts_connection_upgrade_in_every_request(stack, upgrade):
    server, backend = stack, Backend(stack.url, "100%secret")
    conn_id = connect(backend, "rc_proxied", "rc-proxied")["conn_id"]
    review(backend, "through a proxy", "rc-proxied")
    params = {"conn_id": conn_id}
    poll = requests.get(f"{server.url}/listen", params=params, headers={**PROXIED, **upgrade}, timeout=10)
    assert [event["message"]["message"] for event in poll.json()] == ["through a proxy"]
    headers = {**backend.headers("/info"), **PROXIED, **upgrade}
    assert requests.post(f"{server.url}/info", headers=headers, timeout=5).status_code == 200


def test_server_uses_the_scheme_of_the_proxy(stack):
    page = requests.get(f"{stack.url}/admin", headers=PROXIED, timeout=5, allow_redirects=False)
    assert (page.status_code, page.headers["Location"]) == (302, "https://code.example.org/admin/sign_in")


def test_server_refuses_the_default_secret_behind_a_proxy_and_names_both_remedies(server, backend):
    refused = requests.post(f"{server.url}/info", headers={**backend.headers("/info"), **PROXIED}, timeout=5)
    assert (refused.status_code, refused.headers["x-channelstream-error"]) == (403, "well-known-secret")
    text = refused.json()["message"]
    assert "your own secrets and admin_secret" in text and "allow_default_secrets = true" in text
    form = {"username": "admin", "password": "admin_secret"}
    refused = requests.post(f"{server.url}/admin/sign_in", form, headers=PROXIED, timeout=5, allow_redirects=False)
    assert refused.status_code == 403 and "allow_default_secrets = true" in refused.text
