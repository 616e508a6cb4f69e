"""Compressed answers, decoded piece by piece, so that a small one cannot unfold into all of our memory."""

from __future__ import annotations

import zlib

from gateway.errors import UpstreamMalformed

#: The most that one step unfolds.
_STEP = 64 * 1024
_GZIP_OR_ZLIB, _RAW = zlib.MAX_WBITS | 32, -zlib.MAX_WBITS


class Inflate:
    """``feed`` compressed bytes, ``take`` plain ones until there are none. ``UpstreamError`` for damaged ones."""

    def __init__(self, coding: str) -> None:
        self._bare = coding == "deflate"  # some servers leave zlib's frame out
        self._inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._rest = b""
        self._begun = False

    def feed(self, data: bytes) -> None:
        """More of the compressed body."""
        self._begun = self._begun or bool(data)
        self._rest = self._rest + data if self._rest else data

    def take(self) -> bytes:
        """The next plain bytes; empty where more compressed ones are needed first."""
        while self._rest:
            if self._inflater.eof:  # members may follow one another
                self._inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
            plain = self._step()
            self._bare = False
            self._rest = self._inflater.unconsumed_tail or self._inflater.unused_data
            if plain:
                return plain
        return b""

    def check_end(self) -> None:
        """The body has ended; so must the compressed one have."""
        if self._begun and not self._inflater.eof:
            raise UpstreamMalformed("the provider's compressed answer is not whole", reached=True)

    def _step(self) -> bytes:
        try:
            return self._inflater.decompress(self._rest, _STEP)
        except zlib.error as error:
            if not self._bare:
                raise UpstreamMalformed("the provider's compressed answer is damaged", reached=True) from error
        self._bare = False
        self._inflater = zlib.decompressobj(_RAW)
        return self._step()


def inflate_for(coding: str) -> Inflate | None:
    """What decodes the ``content-encoding``; ``None`` for plain bodies, ``UpstreamError`` for one unknown here."""
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return None
    if coding in ("gzip", "x-gzip", "deflate"):
        return Inflate(coding)
    raise UpstreamMalformed("the provider's answer has a content-encoding that was not asked for", reached=True)
