"""Signatures bound to one request, made as the API documentation describes."""

import hashlib
import hmac
import json
import subprocess
from pathlib import Path

import pytest
import requests

from server import environment

HEADER = "x-channelstream-signature"
VECTORS = json.loads((Path(__file__).parent.parent / "data" / "bound_signatures.json").read_text())
PAGE = Path(__file__).parent.parent.parent / "docs" / "api.md"


def documented():
    """Returns the function on the page, with a clock and nonces that the test chooses."""
    code = PAGE.read_text().split("### Bound signatures")[1].split("```python\n")[1].split("\n\n\ndef call")[0]
    names = {}
    exec(code, names)  # noqa: S102
    return names


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["valid"]], ids=lambda vector: vector["name"])
def test_documented_code_makes_the_signatures_of_the_vectors(vector, monkeypatch):
    names = documented()
    timestamp, nonce, _ = (part.split("=", 1)[1] for part in vector["signature"].split(","))
    monkeypatch.setattr(names["time"], "time", lambda: int(timestamp))
    monkeypatch.setattr(names["secrets"], "token_hex", lambda _: nonce)
    made = names["signed"](vector["secret"], vector["method"], vector["target"], vector["body"].encode())
    assert made == {HEADER: vector["signature"]}


def send(server, method, path, body, headers):
    return requests.request(method, server.url + path, data=body, headers=headers, timeout=5)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/info", b'{"info": {}}'),
        ("POST", "/message", b'[{"user": "ann", "channel": "c", "message": {"text": "x"}}]'),
        ("DELETE", "/message", b'[{"uuid": "33333333-3333-4333-8333-333333333333"}]'),
        ("GET", "/admin/admin.json?per_page=1&search=%C3%A9", b""),
        ("POST", "/disconnect?a=b", b'{"conn_id": "33333333-3333-4333-8333-333333333333"}'),
    ],
)
def test_signature_is_valid_once_and_only_for_its_request(server, method, path, body):
    sign = documented()["signed"]
    headers = sign("secret", method, path, body)
    assert send(server, method, path, body, headers).status_code == 200
    again = send(server, method, path, body, headers)
    assert (again.status_code, again.json()) == (401, {"request": "Bad Signature"})
    assert again.headers["x-channelstream-error"] == "bad-signature"
    for changed in [
        ("PUT", path, body),
        (method, path + "?x=y", body),
        (method, path, body + b" "),
    ]:
        refused = send(server, *changed, sign("secret", method, path, body))
        assert refused.status_code == 401, changed
    assert send(server, method, path, body, sign("other", method, path, body)).status_code == 401


def test_server_ignores_a_body_with_a_wrong_signature(server):
    sign = documented()["signed"]
    body = b'[{"user": "ann", "channel": "unheard", "message": {"text": "x"}}]'
    config = b'{"unheard": {"store_history": true}}'
    assert send(server, "POST", "/channel_config", config, sign("secret", "POST", "/channel_config", config)).ok
    assert send(server, "POST", "/message", body, sign("secret", "POST", "/message", b"[]")).status_code == 401
    info = send(server, "POST", "/info", b"", sign("secret", "POST", "/info", b"")).json()
    assert info["channels"]["unheard"]["history"] == []


def test_operator_can_require_bound_signatures(start_server):
    strict = start_server(CHANNELSTREAM_REQUIRE_BOUND_SIGNATURES="true")
    made = subprocess.run(["channelstream", "sign"], env=environment(), capture_output=True, text=True, check=True)
    name, _, value = made.stdout.splitlines()[-1].partition(": ")
    refused = send(strict, "POST", "/info", b"", {name: value})
    assert (refused.status_code, refused.headers["x-channelstream-error"]) == (401, "bad-signature")
    bound = documented()["signed"]("secret", "POST", "/info", b"")
    assert send(strict, "POST", "/info", b"", bound).ok


def test_server_refuses_signatures_that_it_cannot_store(start_server):
    small = start_server(CHANNELSTREAM_MAX_REMEMBERED_SIGNATURES="1000")
    sign = documented()["signed"]
    with requests.Session() as session:
        codes = [session.post(f"{small.url}/info", headers=sign("secret", "POST", "/info", b""), timeout=5) for _ in range(1001)]
    assert {answer.status_code for answer in codes[:1000]} == {200}
    last = codes[-1]
    assert (last.status_code, last.headers["x-channelstream-error"], last.headers["retry-after"]) == (503, "busy", "1")


def test_command_makes_a_bound_signature(server, tmp_path):
    body = tmp_path / "body.json"
    body.write_text('{"info": {}}\n')
    for data in [f"@{body}", body.read_text()]:
        command = ["channelstream", "sign", "--path", "/info", "--method", "POST", "--data", data]
        made = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
        name, _, value = made.stdout.splitlines()[-1].partition(": ")
        assert name == HEADER
        assert send(server, "POST", "/info", body.read_bytes(), {name: value}).status_code == 200
