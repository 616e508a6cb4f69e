"""A model's signature over a tool call, kept in the call's id by dialects that have no other place for it.

Gemini signs its tool calls and wants the signature back with them. The id is what every client sends
back as it came, with the call and with its result.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.models.llm_models import Message, ToolUsePart

#: How what cannot be carried is named (``Chat.unmapped``).
NAME = "thought_signature"
_MARK = "__thought__"


def signed_id(call_id: str, signature: str) -> str:
    """The id with the signature in it; letters, digits, ``_`` and ``-`` only, where the id has no others."""
    if not signature or not call_id:
        return call_id
    return call_id + _MARK + base64.urlsafe_b64encode(signature.encode()).decode().rstrip("=")


def split_id(call_id: str) -> tuple[str, str]:
    """The id as the provider knows it and the signature, empty where there is none."""
    own, mark, kept = call_id.rpartition(_MARK)
    if not mark or not kept or not own:
        return call_id, ""
    try:
        return own, base64.b64decode(kept + "=" * (-len(kept) % 4), b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return call_id, ""


def extra_content(signature: str) -> dict[str, Any]:
    """The signature as Google's layer of OpenAI's dialect has it, a field beside the call's others; or none."""
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


def signature_in(call: Mapping[str, Any]) -> str:
    """The signature of a tool call in OpenAI's dialect; empty where it has none."""
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) else ""


def signatures_of(messages: Iterable[Message]) -> tuple[str, ...]:
    """``NAME``, if a tool call of the conversation is signed."""
    for message in messages:
        if message.role == "assistant":
            for part in message.parts:
                if isinstance(part, ToolUsePart) and part.signature:
                    return (NAME,)
    return ()
