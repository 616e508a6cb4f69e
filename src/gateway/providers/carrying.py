"""What of a caller's own dialect another one cannot say: refused where the answer depends on it, else named."""

from __future__ import annotations

from gateway.errors import NotSupported
from gateway.models.llm_models import Chat


def unmapped(chat: Chat, dialect: str) -> list[str]:
    """The names of the caller's fields that ``dialect`` has no words for.

    Raises ``NotSupported`` for one that changes what the answer is.
    """
    if chat.native_only and not (chat.dialect == dialect and chat.native is not None):
        names = ", ".join(chat.native_only)
        raise NotSupported(
            f"the provider of this model has no {names}",
            mend=f"leave it out, or use a model whose provider speaks {chat.dialect}'s dialect",
            param=chat.native_only[0],
        )
    named = list(chat.unmapped)
    if chat.dialect != dialect:
        named += sorted(chat.extra)
    return named
