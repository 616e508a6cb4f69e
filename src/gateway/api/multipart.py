"""A multipart form with one file, read as it comes: what is not yet stored is all that is in memory."""

from __future__ import annotations

from collections.abc import Mapping

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.errors import BadRequest, UnsupportedMediaType, ValidationFailed

_MOST_FIELDS = 10
_LONGEST_FIELD = 10_000


class FormReader:
    """Takes bytes of the body by ``feed``; ``pending`` holds bytes of the file that nobody has taken."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        kind, options = parse_options_header(headers.get("content-type", ""))
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise UnsupportedMediaType("this door reads multipart/form-data", mend="send a form with a file")
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.pending = bytearray()
        self.size = 0
        self._ended = False
        self._name = ""
        self._is_file = False
        self._value = bytearray()
        self._header: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._disposition = b""
        self._parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                "on_header_end": self._header_end,
                "on_headers_finished": self._named,
                "on_part_data": self._data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        """``BadRequest`` where it is no such form."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise BadRequest("the form cannot be read", mend="send multipart/form-data") from error

    def close(self) -> None:
        """The body has ended; ``BadRequest`` where the form has not."""
        if not self._ended:
            raise BadRequest("the form broke off", mend="send it whole")
        if self.filename is None:
            raise ValidationFailed("file: a file is expected", param="file")

    def take(self, most: int) -> bytes:
        """The next bytes of the file."""
        taken = bytes(self.pending[:most])
        del self.pending[:most]
        return taken

    def _begin(self) -> None:
        self._value.clear()
        self._disposition = b""

    def _header_end(self) -> None:
        name, value = self._header
        if name.lower() == b"content-disposition":
            self._disposition = bytes(value)
        name.clear()
        value.clear()

    def _named(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = self._name == "file"
        if self._is_file:
            if self.filename is not None:
                raise ValidationFailed("file: one file is expected", param="file")
            self.filename = options.get(b"filename", b"").decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.size += end - start
            self.pending += data[start:end]
        elif len(self._value) + end - start > _LONGEST_FIELD:
            raise ValidationFailed(f"{self._name[:100]}: the field is too long", param=self._name[:100])
        else:
            self._value += data[start:end]

    def _part_end(self) -> None:
        if self._is_file:
            return
        if len(self.fields) >= _MOST_FIELDS:
            raise BadRequest(f"the form has more than {_MOST_FIELDS} fields")
        self.fields[self._name] = self._value.decode("utf-8", "replace")

    def _end(self) -> None:
        self._ended = True
