"""Signatures of the versions of itsdangerous that are in use."""

import subprocess
import sys
from pathlib import Path

import pytest
import requests
from itsdangerous import Signer, TimestampSigner

from backend import HEADER, Backend

OLD_VERSIONS = Path(__file__).parent.parent / ".venv"


def signed_by(version, secret, value):
    """Returns a signature made by another version of itsdangerous, in a separate process."""
    code = "import sys; from itsdangerous import TimestampSigner as S; print(S(sys.argv[1]).sign(sys.argv[2]).decode())"
    made = subprocess.run(
        [sys.executable, "-c", code, secret, value],
        env={"PYTHONPATH": str(OLD_VERSIONS / f"itsdangerous-{version}")},
        check=True,
        capture_output=True,
        text=True,
    )
    return made.stdout.strip()


def info(server, signature, **extra):
    headers = {} if signature is None else {HEADER: signature}
    return requests.post(f"{server.url}/info", headers=headers, timeout=5, **extra)


@pytest.mark.parametrize("value", ["/info", "channelstream", "", "/admin/admin.json", "a.b.c", "żółw"])
def test_server_accepts_any_signed_value(server, value):
    assert info(server, TimestampSigner("secret").sign(value)).status_code == 200


def test_server_accepts_the_signature_of_itsdangerous_1_1(server):
    assert info(server, signed_by("1.1.0", "secret", "/info")).status_code == 200


def test_signature_of_itsdangerous_0_24_has_another_epoch(server, start_server):
    old = signed_by("0.24", "secret", "/info")
    refused = info(server, old)
    assert (refused.status_code, refused.json()) == (401, {"request": "Bad Signature"})
    lenient = start_server(CHANNELSTREAM_CHECK_SIGNATURE_AGE="false")
    assert info(lenient, old).status_code == 200


def test_server_accepts_a_signature_in_the_query(server):
    signature = TimestampSigner("secret").sign("channelstream").decode()
    assert requests.post(f"{server.url}/info", params={"secret": signature}, timeout=5).status_code == 200


def test_server_refuses_wrong_and_missing_signatures(server):
    wrong = info(server, TimestampSigner("another").sign("/info"))
    assert (wrong.status_code, wrong.json()) == (401, {"request": "Bad Signature"})
    assert wrong.headers["x-channelstream-error"] == "bad-signature"
    without_time = info(server, Signer("secret").sign("/info"))
    assert without_time.status_code == 401
    missing = info(server, None)
    assert (missing.status_code, missing.json()["code"]) == (403, "403 Forbidden")
    assert missing.headers["x-channelstream-error"] == "signature-missing"


def test_signature_is_valid_for_sixty_seconds(server, monkeypatch):
    signer = TimestampSigner("secret")
    now = signer.get_timestamp()
    for age, status in [(55, 200), (62, 401), (-3600, 200)]:
        monkeypatch.setattr(signer, "get_timestamp", lambda: now - age)
        assert info(server, signer.sign("/info")).status_code == status, age


def test_operator_changes_secrets_without_a_pause(start_server):
    both = start_server(CHANNELSTREAM_SECRETS="new\nold")
    for secret, status in [("new", 200), ("old", 200), ("secret", 401)]:
        assert Backend(both.url, secret).send("POST", "/info").status_code == status, secret
