"""The calls of the original's demos and of its landing site."""

import uuid

import pytest
import requests

from backend import HEADER, Backend

USER_STATE = {"email": None, "status": "ready", "bar": 1, "private": True}
CONFIGS = {
    "pub_chan": {"notify_presence": True, "store_history": True, "history_size": 20},
    "notify": {"store_history": True, "notify_presence": True},
}


def enter(backend, username, *channels):
    payload = {
        "username": username,
        "conn_id": str(uuid.uuid4()),
        "fresh_user_state": USER_STATE,
        "user_state": {"bar": 2, "private": False},
        "state_public_keys": ["email", "status", "bar"],
        "channels": list(channels),
        "channel_configs": CONFIGS,
        "info": {"return_public_state": True},
    }
    return backend.post("/connect", payload)


def publish(backend, channel, **fields):
    message = {"user": "chat_a", "channel": channel, "message": {"text": "hello"}, **fields}
    return backend.post("/message", [message])[0]


def without_catchup(event):
    """Returns the event without the mark of an event that arrived between two polls."""
    event.pop("catchup", None)
    return event


def test_chat_client_connects(backend):
    answer = enter(backend, "chat_first", "pub_chan")
    # A null for a key that is not set is not stored, as in the original.
    assert answer["state"] == {"status": "ready", "bar": 2, "private": False}
    public = {"status": "ready", "bar": 2}
    assert answer["public_state"] == public
    assert {"user": "chat_first", "state": public} in answer["channels_info"]["users"]
    keys = "uuid name long_name settings history last_active total_connections total_users users".split()
    assert list(answer["channels_info"]["channels"]["pub_chan"]) == keys
    # A second window does not reset the state.
    backend.post("/user_state", {"user": "chat_first", "user_state": {"status": "away"}})
    assert enter(backend, "chat_first", "pub_chan")["state"]["status"] == "away"


def test_chat_client_receives_state_changes(backend, listen, own):
    user, channel = own("user"), own("states")
    backend.post("/channel_config", {channel: {"notify_state": True}})
    listener = listen(enter(backend, user, channel)["conn_id"])
    payload = {"user": user, "user_state": {"status": "gone", "private": 5}, "state_public_keys": ["status"]}
    answer = backend.post("/user_state", payload)
    assert answer["user_state"]["private"] == 5
    assert answer["changed_state"] == [{"key": "status", "value": "gone"}, {"key": "private", "value": 5}]
    event = listener.event()
    assert event["type"] == "user_state_change"
    assert event["message"] == {"state": {"status": "gone"}, "changed": [{"key": "status", "value": "gone"}]}


def test_chat_client_subscribes_and_unsubscribes(backend):
    conn_id = enter(backend, "chat_mover", "pub_chan")["conn_id"]
    answer = backend.post("/subscribe", {"conn_id": conn_id, "channels": ["notify"], "channel_configs": CONFIGS})
    assert (answer["channels"], answer["subscribed_to"]) == (["notify", "pub_chan"], ["notify"])
    answer = backend.post("/unsubscribe", {"conn_id": conn_id, "channels": ["pub_chan"]})
    assert (answer["channels"], answer["unsubscribed_from"]) == (["notify"], ["pub_chan"])


def test_chat_client_receives_edits_and_deletions(backend, listen, own):
    channel = own("edits")
    backend.post("/channel_config", {channel: {"store_history": True}})
    listener = listen(enter(backend, own("reader"), channel)["conn_id"])
    message = publish(backend, channel)
    event = listener.event()
    assert (event["uuid"], event["timestamp"]) == (message["uuid"], message["timestamp"])
    assert event["timestamp"].split(".")[0]
    backend.call("PATCH", "/message", [{"uuid": message["uuid"], "channel": channel, "message": {"text": "hello!"}}])
    edit = without_catchup(listener.event())
    # The page merges an edit over the message, so fields that were not given must be absent.
    assert sorted(edit) == ["channel", "edited", "message", "type", "uuid"]
    assert (edit["type"], edit["message"]) == ("message:edit", {"text": "hello!"})
    backend.call("DELETE", "/message", [{"uuid": message["uuid"], "channel": channel}])
    assert without_catchup(listener.event()) == {"channel": channel, "uuid": message["uuid"], "type": "message:delete"}
    assert backend.post("/info", {"info": {"channels": [channel]}})["channels"][channel]["history"] == []


def test_chat_client_receives_private_messages(backend, listen, own):
    channel = own("whispers")
    ada, bob = (listen(enter(backend, own(name), channel)["conn_id"]) for name in ("ada", "bob"))
    publish(backend, channel, pm_users=[own("ada")], no_history=True, message={"text": "between us"})
    publish(backend, channel)
    assert [event["message"]["text"] for event in ada.events(2)] == ["between us", "hello"]
    assert bob.event()["message"]["text"] == "hello"


def test_client_receives_notifications(backend, listen, own):
    listener = listen(backend.connect(own("user"), own("notify")))
    message = {"type": "message", "user": "system", "channel": own("notify"), "message": {"value": 42}}
    backend.post("/message", [message])
    assert listener.event()["message"] == {"value": 42}


def test_admin_json_accepts_an_empty_object(backend):
    enter(backend, "chat_counted", "counted")
    figures = backend.post("/admin/admin.json", {})
    for name in (
        "remembered_user_count unique_user_count total_connections total_channels total_messages "
        "total_unique_messages"
    ).split():
        assert isinstance(figures[name], int), name
    assert figures["uptime"].count(":") == 2
    keys = "uuid name long_name settings history last_active total_connections total_users users".split()
    assert list(figures["channels"]["counted"]) == keys


@pytest.mark.parametrize("proxied", [{}, {"Host": "push.example.org", "X-Url-Scheme": "https"}], ids=["direct", "proxied"])
def test_landing_site_can_rewrite_the_explorer(start_server, proxied):
    backend = Backend(start_server(CHANNELSTREAM_TRUSTED_PROXIES="127.0.0.1", CHANNELSTREAM_ALLOW_DEFAULT_SECRETS="true").url)
    headers = {HEADER: backend.signer.sign("channelstream"), **proxied}
    page = requests.get(f"{backend.url}/api-explorer", headers=headers, timeout=5, allow_redirects=False)
    assert page.status_code == 200
    base = "https://push.example.org" if proxied else backend.url
    assert page.text.count(f"from '{base}/static/channelstream/index.js'") == 1
    assert f"{base}/openapi.json" in page.text
    described = requests.get(f"{backend.url}/openapi.json", headers=headers, timeout=5)
    assert described.status_code == 200 and described.json()["swagger"] == "2.0.0"


def test_server_hides_the_explorer_from_unsigned_requests(server):
    assert requests.get(f"{server.url}/openapi.json", timeout=5).status_code == 403
    page = requests.get(f"{server.url}/api-explorer", timeout=5, allow_redirects=False)
    assert (page.status_code, page.headers["Location"]) == (302, f"{server.url}/admin/sign_in")


def test_server_refuses_the_signature_of_another_server(server):
    refused = Backend(server.url, "another").send("POST", "/admin/admin.json", {})
    assert (refused.status_code, refused.json()) == (401, {"request": "Bad Signature"})
