"""What schemathesis has to know about this API: how to sign, who is connected, what a schema cannot say.

Loaded by the fuzzer in a process of its own, see test_openapi.py.
"""

import os

import requests
import schemathesis
from hypothesis import strategies
from itsdangerous import TimestampSigner
from schemathesis.openapi.checks import RejectedPositiveData
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

URL = os.environ["FUZZED_URL"]
HEADER = "x-channelstream-secret"
KNOWN = {"username": "ada", "conn_id": "11111111-1111-4111-8111-111111111111"}
ABOUT_ONE_THAT_IS_KNOWN = {"/subscribe", "/unsubscribe", "/user_state", "/listen", "/disconnect"}
MAY_NAME_IN_QUERY = {"/subscribe", "/unsubscribe"}
LOOKED_UP = {"Unknown connection", "Unknown user", "Connection belongs to another user"}

signer = TimestampSigner("secret")

schemathesis.openapi.format("date-time-local", strategies.datetimes().map(lambda time: time.isoformat()))


@schemathesis.auth()
class Signature:
    """Signs what needs a signature, with the path as value."""

    def get(self, case, context):
        return signer.sign(case.path).decode()

    def set(self, case, signature, context):
        case.headers[HEADER] = signature


@schemathesis.hook
def before_call(context, case, kwargs):
    """Half of the calls that are right concern a connection, or a user, whom the server knows."""
    if case.path not in ABOUT_ONE_THAT_IS_KNOWN or not case.meta.generation.mode.is_positive:
        return
    requests.post(f"{URL}/connect", json=KNOWN, headers={HEADER: signer.sign("/connect")}, timeout=5)
    named = case.body if isinstance(case.body, dict) else case.query or {}
    if "conn_id" in named and named["conn_id"][-1:] in "01234567":
        named["conn_id"] = KNOWN["conn_id"]
    if "user" in named and len(named["user"]) % 2:
        named["user"] = KNOWN["username"]


def texts(errors):
    """All texts in a tree of errors."""
    if isinstance(errors, str):
        yield errors
    elif isinstance(errors, dict | list):
        for inner in errors.values() if isinstance(errors, dict) else errors:
            yield from texts(inner)


def is_no_handshake(response, case):
    """What the fuzzer sends to the websocket is plain HTTP."""
    return case.path == "/ws" and response.status_code == 426


@schemathesis.check
def what_fits_is_taken(context, response, case):
    if is_no_handshake(response, case):
        return
    try:
        positive_data_acceptance(context, response, case)
    except RejectedPositiveData:
        # Whom the server knows is in no schema, and neither is that an id stands in the body or else in the query.
        errors = response.json() if response.status_code == 422 else response.text
        if case.path in MAY_NAME_IN_QUERY and "conn_id" not in case.body:
            errors.pop("conn_id", None)
        if not set(texts(errors)) <= LOOKED_UP:
            raise


@schemathesis.check
def what_does_not_fit_is_refused(context, response, case):
    if not is_no_handshake(response, case):
        negative_data_rejection(context, response, case)
