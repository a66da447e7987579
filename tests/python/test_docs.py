"""The documentation: the tests run its examples, compare its answers and follow its links.

`sh` and `python` blocks run in the order of the page against a fresh server with default settings; only the port is
changed. A `json` block after a `sh` block is the output of that block, with `…` for any value. `toml` and `ini` blocks
are settings files. The browser tests run `js` and `html` blocks; `console` blocks are commands, one of which starts these
tests. A `rust` block is a copy from a source file.
"""

import itertools
import json
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from server import environment

ROOT = Path(__file__).parent.parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
RUST = [*(ROOT / "src").rglob("*.rs"), *(ROOT / "tests").rglob("*.rs")]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BY_HAND = {"cargo run --release", "cargo run", "tests/run", "tests/run fast", "channelstream -i config.ini"}
SEPARATOR = "\x1e"


@dataclass
class Block:
    language: str
    text: str
    follows: bool
    """Whether there is no text between it and the block before."""


def blocks(page):
    text, end = page.read_text(), 0
    for found in BLOCK.finditer(text):
        yield Block(found[1], found[2], follows=not text[end : found.start()].strip())
        end = found.end()


def script_of(block, port):
    """Returns the block as a part of a shell script."""
    text = block.text.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    if block.language == "python":
        return f"{sys.executable} - <<'END_OF_PYTHON'\n{text}END_OF_PYTHON\n"
    return text


def matches(pattern, value):
    if pattern == "…":
        return True
    if isinstance(pattern, dict) and isinstance(value, dict):
        return pattern.keys() == value.keys() and all(matches(pattern[key], value[key]) for key in pattern)
    if isinstance(pattern, list) and isinstance(value, list):
        return len(pattern) == len(value) and all(map(matches, pattern, value))
    return type(pattern) is type(value) and pattern == value


def named(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_examples_print_the_documented_output(page, start_server, tmp_path):
    server = start_server()
    found = list(blocks(page))
    run = [block for block in found if block.language in ("sh", "python")]
    script = "set -euo pipefail\n" + "".join(f"{script_of(b, server.port)}\nprintf '{SEPARATOR}'\n" for b in run)
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60
    )
    printed = done.stdout.split(SEPARATOR)
    assert done.returncode == 0, f"block {len(printed)}: {done.stderr}"
    outputs = dict(zip(map(id, run), printed))
    for before, block in itertools.pairwise([None, *found]):
        if block.language == "json" and block.follows and before:
            expected, answered = json.loads(block.text), json.loads(outputs[id(before)])
            assert matches(expected, answered), f"{before.text}\nprints\n{json.dumps(answered, indent=1)}"
        elif block.language in ("toml", "ini"):
            file = tmp_path / f"config.{block.language}"
            file.write_text(block.text)
            flag = {"toml": "-c", "ini": "-i"}[block.language]
            command = ["channelstream", flag, file, "check-config"]
            checked = subprocess.run(command, env=environment(), capture_output=True, text=True)
            assert checked.returncode == 0 and not checked.stderr, checked.stderr
        elif block.language == "rust":
            assert any(block.text in source.read_text() for source in RUST), block.text
        elif block.language == "console":
            assert {line.removeprefix("$ ") for line in block.text.splitlines()} <= BY_HAND
        else:
            known = ("sh", "python", "js", "html", "json", "text", "nginx", "systemd", "yaml")
            assert block.language in known, block.language


def anchors(page):
    """Returns the anchors to which a link into the page may point."""
    headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_point_to_existing_targets(page):
    for target in re.findall(r"\]\(([^)]+)\)", BLOCK.sub("", page.read_text())):
        if not target.startswith("https://"):
            path, _, anchor = target.partition("#")
            file = page.parent / path if path else page
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_files_of_the_repository_that_are_named_exist(page):
    folders = "src|tests|static|docs|benches|fuzz|examples|tools"
    for path in re.findall(rf"`((?:{folders})/[\w./-]*)`", page.read_text()):
        generated = path.startswith(("tests/.venv", "tests/browser/node_modules", "tests/browser/output"))
        placeholder = "NAME" in path
        assert generated or placeholder or (ROOT / path).exists(), path


def test_table_of_differences_names_every_rule_of_the_replay():
    known = tomllib.loads((ROOT / "tests" / "data" / "differences.toml").read_text())
    names = {rule["rule"] for rule in known["rule"]} | {difference["id"] for difference in known["difference"]}
    page = (ROOT / "docs" / "differences.md").read_text()
    assert {name for name in names if f"`{name}`" not in page} == set()
    in_table = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", "".join(re.findall(r"\|([^|]*)\|$", page, re.MULTILINE))))
    assert in_table == names
