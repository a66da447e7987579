"""What schemathesis needs for this API: signatures, existing connections, and rules that no schema can express.

The fuzzer loads this file in a separate process, see test_openapi.py.
"""

import os
import time

import requests
import schemathesis
from hypothesis import strategies
from itsdangerous import TimestampSigner
from schemathesis.openapi.checks import RejectedPositiveData
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

URL = os.environ["FUZZED_URL"]
HEADER = "x-channelstream-secret"
KNOWN = {"username": "ada", "conn_id": "11111111-1111-4111-8111-111111111111"}
CHANNEL = "demo"
# The demo accepts 200 requests per second of all its visitors. A call of the fuzzer is at most two of them.
SECONDS_PER_DEMO_CALL = 2 / 150
# A connection of the demo, which changes no other connection.
VISITOR = {"username": "ada", "conn_id": "22222222-2222-4222-8222-222222222222"}
NAME_EXISTING_ITEMS = {"/subscribe", "/unsubscribe", "/user_state", "/listen", "/disconnect"}
MAY_NAME_IN_QUERY = {"/subscribe", "/unsubscribe", "/demo/subscribe", "/demo/unsubscribe"}
# Refusals of values that fit the schema.
LOOKED_UP = {
    "Unknown connection",
    "Unknown user",
    "Connection belongs to another user",
    'Demo channels begin with "demo".',
    "The demo has no room for more users, connections or channels.",
    "Rows after 20000 are not listed; search for them.",
    "There are 256 channels; delete one first.",
    "Missing or invalid channel identifier",
    "Channel doesn't exist",
    "Not a cursor.",
    "Not a JSON object of texts.",
}

signer = TimestampSigner("secret")

schemathesis.openapi.format("date-time-local", strategies.datetimes().map(lambda time: time.isoformat()))


@schemathesis.auth()
class Signature:
    """Signs the requests that need a signature, with the path as the value."""

    def get(self, case, context):
        return signer.sign(case.path).decode()

    def set(self, case, signature, context):
        case.headers[HEADER] = signature


def name_existing_items(named, connection):
    """Replaces half of the names with those of a connection, a user and a channel that exist."""
    for field, known in {"conn_id": connection["conn_id"], "user": connection["username"], "channel": CHANNEL}.items():
        if isinstance(named.get(field), str) and len(named[field]) + sum(map(ord, named[field][-1:])) & 1:
            named[field] = known


@schemathesis.hook
def before_call(context, case, kwargs):
    """Makes many of the valid calls name existing items, and lets none of them wait for long."""
    if case.path.startswith("/demo/"):
        time.sleep(SECONDS_PER_DEMO_CALL)
    if not case.meta.generation.mode.is_positive:
        return
    if case.path == "/admin/recording.json":
        case.query["wait_s"] = 0
    if case.path not in NAME_EXISTING_ITEMS and not case.path.startswith(("/admin/", "/demo/")):
        return
    connection, connect = (VISITOR, "/demo/connect") if case.path.startswith("/demo/") else (KNOWN, "/connect")
    payload = {**connection, "channels": [CHANNEL]}
    requests.post(URL + connect, json=payload, headers={HEADER: signer.sign(connect)}, timeout=5)
    for named in (case.query, case.body, *(case.body if isinstance(case.body, list) else ())):
        if isinstance(named, dict):
            name_existing_items(named, connection)
            if case.path.startswith("/demo/") and len(named.get("channels", ())) % 2:
                named["channels"] = [CHANNEL]
    if case.path in ("/admin/channel.json", "/admin/user.json") and len(case.query["name"]) % 2:
        case.query["name"] = CHANNEL if case.path == "/admin/channel.json" else KNOWN["username"]
    if case.path.startswith("/demo/board/"):
        create_or_delete_channel(case)


def create_or_delete_channel(case):
    """Makes half of the board's calls name a channel with which they can succeed."""
    named = case.path_parameters if "push" in case.path else case.query
    if len(named["id"]) % 2:
        verb = "del-channel" if case.path.endswith("new-channel") else "new-channel"
        named["id"] = "known"
        requests.get(f"{URL}/demo/board/{verb}", params={"id": "known"}, timeout=5)


def texts(errors):
    """All texts in a tree of errors."""
    if isinstance(errors, str):
        yield errors
    elif isinstance(errors, dict | list):
        for inner in errors.values() if isinstance(errors, dict) else errors:
            yield from texts(inner)


def names_neither(case):
    """A recording is of a channel or of a connection: no schema of parameters can require one of two."""
    return case.path == "/admin/recording.json" and not case.query.get("channel") and not case.query.get("conn_id")


def is_repeated(case):
    """Of several values the board uses the last one, as the original does; for the schema of one text several are a list."""
    return case.path.startswith("/demo/board/") and isinstance((case.query or {}).get("id"), list)


def ignores_positions(case):
    """Without `resume=1` a poll has no positions, so that cursors and positions of any form are accepted."""
    return case.path == "/listen" and (case.query or {}).get("resume") != "1"


def is_no_handshake(response, case):
    """The fuzzer calls the websocket endpoint with plain HTTP."""
    return case.path == "/ws" and response.status_code == 426


def is_large_for_the_demo(response, case):
    """The demo accepts only small bodies, which no schema documents."""
    return case.path.startswith("/demo/") and response.status_code == 413


def has_used_key(response):
    """The fuzzer sends an idempotency key with several bodies."""
    return "idempotency-key-reused" in response.headers.get("x-channelstream-error", [])


@schemathesis.check
def valid_call_is_accepted(context, response, case):
    if is_no_handshake(response, case) or is_large_for_the_demo(response, case) or has_used_key(response):
        return
    try:
        positive_data_acceptance(context, response, case)
    except RejectedPositiveData:
        # No schema contains the items that exist, or the rule that an id is in the body or in the query.
        errors = response.json() if response.status_code == 422 else response.text
        named_in_query = case.path in MAY_NAME_IN_QUERY and "conn_id" not in case.body
        if named_in_query or names_neither(case):
            errors.pop("conn_id", None)
        if not set(texts(errors)) <= LOOKED_UP:
            raise


@schemathesis.check
def invalid_call_is_refused(context, response, case):
    if not (is_no_handshake(response, case) or is_repeated(case) or ignores_positions(case)):
        negative_data_rejection(context, response, case)
