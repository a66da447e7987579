"""The files in .github: they parse, and they name parts of tests/run, settings and commands that exist."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = [form for form in sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")) if form.name != "config.yml"]


def load(path):
    return yaml.safe_load(path.read_text())


def steps(workflow):
    return [step for job in load(workflow)["jobs"].values() for step in job["steps"]]


def named(path):
    return path.name


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=named)
def test_each_step_runs_a_command_or_a_pinned_action(workflow):
    for step in steps(workflow):
        assert ("run" in step) != ("uses" in step), step
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/none@v0")), step
        checked = subprocess.run(["bash", "-n"], input=step.get("run", ""), capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=named)
def test_workflows_may_not_write_except_to_publish(workflow):
    assert load(workflow)["permissions"] == {"contents": "read"}
    writing = [name for name, job in load(workflow)["jobs"].items() if job.get("permissions", {}).get("contents") == "write"]
    assert writing == (["publish"] if workflow.name == "release.yml" else [])


def test_ci_runs_all_tests_on_both_architectures():
    jobs = load(GITHUB / "workflows" / "ci.yml")["jobs"]
    assert "tests/run all" in [step.get("run") for step in jobs["all"]["steps"]]
    for job in jobs.values():
        assert {runner.endswith("-arm") for runner in job["strategy"]["matrix"]["runner"]} == {True, False}


def test_workflows_find_the_versions_in_the_manifest():
    """They read them by these expressions of sed."""
    manifest = (ROOT / "Cargo.toml").read_text()
    expressions = [
        found for workflow in WORKFLOWS for found in re.findall(r"\^([a-z-]+) = ", workflow.read_text())
    ]
    assert sorted(expressions) == ["rust-version", "version"]
    for key in expressions:
        assert re.search(rf'^{key} = "[\d.]+"$', manifest, re.MULTILINE), key


@pytest.mark.parametrize("form", FORMS, ids=named)
def test_fields_of_issue_forms_have_names_of_their_own(form):
    fields = [part for part in load(form)["body"] if part["type"] != "markdown"]
    ids = [field["id"] for field in fields]
    assert len(ids) == len(set(ids)) and all(field["attributes"]["label"] for field in fields)


def test_a_bug_report_asks_for_settings_and_version():
    required = [part["id"] for part in load(GITHUB / "ISSUE_TEMPLATE" / "bug.yml")["body"] if "validations" in part]
    assert {"version", "settings"} <= set(required)
    text = (GITHUB / "ISSUE_TEMPLATE" / "bug.yml").read_text()
    assert "channelstream check-config" in text and "channelstream --version" in text


def test_an_unknown_part_of_the_tests_prints_the_usage_and_fails():
    run = ROOT / "tests" / "run"
    usage = subprocess.run([run, "--help"], capture_output=True, text=True, check=True).stdout
    parts = re.findall(r"^  (\w+) ", usage, re.MULTILINE)
    assert parts == ["fast", "rust", "browser", "python", "all"]
    for arguments in (["unknown"], [""], ["fast", "rust"]):
        failed = subprocess.run([run, *arguments], capture_output=True, text=True)
        assert failed.returncode == 2 and failed.stderr.endswith(usage), arguments
