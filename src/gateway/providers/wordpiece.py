"""WordPiece, as BERT's uncased models read text: cleaned, in lower case, without accents, cut greedily.

Pure; gives the same token ids as the reference implementation for the vocabulary it is made with.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

#: A longer word is unknown as a whole, as in the reference implementation.
_LONGEST_WORD = 100
_CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class WordPiece:
    """Cuts texts into ids of ``vocabulary`` (one token a line of its file, in the order of the ids)."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._ids = {token: at for at, token in enumerate(vocabulary)}
        self._first, self._last = self._ids["[CLS]"], self._ids["[SEP]"]
        self._unknown = self._ids["[UNK]"]

    def ids(self, text: str) -> list[int]:
        """The ids of a text between those of its beginning and its end."""
        found = [self._first]
        for word in _words(text):
            found.extend(self._pieces(word))
        found.append(self._last)
        return found

    def _pieces(self, word: str) -> list[int]:
        if len(word) > _LONGEST_WORD:
            return [self._unknown]
        pieces: list[int] = []
        start = 0
        while start < len(word):
            mark = "##" if start else ""
            for end in range(len(word), start, -1):
                found = self._ids.get(mark + word[start:end])
                if found is not None:
                    pieces.append(found)
                    start = end
                    break
            else:
                return [self._unknown]
        return pieces


def _words(text: str) -> Iterator[str]:
    """Words and marks in their order."""
    spaced = "".join(_spaced(character) for character in text).lower()
    bare = (character for character in unicodedata.normalize("NFD", spaced) if unicodedata.category(character) != "Mn")
    word: list[str] = []
    for character in (*bare, " "):
        if character == " " or _is_mark(character):
            if word:
                yield "".join(word)
                word.clear()
            if character != " ":
                yield character
        else:
            word.append(character)


def _spaced(character: str) -> str:
    """White space as one kind of blank, nothing for control characters, blanks around an ideograph."""
    if character in "\t\n\r" or unicodedata.category(character) == "Zs":
        return " "
    if character in "\0\ufffd" or unicodedata.category(character) in ("Cc", "Cf", "Co"):
        return ""
    code = ord(character)
    return f" {character} " if any(low <= code <= high for low, high in _CJK) else character


def _is_mark(character: str) -> bool:
    code = ord(character)
    ascii_mark = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    return ascii_mark or unicodedata.category(character)[0] == "P"
