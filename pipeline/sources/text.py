"""Text on its way in: unpacked within bounds, strictly UTF-8, and looked through once before it is split."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import pyarrow as pa

from pipeline.config.sources import TextSource
from pipeline.errors import SourceUnavailable
from pipeline.sources.file import File, refuse

BLOCK_BYTES = 1 << 20
#: a field, and so a line that is split without looking at quotes, is at most this long
LONGEST_FIELD = 131_072
#: ten times what gzip makes of the most regular tables
MOST_RATIO = 200
#: below this a high ratio does no harm
RATIO_BYTES = 64 << 20

#: of the beginning of a text, to see what it is
BEGINNING_BYTES = 4096
_INVISIBLE = b" \t\r\n\v\f" + codecs.BOM_UTF8

Take = Callable[[bytes], object]


@contextmanager
def unpacked(file: File) -> Iterator[BinaryIO]:
    """The file's content as a stream of bytes.

    Raises:
        BatchRefused: it is packed and cannot be unpacked to its end.
        SourceUnavailable: it cannot be read.
    """
    try:
        with file.path.open("rb") as packed, _stream(packed, file) as stream:
            yield stream
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        refuse(file.name, f"cannot be unpacked: {error}; the file may be cut", "cut")
    except OSError as error:
        if error.errno is None:
            refuse(file.name, f"cannot be unpacked: {error}; the file may be cut", "cut")
        raise SourceUnavailable(f"{file.path} cannot be read: {error.strerror}") from None


def _stream(packed: BinaryIO, file: File) -> BinaryIO:
    if file.packing == "gzip":
        return cast("BinaryIO", gzip.GzipFile(fileobj=packed, mode="rb"))
    if file.packing == "zstd":
        native = pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), "zstd")
        return cast("BinaryIO", io.BufferedReader(native, BLOCK_BYTES))
    return packed


class TextScan:
    """What a look through a whole text shows."""

    def __init__(self, file: File) -> None:
        self.name = file.name
        self.num_bytes = 0
        self.num_newlines = 0
        self.has_quote = False
        self.has_lone_return = False
        self.has_long_line = False
        self._begun = b""
        self._last = b""
        self._undecoded = b""
        self._line_bytes = 0

    @property
    def is_plain(self) -> bool:
        """Whether each line is a row and each comma parts two fields."""
        return not (self.has_quote or self.has_lone_return or self.has_long_line)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing visible."""
        return not self._begun

    @property
    def beginning(self) -> str:
        """From its first visible character on."""
        return self._begun.decode("utf-8", "ignore").lstrip()

    @property
    def ended(self) -> bool:
        """Whether the last line was."""
        return self._last in (b"\n", b"\r")

    def take(self, block: bytes) -> None:
        """Look at the bytes that follow."""
        self._decode(block)
        if len(self._begun) < BEGINNING_BYTES:
            begun = block if self._begun else block.lstrip(_INVISIBLE)
            self._begun += begun[: BEGINNING_BYTES - len(self._begun)]
        self._look_at_returns(block)
        self._look_at_lines(block)
        self.has_quote = self.has_quote or b'"' in block
        self.num_bytes += len(block)
        self._last = block[-1:]

    def finish(self) -> None:
        """Look at the end.

        Raises:
            BatchRefused: it is inside a character.
        """
        if self._undecoded:
            self._refuse_byte(self._undecoded[0], self.num_bytes - len(self._undecoded))
        self.has_lone_return = self.has_lone_return or self._last == b"\r"

    def _decode(self, block: bytes) -> None:
        """Strictly UTF-8 without NUL, also where a character spans two blocks."""
        if block.find(0) >= 0:
            offset = self.num_bytes + block.index(0)
            self._check(self._undecoded + block[: block.index(0)])
            refuse(self.name, f"holds a NUL byte at offset {offset}: expected text", "encoding")
        if self._undecoded or not block.isascii():
            self._check(self._undecoded + block)

    def _check(self, content: bytes) -> None:
        start = self.num_bytes - len(self._undecoded)
        try:
            _, taken = codecs.utf_8_decode(content, "strict", False)
        except UnicodeDecodeError as error:
            self._refuse_byte(content[error.start], start + error.start)
        self._undecoded = content[taken:]

    def _refuse_byte(self, byte: int, offset: int) -> None:
        refuse(self.name, f"is not UTF-8: byte {byte:#04x} at offset {offset}; save it as UTF-8", "encoding")

    def _look_at_returns(self, block: bytes) -> None:
        """A return that no newline follows ends a line of its own."""
        alone = self._last == b"\r" and not block.startswith(b"\n")
        if b"\r" in block:
            paired, last = block.count(b"\r\n"), block.endswith(b"\r")
            alone = alone or block.count(b"\r") - last > paired
        self.has_lone_return = self.has_lone_return or alone

    def _look_at_lines(self, block: bytes) -> None:
        self.num_newlines += block.count(b"\n")
        start = 0
        while not self.has_long_line:
            room = LONGEST_FIELD - self._line_bytes
            newline = block.rfind(b"\n", start, start + room + 1)
            if newline < 0:
                self.has_long_line = len(block) - start > room
                self._line_bytes += len(block) - start
                return
            start, self._line_bytes = newline + 1, 0


def scan_text(file: File, source: TextSource, take: Take) -> TextScan:
    """Read all of a file once; `take` gets each of its blocks, unpacked.

    Raises:
        BatchRefused: it is larger than expected, cut, or no UTF-8 text.
        SourceUnavailable: it cannot be read.
    """
    looked = TextScan(file)
    most = _most_bytes(file, source)
    with unpacked(file) as stream:
        while block := stream.read(BLOCK_BYTES):
            if looked.num_bytes + len(block) > most:
                _refuse_size(file, source)
            looked.take(block)
            take(block)
    looked.finish()
    if source.final_newline and not looked.ended:
        refuse(
            file.name,
            f"ends in line {looked.num_newlines + 1} without a newline, which this feed always has: it may be cut; fetch it again",
            "cut",
        )
    return looked


def _most_bytes(file: File, source: TextSource) -> float:
    most = source.max_gib * 2**30
    if not file.packing:
        return most
    try:
        packed = file.path.stat().st_size
    except OSError as error:
        raise SourceUnavailable(f"{file.path} cannot be read: {error.strerror}") from None
    return min(most, max(RATIO_BYTES, MOST_RATIO * packed))


def _refuse_size(file: File, source: TextSource) -> None:
    if _most_bytes(file, source) < source.max_gib * 2**30:
        refuse(
            file.name,
            f"unpacks to more than {MOST_RATIO} times its size: expected a table, this looks like an attack",
            "too large",
        )
    refuse(
        file.name,
        f"is larger than {source.max_gib:g} GiB, the recipe's source.max_gib: raise it if that is right",
        "too large",
    )
