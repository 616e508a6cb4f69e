"""Language models: one neutral conversation that every door decodes into and every wire encodes from.

Frozen values only. ``Chat`` is what is asked, ``Reply`` the whole answer, ``Delta`` a piece of a
streamed one, ``Usage`` what it consumed; ``LanguageModel`` is the port a provider fills.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final, Literal, Protocol

from msgspec import Struct, field

FinishReason = Literal["stop", "length", "tool_use", "content_filter"]
Role = Literal["system", "user", "assistant", "tool"]
UsageBasis = Literal["provider", "counted", "estimated", "none"]
#: The tool that stands for a response_format where the provider has none: forced there, text again on the way back.
ANSWER_TOOL = "json_answer"


class TextPart(Struct, frozen=True, tag="text"):
    """Plain text."""

    text: str


class ImagePart(Struct, frozen=True, tag="image"):
    """An image: either ``url`` (fetched by the provider, never by us) or ``data`` (base64)."""

    url: str = ""
    data: str = ""
    media_type: str = ""
    detail: str = ""


class ToolUsePart(Struct, frozen=True, tag="tool_use"):
    """The model asks for a tool; ``arguments`` is the JSON text as the model wrote it, ``signature`` what
    its provider wants back with the call (Gemini's thought signature)."""

    id: str
    name: str
    arguments: str
    signature: str = ""


class ToolResultPart(Struct, frozen=True, tag="tool_result"):
    """What a tool gave back for the call ``id``: a text, and ``images`` after it, or before it (``images_first``)."""

    id: str
    content: str
    is_error: bool = False
    images: tuple[ImagePart, ...] = ()
    images_first: bool = False


class ThinkingPart(Struct, frozen=True, tag="thinking"):
    """The model's visible reasoning and the provider's signature over it."""

    text: str
    signature: str = ""


Part = TextPart | ImagePart | ToolUsePart | ToolResultPart | ThinkingPart


class Message(Struct, frozen=True):
    """One turn. System (and developer) turns come as ``role="system"``."""

    role: Role
    parts: tuple[Part, ...]

    def text(self) -> str:
        """The turn's plain text, parts joined."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))


class Tool(Struct, frozen=True):
    """A function the model may ask for; ``schema`` is JSON Schema."""

    name: str
    description: str = ""
    schema: dict[str, Any] = field(default_factory=dict)
    strict: bool | None = None


class ToolChoice(Struct, frozen=True):
    """``auto``, ``none``, ``required``, or ``tool`` with its ``name``."""

    mode: Literal["auto", "none", "required", "tool"] = "auto"
    name: str = ""
    parallel: bool | None = None


class ResponseFormat(Struct, frozen=True):
    """Plain text, any JSON object, or JSON held to ``schema``."""

    kind: Literal["text", "json_object", "json_schema"] = "text"
    name: str = ""
    schema: dict[str, Any] = field(default_factory=dict)
    strict: bool | None = None


class PromptCache(Struct, frozen=True):
    """The provider is to keep the beginning of this prompt: wires set their marks or this ``key``,
    where the caller set none."""

    key: str = ""


#: The dialect of OpenAI's older completions, where a text goes on: no turns, so no other dialect carries it.
COMPLETIONS: Final = "openai_completions"


class Body(dict[str, Any]):
    """A caller's body, and the bytes it came as (``raw``, which whoever makes it adds). Whoever changes it makes
    another dict, which has none."""

    __slots__ = ("raw",)

    raw: bytes


class Chat(Struct, frozen=True):
    """What is asked of a language model. ``None`` means: not said, the provider's default.

    ``model`` is the caller's name for it; the plan puts each deployment's own name in its place.
    ``extra`` carries dialect fields that only a provider of the same ``dialect`` understands, and
    ``native`` the caller's whole body: a provider of that dialect is sent it as it stands, but for
    the model's name and what is said here beside it. Of that body, ``native_only`` names what no
    other dialect has and the answer depends on (refused elsewhere), ``unmapped`` what is only a hint
    (reported elsewhere). ``headers`` came beside the body and go on with it to a provider of the dialect
    (reported elsewhere, too). Whoever changes ``messages`` or ``tools`` changes ``native`` alike or sets it
    to ``None``. ``relay`` says that nobody on the way reads of a streamed answer more than its text and its
    end, nor of a whole one more than its usage: a provider of the dialect may then give it as the bytes it
    came in.
    """

    model: str
    messages: tuple[Message, ...]
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int = 1
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str = ""
    user: str = ""
    dialect: Literal["openai", "anthropic", "gateway", "openai_completions"] = "gateway"
    extra: dict[str, Any] = field(default_factory=dict)
    native: dict[str, Any] | None = None
    native_only: tuple[str, ...] = ()
    unmapped: tuple[str, ...] = ()
    prompt_cache: PromptCache | None = None
    headers: dict[str, str] = field(default_factory=dict)
    relay: bool = False


class Native(Struct, frozen=True):
    """An answer, or one event of a streamed one, as the provider wrote it, in its ``dialect``.

    ``event`` is ``None`` on the further pieces of an event that an earlier piece has carried, and where
    ``lines`` (see ``Chat.relay``) are all there is of it: whole server-sent events, or the body of a whole
    answer, ready to be sent on.
    """

    dialect: str
    event: dict[str, Any] | None
    lines: bytes = b""


class UsageDetail(Struct, frozen=True, omit_defaults=True):
    """Tokens of a call that have prices of their own, each counted in ``Usage`` as well: sound and images
    are part of input and output (``cached_audio`` also of the cached input), ``cache_write_long`` (kept for
    an hour rather than minutes) is part of the cache-written input. ``web_searches`` are no tokens: how often the
    provider searched for the answer."""

    input_audio: int = 0
    output_audio: int = 0
    cached_audio: int = 0
    input_image: int = 0
    output_image: int = 0
    cache_write_long: int = 0
    web_searches: int = 0


class Usage(Struct, frozen=True, omit_defaults=True, gc=False):
    """Tokens of one call.

    ``input_tokens`` counts all input, cached and cache-written included; ``output_tokens`` counts
    all output, reasoning included. ``basis`` says who counted.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    basis: UsageBasis = "none"
    #: ``None`` where no token has a price beside those of its class: nearly always.
    detail: UsageDetail | None = None
    #: What the provider told wrong or not at all, so that it was counted here: names such as ``usage_missing``.
    odd: tuple[str, ...] = ()
    #: The service tier by which the provider says it answered, in its own word; empty where it says none.
    tier: str = ""

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class Choice(Struct, frozen=True):
    """One of the ``n`` answers."""

    parts: tuple[Part, ...]
    finish: FinishReason
    #: The provider's own word for the finish, kept where the dialects differ.
    raw_finish: str = ""
    stop_sequence: str = ""

    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))


class Reply(Struct, frozen=True):
    """A whole answer. ``model`` is what the provider says answered. ``choices`` are empty where ``native`` has
    the answer as the bytes it came in."""

    id: str
    model: str
    choices: tuple[Choice, ...]
    usage: Usage
    created: int = 0
    native: Native | None = None

    def text(self) -> str:
        """The first choice's text."""
        return self.choices[0].text() if self.choices else ""


class Delta(Struct, frozen=True):
    """A piece of a streamed answer; every field is optional, several may stand together.

    ``tool_index`` numbers the tool calls of a choice; ``tool_id`` and ``tool_name`` come with the
    first piece of each, and the call's ``signature`` (without ``tool_index`` it is the thinking's).
    ``refusal`` says that the text is why the model does not answer (a whole ``Choice`` that ends with ``stop``
    has that word as its ``raw_finish`` then).
    ``usage`` replaces what came before (it is cumulative). The last piece of a choice carries
    ``finish``; a stream that ends without one is an error, not a success.
    """

    choice: int = 0
    text: str = ""
    thinking: str = ""
    signature: str = ""
    tool_index: int | None = None
    tool_id: str = ""
    tool_name: str = ""
    arguments: str = ""
    finish: FinishReason | None = None
    raw_finish: str = ""
    stop_sequence: str = ""
    usage: Usage | None = None
    id: str = ""
    model: str = ""
    native: Native | None = None
    refusal: bool = False

    def says(self) -> bool:
        """Whether the caller would see or pay something: until then another deployment may still answer."""
        return bool(self.text or self.thinking or self.signature or self.finish or self.tool_index is not None)


class LanguageModel(Protocol):
    """The port: a deployment that can answer a ``Chat``. Errors are ``errors.UpstreamError``s."""

    async def complete(self, chat: Chat) -> Reply:
        """The whole answer."""
        ...

    def stream(self, chat: Chat) -> AsyncIterator[Delta]:
        """The answer in pieces; closing the iterator ends the upstream call."""
        ...
