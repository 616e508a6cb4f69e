"""YAML read safely, with the line of every value kept for error messages.

No anchors, aliases or tags, no duplicate keys, a bound on size and depth: configuration is data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gateway.errors import ConfigurationInvalid

_LARGEST = 1_000_000
_DEEPEST = 40
_PLAIN = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

Path_ = tuple[str | int, ...]


class Document:
    """One file's value, and ``where(path)``: ``models.yaml:12`` for the value at a path."""

    def __init__(self, file: str, value: Any, lines: Mapping[Path_, int]) -> None:
        self.file = file
        self.value = value
        self._lines = lines

    def where(self, path: Path_) -> str:
        """File and line of the value at ``path``, or of the nearest value that holds it."""
        while path and path not in self._lines:
            path = path[:-1]
        return f"{self.file}:{self._lines.get(path, 1)}"

    def wrong(self, path: Path_, what: str, mend: str = "") -> ConfigurationInvalid:
        """The error that names the place."""
        name = ".".join(str(part) for part in path)
        return ConfigurationInvalid(
            f"{self.where(path)}: {name}: {what}" if name else f"{self.where(path)}: {what}", mend=mend
        )


def read_yaml(path: Path) -> Document:
    """The file as a ``Document``. ``ConfigurationInvalid`` names file and line of what is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationInvalid(
            f"{path.name} is missing from the configuration directory", mend=f"add {path}, or choose another --config"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationInvalid(
            f"{path.name} cannot be read ({type(error).__name__})", mend="check the file"
        ) from None
    return parse_yaml(text, path.name)


def parse_yaml(text: str, file: str) -> Document:
    """The text of one YAML document."""
    if len(text) > _LARGEST:
        raise ConfigurationInvalid(f"{file} is larger than {_LARGEST} characters", mend="split it up")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        for token in yaml.scan(text):
            if isinstance(token, (yaml.AliasToken, yaml.AnchorToken)):
                raise ConfigurationInvalid(
                    f"{file}:{token.start_mark.line + 1}: anchors and aliases are not taken", mend="write the value out"
                )
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationInvalid(f"{file}:{line}: not valid YAML: {error.problem}", mend="mend that line") from None
    except yaml.YAMLError:
        raise ConfigurationInvalid(f"{file}: not valid YAML", mend="check the file's characters") from None
    lines: dict[Path_, int] = {}
    value = None if node is None else _build(node, (), lines, file)
    return Document(file, value, lines)


def expand(value: Any, environ: Mapping[str, str], missing: list[str]) -> Any:
    """``value`` with each ``${NAME}`` replaced; names that are unset are added to ``missing``."""
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        found = environ.get(match.group(1), "")
        if not found:
            missing.append(match.group(1))
        return found

    return _VARIABLE.sub(replace, value)


def _build(node: yaml.Node, path: Path_, lines: dict[Path_, int], file: str) -> Any:
    line = node.start_mark.line + 1
    lines[path] = line
    if len(path) > _DEEPEST:
        raise ConfigurationInvalid(f"{file}:{line}: nested too deep", mend="write it flatter")
    if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN:
        raise ConfigurationInvalid(f"{file}:{line}: tags such as {node.tag[:40]} are not taken", mend="leave it out")
    if isinstance(node, yaml.MappingNode):
        built: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = _scalar(key_node, file)
            if not isinstance(key, str):
                key = str(key_node.value)
            if key in built:
                raise ConfigurationInvalid(
                    f"{file}:{key_node.start_mark.line + 1}: {key!r} is written twice", mend="keep one of them"
                )
            built[key] = _build(value_node, (*path, key), lines, file)
        return built
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, at), lines, file) for at, item in enumerate(node.value)]
    return _scalar(node, file)


def _scalar(node: yaml.Node, file: str) -> Any:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.ScalarNode):
        raise ConfigurationInvalid(f"{file}:{line}: a key is plain text", mend="write a plain key")
    if node.tag.startswith("tag:yaml.org,2002:") or node.tag == "!":
        kind = node.tag.rsplit(":", 1)[-1]
        if kind in ("str", "int", "float", "bool", "null", "timestamp", "!"):
            if kind == "timestamp":
                return node.value
            return yaml.safe_load(node.value) if kind != "str" and node.style is None else node.value
    raise ConfigurationInvalid(f"{file}:{line}: tags such as {node.tag[:40]} are not taken", mend="write plain values")
