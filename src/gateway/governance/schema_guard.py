"""The guard ``schema``: an answer that was asked for as JSON is JSON, and fits its schema.

Patterns in a schema are matched in linear time, and a reference leads nowhere outside the schema.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import jsonschema_rs
import msgspec

from gateway.errors import ValidationFailed
from gateway.models.json_schema import ready_schema
from gateway.models.llm_models import Chat, Choice, Message, Reply, TextPart

_MOST_TOLD = 8
_MOST_KEPT = 64


class SchemaGuard:
    """``schema`` holds for every answer; without it, what a request's own ``response_format`` asks for does."""

    def __init__(self, *, schema: dict[str, Any] | None = None, repair: bool = True) -> None:
        self.repair = repair
        self._own = schema
        self._made: OrderedDict[bytes, jsonschema_rs.Validator] = OrderedDict()
        if schema is not None:
            self._validator(schema)

    def applies(self, chat: Chat) -> bool:
        """Whether the answer to this chat has to fit anything."""
        form = chat.response_format
        return self._own is not None or (form is not None and form.kind != "text")

    def check(self, chat: Chat) -> None:
        """``ValidationFailed`` for a schema that is none, before anything is spent on it."""
        form = chat.response_format
        if self._own is None and form is not None and form.kind == "json_schema":
            self._validator(form.schema)

    def misfits(self, chat: Chat, reply: Reply) -> list[str]:
        """What is wrong with the answer, in words for the model; nothing where it fits."""
        for choice in reply.choices:
            if choice.raw_finish == "refusal":
                continue  # the model's answer to the question, which no schema holds
            if choice.finish in ("stop", "length") and (wrong := self._wrong(chat, choice)):
                return wrong
        return []

    def _wrong(self, chat: Chat, choice: Choice) -> list[str]:
        try:
            value = msgspec.json.decode(choice.text())
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return ["it is not one JSON value" + (": it was cut off" if choice.finish == "length" else "")]
        form = chat.response_format
        if self._own is None and (form is None or form.kind != "json_schema"):
            return [] if isinstance(value, dict) else ["it is not a JSON object"]
        validator = self._validator(self._own if self._own is not None else form.schema if form is not None else {})
        found = []
        for error in validator.iter_errors(value):
            place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
            found.append(f"at {('$' + place)[:200]}: {error.message[:300]}")
            if len(found) == _MOST_TOLD:
                break
        return found

    def _validator(self, schema: dict[str, Any]) -> jsonschema_rs.Validator:
        key = msgspec.json.encode(schema)
        made = self._made.pop(key, None)
        if made is None:
            try:
                made = ready_schema(schema)
            except ValueError as error:
                raise ValidationFailed(
                    f"response_format: not a JSON schema that can be checked ({error})",
                    mend="references stay within the schema, patterns do without look-around",
                    param="response_format",
                ) from None
        self._made[key] = made
        if len(self._made) > _MOST_KEPT:
            self._made.popitem(last=False)
        return made


def repair_chat(chat: Chat, reply: Reply, wrong: list[str]) -> Chat:
    """The chat with the answer that did not fit and what was wrong with it: the model's second chance."""
    text = reply.text()
    complaint = "Your answer does not fit what was asked for:\n- " + "\n- ".join(wrong)
    complaint += "\nAnswer again with the corrected JSON alone, nothing before or after it."
    said = Message("assistant", (TextPart(text or "(nothing)"),))
    native = chat.native
    if native is not None:
        turns = [{"role": "assistant", "content": text or "(nothing)"}, {"role": "user", "content": complaint}]
        native = {**native, "messages": [*native["messages"], *turns]}
    messages = (*chat.messages, said, Message("user", (TextPart(complaint),)))
    return msgspec.structs.replace(chat, messages=messages, native=native)
