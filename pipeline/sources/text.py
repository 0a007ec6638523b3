"""Text of a source: decompressed within limits, converted to UTF-8 strictly, and scanned once before it is split.

The scan is written by hand because no CSV or JSON library tells the offset of a wrong byte, whether the last line
has a newline, or whether the fast CSV reader can split the text.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NoReturn, cast

import pyarrow as pa

from pipeline.config.sources import TextSource
from pipeline.errors import SourceUnavailable
from pipeline.sources.encodings import convert_to_utf8, find_encoding
from pipeline.sources.file import File, refuse, refuse_too_large

BLOCK_BYTES = 1 << 20
#: limit of the `csv` module for one field; a line that is split without regard to quotes is at most this long
MAX_FIELD_BYTES = 131_072
#: ten times the compression ratio that gzip reaches on the most regular tables
MAX_RATIO = 200
#: decompressed sizes up to this do no harm, whatever the ratio
MIN_RATIO_BYTES = 64 << 20
#: length of the beginning that is kept to recognise the format and the header
BEGINNING_BYTES = 1 << 20
#: length of the end that is kept to recognise a footer
ENDING_BYTES = 1 << 16

#: what files that are no text begin with, and what to do about them
_BINARY = {
    b"PK\x03\x04": 'it looks like an Excel file or another archive; for Excel use kind = "excel"',
    b"\xd0\xcf\x11\xe0": "it looks like an old Excel file; save it as .xlsx or CSV",
    b"PAR1": 'it looks like a Parquet file; use kind = "parquet"',
}
_INVISIBLE = b" \t\r\n\v\f" + codecs.BOM_UTF8


@contextmanager
def open_decompressed(
    file: File, *, encoding: str = "utf-8", start: int = 0, end: int | None = None
) -> Iterator[BinaryIO]:
    """Open a file as a stream of its decompressed bytes, in UTF-8.

    Args:
        file: what to read.
        encoding: of the decompressed bytes.
        start: offset of the first byte to give, in UTF-8.
        end: offset after the last one; None: at the end of the file.

    Raises:
        BatchRefused: it cannot be decompressed to its end.
        SourceUnavailable: it cannot be read.
    """
    try:
        with file.path.open("rb") as stored, _decompress(stored, file) as stream:
            text = convert_to_utf8(stream, encoding, file)
            text.read(start)
            yield text if end is None else cast("BinaryIO", io.BufferedReader(_Limited(text, end - start)))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        _refuse_compression(file, error)
    except OSError as error:
        if error.errno is None:  # Arrow's errors of zstd
            _refuse_compression(file, error)
        raise SourceUnavailable(f"{file.path} cannot be read: {error.strerror}") from None


def _refuse_compression(file: File, error: Exception) -> NoReturn:
    refuse(file.name, f"cannot be unpacked: {error}; the file may be cut", "cut")


def _decompress(stored: BinaryIO, file: File) -> BinaryIO:
    if file.compression == "gzip":
        return cast("BinaryIO", gzip.GzipFile(fileobj=stored, mode="rb"))
    if file.compression == "zstd":
        native = pa.CompressedInputStream(pa.PythonFile(stored, mode="r"), "zstd")
        return cast("BinaryIO", io.BufferedReader(native, BLOCK_BYTES))
    return stored


class _Limited(io.RawIOBase):
    """Gives the next bytes of a stream, up to a limit."""

    def __init__(self, stream: BinaryIO, num_bytes: int) -> None:
        self.stream, self.num_left = stream, num_bytes

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Write the next bytes into a buffer and return how many; 0 at the limit."""
        block = self.stream.read(min(len(buffer), self.num_left))
        buffer[: len(block)] = block
        self.num_left -= len(block)
        return len(block)


class TextScan:
    """Properties of a text in UTF-8, gathered block by block: call `add` with each block, then `finish`.

    Args:
        name: of the file, for messages.
        max_field_bytes: longer lines are left to the reader that knows quotes.
        advice: what to do about bytes that are not UTF-8.
    """

    def __init__(self, name: str, *, max_field_bytes: int = MAX_FIELD_BYTES, advice: str = "save it as UTF-8") -> None:
        self.name = name
        self.max_field_bytes = max_field_bytes
        self.advice = advice
        #: encoding of the file, before it was converted
        self.encoding = "utf-8"
        #: the first bytes, at most `BEGINNING_BYTES`, and the last ones, at least `ENDING_BYTES`
        self.head, self.tail = b"", b""
        self.num_bytes = 0
        self.num_newlines = 0
        self.has_quote = False
        self.has_point = False
        self.has_lone_return = False
        self.has_long_line = False
        self._has_visible = False
        self._last_byte = b""
        self._undecoded = b""
        self._line_bytes = 0

    @property
    def is_plain(self) -> bool:
        """Whether every line is a row and every comma separates two fields."""
        return not (self.has_quote or self.has_lone_return or self.has_long_line)

    @property
    def is_empty(self) -> bool:
        """Whether the text holds nothing but white space."""
        return not self._has_visible

    @property
    def beginning(self) -> str:
        """The text from its first visible character on, at most 4096 characters."""
        return self.head.lstrip(_INVISIBLE)[: 4 * 4096].decode("utf-8", "ignore").lstrip()[:4096]

    @property
    def ended(self) -> bool:
        """Whether the last line ends with a newline."""
        return self._last_byte in (b"\n", b"\r")

    def add(self, block: bytes) -> None:
        """Scan the next bytes of the text.

        Raises:
            BatchRefused: they hold a NUL byte or are not UTF-8.
        """
        self._check_encoding(block)
        if len(self.head) < BEGINNING_BYTES:
            self.head += block[: BEGINNING_BYTES - len(self.head)]
        self.tail = block if len(block) >= ENDING_BYTES else (self.tail + block)[-2 * ENDING_BYTES :]
        self._has_visible = self._has_visible or bool(block.lstrip(_INVISIBLE))
        self._scan_returns(block)
        self._scan_line_lengths(block)
        self.num_newlines += block.count(b"\n")
        self.has_quote = self.has_quote or b'"' in block
        self.has_point = self.has_point or b"." in block
        self.num_bytes += len(block)
        self._last_byte = block[-1:]

    def finish(self) -> None:
        """Check the end of the text.

        Raises:
            BatchRefused: it ends inside a character.
        """
        if self._undecoded:
            self._refuse_byte(self._undecoded[0], self.num_bytes - len(self._undecoded), self.num_newlines)
        self.has_lone_return = self.has_lone_return or self._last_byte == b"\r"

    def forget_content(self) -> None:
        """Drop the beginning and the end of the text: many files may be scanned before one is read."""
        self.head, self.tail = b"", b""

    def _check_encoding(self, block: bytes) -> None:
        """Refuse NUL and bytes that are not UTF-8, also where two blocks share a character."""
        nul = block.find(0)
        if nul >= 0:
            self._decode(self._undecoded + block[:nul])
            self._refuse_nul(block, nul)
        if self._undecoded or not block.isascii():
            self._decode(self._undecoded + block)

    def _decode(self, content: bytes) -> None:
        start = self.num_bytes - len(self._undecoded)
        try:
            _, num_decoded = codecs.utf_8_decode(content, "strict", False)
        except UnicodeDecodeError as error:
            num_newlines = self.num_newlines + content.count(b"\n", 0, error.start)
            self._refuse_byte(content[error.start], start + error.start, num_newlines)
        self._undecoded = content[num_decoded:]

    def _refuse_byte(self, byte: int, offset: int, num_newlines: int) -> NoReturn:
        refuse(
            self.name,
            f"is not UTF-8: byte {byte:#04x} at offset {offset} in line {num_newlines + 1}; {self.advice}",
            "encoding",
            num_newlines + 1,
        )

    def _refuse_nul(self, block: bytes, nul: int) -> NoReturn:
        known = next((f": {what}" for magic, what in _BINARY.items() if (self.head + block).startswith(magic)), "")
        offset = self.num_bytes + nul
        refuse(self.name, f"holds a NUL byte at offset {offset}: expected text{known}", "encoding")

    def _scan_returns(self, block: bytes) -> None:
        """Look for a return that no newline follows: it ends a line of its own."""
        is_lone = self._last_byte == b"\r" and not block.startswith(b"\n")
        if b"\r" in block:
            num_undecided = block.endswith(b"\r")  # the next block tells
            is_lone = is_lone or block.count(b"\r") - num_undecided > block.count(b"\r\n")
        self.has_lone_return = self.has_lone_return or is_lone

    def _scan_line_lengths(self, block: bytes) -> None:
        """Look for a line that is longer than a field may be; jumps from newline to newline as far as it can."""
        start = 0
        while not self.has_long_line:
            room = self.max_field_bytes - self._line_bytes
            newline = block.rfind(b"\n", start, start + room + 1)
            if newline < 0:
                self.has_long_line = len(block) - start > room
                self._line_bytes += len(block) - start
                return
            start, self._line_bytes = newline + 1, 0


def scan_text(
    file: File,
    source: TextSource,
    on_block: Callable[[bytes], object],
    *,
    block_bytes: int = BLOCK_BYTES,
    min_ratio_bytes: int = MIN_RATIO_BYTES,
) -> TextScan:
    """Read a whole file once and return the properties of its text.

    Args:
        file: what to read.
        source: bounds the size, and says whether the last line must end with a newline.
        on_block: is called with each decompressed block.
        block_bytes: size of a block.
        min_ratio_bytes: decompressed size up to which any compression ratio is accepted.

    Raises:
        BatchRefused: the file is too large, cut, or not UTF-8 text.
        SourceUnavailable: it cannot be read.
    """
    scan = TextScan(file.name)
    if source.may_be_csv:
        scan.advice = 'save it as UTF-8, or set source.encoding, such as "cp1252"'
        scan.encoding = _find_encoding(file, source.encoding)
    max_decompressed = _max_decompressed_bytes(file, min_ratio_bytes)
    with open_decompressed(file, encoding=scan.encoding) as stream:
        while block := stream.read(block_bytes):
            num_bytes = scan.num_bytes + len(block)
            if num_bytes > source.max_gib * 2**30:
                refuse_too_large(file.name, source.max_gib)
            if num_bytes > max_decompressed:
                refuse(
                    file.name,
                    f"unpacks to more than {MAX_RATIO} times its size: expected a table, this looks like an attack",
                    "too large",
                )
            scan.add(block)
            on_block(block)
    scan.finish()
    if source.final_newline and not scan.ended:
        refuse(
            file.name,
            f"ends in line {scan.num_newlines + 1} without a newline, which this feed always has: it may be cut; fetch it again",
            "cut",
        )
    return scan


def _find_encoding(file: File, named: str | None) -> str:
    with open_decompressed(file) as stream:
        return find_encoding(stream.read(4), named, file)


def _max_decompressed_bytes(file: File, min_ratio_bytes: int) -> float:
    """Return the decompressed size above which a compressed file is an attack."""
    if not file.compression:
        return float("inf")
    try:
        stored_bytes = file.path.stat().st_size
    except OSError as error:
        raise SourceUnavailable(f"{file.path} cannot be read: {error.strerror}") from None
    return max(min_ratio_bytes, MAX_RATIO * stored_bytes)
