"""The guard of the how-to, installed as a package would be, on its way from configuration to answer."""

from __future__ import annotations

import re
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import ModuleType

import pytest

from gateway.errors import ConfigurationInvalid
from gateway.governance.guard_chain import Chain
from gateway.models import guard
from gateway.models.llm_models import Chat, Message, TextPart
from gateway.registry.guard_rows import guards_of
from gateway.registry.yaml_lines import parse_yaml

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "howto" / "add-a-guard.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"^ *```{language}\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return "\n".join(line.removeprefix("   ") for line in found.group(1).splitlines())


def test_the_guard_of_the_how_to_works(monkeypatch: pytest.MonkeyPatch) -> None:
    name, target = re.findall(r'^(\S+) = "(\S+)"$', block("toml"), re.MULTILINE)[0]
    module = ModuleType(target.partition(":")[0])
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(block("python"), "add-a-guard.md", "exec"), module.__dict__)
    document = parse_yaml(block("yaml"), "models.yaml")
    with pytest.raises(ConfigurationInvalid, match="no installed package offers"):
        guards_of(document, ("guards",), document.value["guards"])
    points = EntryPoints([EntryPoint(name, target, guard.GUARDS)])
    monkeypatch.setattr(guard, "entry_points", lambda group: points.select(group=group))
    chain = Chain(guards_of(document, ("guards",), document.value["guards"]))
    asked = Chat("m", (Message("system", (TextPart("PRJ-0001"),)), Message("user", (TextPart("On PRJ-0042?"),))))
    chat, vault = chain.read_chat(asked, [])
    assert [turn.text() for turn in chat.messages] == ["PRJ-0001", "On [CODE_NAME_1]?"]
    assert vault.values() == {"[CODE_NAME_1]": "PRJ-0042"}
