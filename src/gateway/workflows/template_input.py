"""How the ``input_data`` of tasks and ``/execute/llm`` names a prompt template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.errors import ValidationFailed
from gateway.governance.validators import refuse_unknown
from gateway.registry.prompt_ask import PromptAsk, which


def read_template(
    template: Any, variables: Any, version: Any = None, label: Any = None, path: str = "input_data"
) -> PromptAsk:
    """``input_data.template``: ``name``, ``name@3``, ``name@label``, ``{name, version?, label?}`` or
    ``{text: …}``; a text with ``{{`` is taken as a template itself. ``version`` and ``label`` may stand beside it.
    """
    place, values = f"{path}.template", f"{path}.variables"
    given = {} if variables is None else variables
    if isinstance(template, Mapping):
        refuse_unknown(template, ("name", "id", "text", "version", "label"), place)
        if isinstance(template.get("text"), str) and len(template) == 1 and version is None and label is None:
            return PromptAsk(text=template["text"], variables=given, place=place, values=values)
        version = template.get("version") if version is None else version
        label = template.get("label") if label is None else label
        template = template.get("name") or template.get("id")
    if not isinstance(template, str) or not template:
        raise ValidationFailed(
            f"{place}: a stored prompt's name, {{name, version}}, or {{text}} is expected",
            mend='such as "risk-summary@2"',
            param=place,
        )
    if "{{" in template or "{%" in template:
        if version is not None or label is not None:
            raise ValidationFailed(f"{place}: a text of your own has neither version nor label", param=place)
        return PromptAsk(text=template, variables=given, place=place, values=values)
    name, at, named_as = template.partition("@")
    if at and (version is not None or label is not None):
        raise ValidationFailed(f"{place}: it names a version already", param=place)
    if at:
        version, label = (named_as, None) if named_as.isdigit() else (None, named_as)
    number, named = which(version, label, path)
    return PromptAsk(name, None, number, named, given, place, values)
