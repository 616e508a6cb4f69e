"""The texts of a chat that may be written differently, each with its place in the caller's own body.

Not among them: turns of the assistant (they show the model how to answer), turns with thinking in
them (signed), arguments of tools, pictures, and everything up to the caller's last cache mark (it has
to stay as it is to be found in the provider's cache). What is changed is changed in both places, so
that a body of the provider's dialect still goes as it stands; a chat whose body cannot be followed
so has no such text at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, structs

from gateway.models.llm_models import Chat, Message, Part, TextPart, ThinkingPart, ToolResultPart

Path = tuple[str | int, ...]


class Slot(Struct, frozen=True):
    """A text: which part of which message, and where it stands in the caller's body (if there is one)."""

    message: int
    part: int
    text: str
    path: Path | None = None


class _Holder(Struct, frozen=True):
    """A text of the caller's body; ``result`` where it is that of a tool."""

    text: str
    path: Path
    result: bool = False


def slots_of(chat: Chat) -> list[Slot]:
    """The texts that may be changed, from first to last."""
    turns = native_turns(chat)
    if chat.native is not None and turns is None:
        return []
    first = 0 if turns is None else _after_last_mark(chat, turns)
    found: list[Slot] = []
    for at in range(first, len(chat.messages)):
        message = chat.messages[at]
        if message.role == "assistant" or any(isinstance(part, ThinkingPart) for part in message.parts):
            continue
        if turns is None:
            found += [Slot(at, place, text) for place, text in _texts(message)]
        else:
            found += _matched(at, message, list(_holders(turns[at])))
    return found


def rewritten(chat: Chat, changes: Mapping[Slot, str]) -> Chat:
    """The chat with other texts in these places."""
    messages = list(chat.messages)
    native = chat.native
    for slot, text in changes.items():
        message = messages[slot.message]
        parts: list[Part] = list(message.parts)
        part = parts[slot.part]
        if isinstance(part, ToolResultPart):
            parts[slot.part] = structs.replace(part, content=text)
        else:
            parts[slot.part] = TextPart(text)
        messages[slot.message] = Message(message.role, tuple(parts))
        if slot.path is not None:
            native = _with(native, slot.path, text)
    return structs.replace(chat, messages=tuple(messages), native=native)


def without(chat: Chat, dropped: set[int]) -> Chat:
    """The chat without these messages, in the caller's body too."""
    native = chat.native
    turns = native_turns(chat)
    if native is not None and turns is not None:
        gone = {path[1] for at in dropped for _, path in (turns[at],) if path[0] == "messages" and len(path) > 1}
        kept = [turn for at, turn in enumerate(native["messages"]) if at not in gone]
        native = {**native, "messages": kept}
    messages = tuple(message for at, message in enumerate(chat.messages) if at not in dropped)
    return structs.replace(chat, messages=messages, native=native)


def native_turns(chat: Chat) -> list[tuple[Any, Path]] | None:
    """The turn of the caller's body that each message was read from, with its path; ``None`` without a
    body, or where the two do not go side by side."""
    native = chat.native
    listed = None if native is None else native.get("messages")
    if native is None or not isinstance(listed, list):
        return None
    turns: list[tuple[Any, Path]] = [(turn, ("messages", at)) for at, turn in enumerate(listed)]
    if chat.dialect == "anthropic" and len(chat.messages) == len(turns) + 1:
        turns.insert(0, ({"content": native.get("system")}, ("system",)))
    return turns if len(turns) == len(chat.messages) and all(isinstance(turn, dict) for turn, _ in turns) else None


def _texts(message: Message) -> Iterator[tuple[int, str]]:
    for place, part in enumerate(message.parts):
        if isinstance(part, TextPart):
            yield place, part.text
        elif isinstance(part, ToolResultPart):
            yield place, part.content


def _matched(at: int, message: Message, holders: Sequence[_Holder]) -> list[Slot]:
    """The message's texts that stand, each alone, in a text of the body."""
    found: list[Slot] = []
    following = 0
    for place, text in _texts(message):
        result = isinstance(message.parts[place], ToolResultPart)
        for number in range(following, len(holders)):
            holder = holders[number]
            if holder.text == text and holder.result == result:
                found.append(Slot(at, place, text, holder.path))
                following = number + 1
                break
    return found


def _holders(turn: tuple[Any, Path]) -> Iterator[_Holder]:
    raw, path = turn
    content = raw.get("content")
    base: Path = path if path == ("system",) else (*path, "content")
    result = raw.get("role") == "tool"
    if isinstance(content, str):
        yield _Holder(content, base, result)
        return
    if not isinstance(content, list) or any(block.get("type") == "redacted_thinking" for block in content):
        return
    for number, block in enumerate(content):
        inner = block.get("content")
        if block.get("type") == "text":
            yield _Holder(block["text"], (*base, number, "text"), result)
        elif block.get("type") == "tool_result" and isinstance(inner, str):
            yield _Holder(inner, (*base, number, "content"), True)
        elif isinstance(inner, list) and [part.get("type") for part in inner] == ["text"]:
            yield _Holder(inner[0]["text"], (*base, number, "content", 0, "text"), True)


def _after_last_mark(chat: Chat, turns: Sequence[tuple[Any, Path]]) -> int:
    """The first message behind the caller's cache marks."""
    if chat.native is not None and chat.native.get("cache_control"):
        return len(chat.messages)  # the provider itself marks the last block
    return max((at + 1 for at, (turn, _) in enumerate(turns) if _is_marked(turn.get("content"))), default=0)


def _is_marked(content: Any) -> bool:
    blocks = content if isinstance(content, list) else ()
    return any(block.get("cache_control") or _is_marked(block.get("content")) for block in blocks)


def _with(value: Any, path: Path, text: str) -> Any:
    """A copy with another text at the end of the path."""
    if not path:
        return text
    copied = list(value) if isinstance(value, list) else dict(value)
    copied[path[0]] = _with(value[path[0]], path[1:], text)  # type: ignore[index]
    return copied
