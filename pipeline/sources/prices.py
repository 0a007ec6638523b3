"""Daily prices of listed shares and cryptocurrencies, each ticker from the last day that is known of it.

The last known day is asked for again, and all days where a split changed what they were. A day that
is not over is left out. Dividends are not subtracted from older prices: each would revise them all.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date
from functools import partial

import pyarrow as pa

from pipeline.config.recipe import Recipe
from pipeline.config.sources import PricesSource
from pipeline.errors import Rejection, SourceMissing, SourceUnavailable
from pipeline.sources.arrow_spool import hash_rows
from pipeline.sources.columns import sliced
from pipeline.sources.delivery import Chunk, Delivery, FetchContext
from pipeline.sources.file import hash_begun, refuse
from pipeline.sources.prices_day import Ask, Day

logger = logging.getLogger(__name__)

NO_ROW = "the provider returned no row for it"
SCHEMA = pa.schema(
    [
        ("date", pa.date32()),
        ("ticker", pa.string()),
        *((name, pa.float64()) for name in ("open", "high", "low", "close", "volume")),
    ]
)


@contextmanager
def fetch_prices(recipe: Recipe, context: FetchContext) -> Iterator[Delivery]:
    """All days of all tickers since what is known of each.

    Raises:
        SourceMissing: the provider's library is not installed, or does not know the exchange.
        SourceUnavailable: the provider does not answer, or asks to slow down.
        BatchRefused: it returned no row for any ticker.
    """
    source = recipe.source
    assert isinstance(source, PricesSource)
    shown = f"prices of {source.provider}" + (f" from {source.exchange}" if source.provider == "ccxt" else "")
    known = _known(source, context)
    today = context.now.astimezone(UTC).date()  # the day that is not over anywhere behind UTC
    with _provider(source, today) as ask:
        days = {ticker: _days_of(ticker, ask, source, known.get(ticker)) for ticker in source.tickers}
    silent = [ticker for ticker, found in days.items() if not found]
    if len(silent) == len(source.tickers):
        refuse(shown, f"hold no row for any ticker: expected some for {', '.join(silent[:20])}", "no rows")
    for ticker in silent:
        logger.warning("%s hold no row for %s", shown, ticker, extra={"series": ticker})
    batches = [_batch(ticker, found) for ticker, found in days.items() if found]
    yield Delivery(
        source=shown,
        content_hash=hash_rows(hash_begun(source), batches),
        chunks=partial(_chunks, batches, silent),
        state=_state(source, known, days),
        incremental=bool(known),
    )


def _known(source: PricesSource, context: FetchContext) -> dict[str, date]:
    """The last day that was taken in, by ticker."""
    if context.newest_period is None or context.state.get("key") != _key(source):
        return {}
    days = {name.removeprefix("newest:"): day for name, day in context.state.items() if name.startswith("newest:")}
    return {ticker: date.fromisoformat(day) for ticker, day in days.items()}


def _key(source: PricesSource) -> str:
    """Of all settings but the tickers: a ticker that is added is asked for from the beginning."""
    other = source.model_copy(update={"tickers": ()})
    return hashlib.sha256(f"{other.settings}\0{source.since}".encode()).hexdigest()


def _state(source: PricesSource, known: dict[str, date], days: dict[str, list[Day]]) -> dict[str, str]:
    newest = known | {ticker: found[-1].date for ticker, found in days.items() if found}
    return {"key": _key(source)} | {f"newest:{ticker}": day.isoformat() for ticker, day in newest.items()}


def _days_of(ticker: str, ask: Ask, source: PricesSource, known: date | None) -> list[Day]:
    since = date.fromisoformat(source.since)
    days, revised = ask(ticker, known or since)
    if revised and known is not None:
        days, _ = ask(ticker, since)
    return sorted(days, key=lambda day: day.date)


@contextmanager
def _provider(source: PricesSource, today: date) -> Iterator[Ask]:
    deadline = time.monotonic() + source.timeout_seconds * (1 + len(source.tickers))
    try:
        if source.provider == "yfinance":
            from pipeline.sources.prices_yfinance import asking
        else:
            from pipeline.sources.prices_ccxt import asking
    except ImportError:
        raise SourceMissing(
            f"the source of the recipe needs {source.provider}, which is not installed: pip install nextperiod[prices]"
        ) from None
    with asking(source, today) as ask:

        def in_time(ticker: str, since: date) -> tuple[list[Day], bool]:
            if time.monotonic() > deadline:
                raise SourceUnavailable(
                    f"{source.provider} takes too long: try again later, or raise source.timeout_seconds"
                )
            return ask(ticker, since)

        yield in_time


def _batch(ticker: str, days: Sequence[Day]) -> pa.RecordBatch:
    rows = [
        {"date": day.date, "ticker": ticker} | {name: getattr(day, name) for name in SCHEMA.names[2:]} for day in days
    ]
    return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)


def _chunks(batches: Sequence[pa.RecordBatch], silent: Sequence[str]) -> Iterator[Chunk]:
    rejections = tuple(Rejection(rule=NO_ROW, series=ticker) for ticker in silent)
    line = 1
    for batch in batches:
        for chunk in sliced(batch, line):
            yield replace(chunk, rejections=rejections)
            rejections = ()
        line += batch.num_rows
