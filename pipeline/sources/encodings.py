"""Encodings of text: found by their byte order mark, or named by the recipe, and converted to UTF-8 on the way in."""

from __future__ import annotations

import codecs
import io
from typing import Any, BinaryIO, cast

from pipeline.sources.file import File, refuse

#: byte order marks; UTF-32 before UTF-16, whose mark it begins with
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8",
}
_BLOCK_BYTES = 1 << 16


def find_encoding(beginning: bytes, named: str | None, file: File) -> str:
    """Return the encoding of a text: by its byte order mark, else as the recipe names it, else UTF-8.

    Args:
        beginning: its first four bytes or more.
        named: the encoding that the recipe names.
        file: for messages.

    Raises:
        BatchRefused: the mark and the recipe contradict each other.
    """
    marked = next((name for mark, name in _MARKS.items() if beginning.startswith(mark)), None)
    if marked is None or named is None:
        return marked or named or "utf-8"
    if not codecs.lookup(named).name.startswith(marked):
        refuse(
            file.name,
            f"begins with the byte order mark of {marked}, the recipe's source.encoding is {named}: leave the key out",
            "encoding",
        )
    return marked


def convert_to_utf8(stream: BinaryIO, encoding: str, file: File) -> BinaryIO:
    """Return the text of a stream as a stream of UTF-8; the same stream if it is UTF-8 already.

    Reading it raises BatchRefused where the bytes are not of the encoding.
    """
    if codecs.lookup(encoding).name.startswith("utf-8"):
        return stream
    return cast("BinaryIO", io.BufferedReader(_Converter(stream, encoding, file), _BLOCK_BYTES))


class _Converter(io.RawIOBase):
    """Gives UTF-8, without a byte order mark, for the bytes of another encoding."""

    def __init__(self, stream: BinaryIO, encoding: str, file: File) -> None:
        self.stream, self.encoding, self.file = stream, encoding, file
        self._decoder = codecs.getincrementaldecoder(encoding)("strict")
        self._converted = b""
        self._num_read = 0
        self._num_lines = 0
        self._is_at_end = False
        self._is_ascii = True
        #: reads the same bytes as UTF-8, until they are none
        self._utf8: codecs.IncrementalDecoder | None = codecs.getincrementaldecoder("utf-8")("strict")

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Write the next bytes into a buffer and return how many; 0 at the end."""
        while not self._converted and not self._is_at_end:
            self._convert_next()
        num_bytes = min(len(buffer), len(self._converted))
        buffer[:num_bytes] = self._converted[:num_bytes]
        self._converted = self._converted[num_bytes:]
        return num_bytes

    def _convert_next(self) -> None:
        block = self.stream.read(_BLOCK_BYTES)
        self._num_read += len(block)
        self._is_at_end = not block
        self._refuse_utf8(block)
        try:
            text = self._decoder.decode(block, final=self._is_at_end)
            self._converted = text.encode()
        except UnicodeDecodeError as error:
            self._refuse(error)
        except UnicodeError as error:
            refuse(self.file.name, f"is not {self.encoding}: {error}; set source.encoding", "encoding")
        self._num_lines += self._converted.count(b"\n")

    def _refuse_utf8(self, block: bytes) -> None:
        """Refuse a text that is UTF-8 throughout: in another encoding its letters would become others."""
        self._is_ascii = self._is_ascii and block.isascii()
        try:
            if self._utf8 is not None:
                self._utf8.decode(block, final=self._is_at_end)
        except UnicodeDecodeError:
            self._utf8 = None
        if self._is_at_end and self._utf8 is not None and not self._is_ascii:
            refuse(
                self.file.name,
                f"is UTF-8, the recipe's source.encoding is {self.encoding}: leave the key out",
                "encoding",
            )

    def _refuse(self, error: UnicodeDecodeError) -> None:
        offset = self._num_read - len(error.object) + error.start
        num_lines = self._num_lines + error.object[: error.start].decode(self.encoding, "ignore").count("\n")
        refuse(
            self.file.name,
            f"is not {self.encoding}: byte {error.object[error.start]:#04x} at offset {offset} in line {num_lines + 1}; "
            f"set source.encoding to how it is written",
            "encoding",
            num_lines + 1,
        )
