"""The image and what goes into it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from gateway.settings import SECRET_NAMES

ROOT = Path(__file__).resolve().parents[3]
COMPILERS = ("gcc", "g++", "clang", "build-essential", "make", "cmake", "rustc", "cargo")


def instructions() -> list[tuple[str, str]]:
    """(instruction, rest) of the Dockerfile, continued lines joined, comments gone."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    pairs = [line.strip().partition(" ") for line in joined.splitlines() if line.strip()]
    return [(word.upper(), rest.strip()) for word, _, rest in pairs]


def last_stage() -> list[tuple[str, str]]:
    steps = instructions()
    start = max(number for number, (word, _) in enumerate(steps) if word == "FROM")
    return steps[start:]


def only(word: str) -> str:
    found = [rest for name, rest in last_stage() if name == word]
    assert len(found) == 1, (word, found)
    return found[0]


def test_it_is_built_in_stages_from_a_pinned_slim_image() -> None:
    steps = instructions()
    default = next(rest for word, rest in steps if word == "ARG" and rest.startswith("PYTHON_IMAGE="))
    bases = [rest.split()[0] for word, rest in steps if word == "FROM"]
    assert bases == ["${PYTHON_IMAGE}", "${PYTHON_IMAGE}"]
    image, _, tag = default.partition("=")[2].partition(":")
    assert image == "python"
    assert re.fullmatch(r"3\.1[1-3]-slim-[a-z]+", tag)


def test_it_runs_the_gateway_as_a_user_without_rights() -> None:
    assert only("USER") == "10001:10001"
    assert json.loads(only("CMD")) == ["python", "src/ai_gateway.py"]
    assert only("EXPOSE") == "8001"
    assert json.loads(only("VOLUME")) == ["/data"]
    assert only("WORKDIR") == "/app"
    assert (ROOT / "src" / "ai_gateway.py").is_file()


def test_nothing_needs_to_be_written_outside_its_volumes() -> None:
    environment = next(rest for word, rest in last_stage() if word == "ENV")
    given = dict(item.split("=", 1) for item in environment.split())
    assert given["GATEWAY_DATA_DIR"] == "/data"
    assert given["PYTHONDONTWRITEBYTECODE"] == "1"
    assert given["HOME"] == "/tmp"
    after_user = [word for word, _ in last_stage()][[word for word, _ in last_stage()].index("USER") :]
    assert "RUN" not in after_user
    assert "COPY" not in after_user


def test_the_last_stage_installs_nothing_and_has_no_compiler() -> None:
    runs = " ".join(rest for word, rest in last_stage() if word == "RUN")
    words = set(re.findall(r"[\w+-]+", runs))
    assert not words & {*COMPILERS, "apt-get", "apt", "apk", "pip", "curl", "wget"}
    assert [
        rest for word, rest in instructions() if word == "RUN" and "pip install" in rest and "hashes" not in rest
    ] == []


def test_its_health_is_asked_of_the_gateway_by_python() -> None:
    check = only("HEALTHCHECK")
    assert "/healthz" in check
    command = json.loads(check.partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "HEALTHCHECK", "exec")


def test_it_holds_no_secret() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert not [name for name in SECRET_NAMES if name in text]


def test_only_what_the_image_copies_reaches_the_builder() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = set()
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            copied |= {source.rstrip("/") for source in rest.split()[:-1]}
    assert copied == let_in
    assert all((ROOT / source).exists() for source in copied)
    assert {"**/__pycache__", "**/*.pyc"} <= set(lines)
