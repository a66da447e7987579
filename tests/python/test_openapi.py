"""The API description: checked against its standard, and used to fuzz a server."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import openapi_spec_validator
import pytest
import requests

from backend import Backend
from server import environment

HERE = Path(__file__).parent
SECONDS = int(os.environ.get("FUZZ_SECONDS", "45"))
# The cases are the same in every run; FUZZ_SEED=random draws others.
SEED = os.environ.get("FUZZ_SEED", "1")


@pytest.fixture(scope="module")
def fuzzed(start_server):
    """A server for the fuzzer, whose polls end soon."""
    return start_server(CHANNELSTREAM_POLL_WAIT_MS="20", CHANNELSTREAM_ALLOW_DEFAULT_SECRETS="true")


@pytest.fixture(scope="module")
def document(fuzzed):
    return Backend(fuzzed.url).call("GET", "/openapi-3.1.json")


def resolved(document, value):
    while "$ref" in value:
        steps = value["$ref"].removeprefix("#/").split("/")
        value = document
        for step in steps:
            value = value[step]
    return value


def closed(document):
    """Returns the document with answers that allow only the documented keys."""
    document = copy.deepcopy(document)
    seen = []

    def close(value):
        value = resolved(document, value) if isinstance(value, dict) else value
        if any(value is other for other in seen):
            return
        seen.append(value)
        if isinstance(value, dict):
            if value.get("type") == "object" and "properties" in value:
                value.setdefault("additionalProperties", False)
            for inner in value.values():
                close(inner)
        elif isinstance(value, list):
            for inner in value:
                close(inner)

    for item in document["paths"].values():
        for operation in item.values():
            for response in operation["responses"].values():
                for content in resolved(document, response).get("content", {}).values():
                    close(content["schema"])
    return document


def test_description_is_valid_openapi_3_1(document):
    assert document["openapi"] == "3.1.0"
    openapi_spec_validator.validate(document, cls=openapi_spec_validator.OpenAPIV31SpecValidator)


def test_description_requires_a_signature(fuzzed):
    refused = requests.get(f"{fuzzed.url}/openapi-3.1.json", timeout=5)
    assert (refused.status_code, refused.headers["x-channelstream-error"]) == (403, "signature-missing")


def test_description_contains_the_prefix_of_a_proxy(start_server):
    server = start_server(CHANNELSTREAM_TRUSTED_PROXIES="127.0.0.1", CHANNELSTREAM_ALLOW_DEFAULT_SECRETS="true")
    headers = {**Backend(server.url).headers("/"), "X-Script-Name": "/push"}
    document = requests.get(f"{server.url}/push/openapi-3.1.json", headers=headers, timeout=5).json()
    assert document["servers"] == [{"url": "/push"}]


def test_fuzzer_finds_no_failure(fuzzed, document, tmp_path):
    described = closed(document)
    # The fuzzer waits for the end of every answer, and an event stream has none.
    del described["paths"]["/sse"]
    (tmp_path / "openapi.json").write_text(json.dumps(described))
    command = [Path(sys.executable).parent / "schemathesis", "--config-file", HERE / "fuzz.toml", "run", "openapi.json"]
    command += ["--url", fuzzed.url, "--max-time", str(SECONDS), "--continue-on-failure", "--no-color"]
    command += ["--report", "json", "--report-json-path", "report.json"]
    command += [] if SEED == "random" else ["--seed", SEED]
    variables = {"SCHEMATHESIS_HOOKS": "fuzz_hooks", "PYTHONPATH": str(HERE), "FUZZED_URL": fuzzed.url}
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment(**variables), capture_output=True, text=True, timeout=4 * SECONDS
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["failures"] == report["errors"] == []
    operations = report["operations"]
    assert operations["tested"] == operations["total"] == sum(len(item) for item in described["paths"].values())
    # The fuzzer has not tested an endpoint that refused every call; it cannot send a websocket handshake.
    taken = {name for name, phases in report["valid_rates"].items() if any(p["accepted"] for p in phases.values())}
    assert set(report["valid_rates"]) - taken <= {"GET /ws"}
    assert report["test_cases"]["generated"] > 500, report["test_cases"]
