"""Daily prices of listed shares and cryptocurrencies, fetched for each ticker from its last known day on.

The last known day is fetched again, and so are all days if a split revised them. A day that is not finished is left
out. Dividends are not subtracted from older prices: each would revise the whole history.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date
from functools import partial

import pyarrow as pa

from pipeline.config.recipe import Recipe
from pipeline.config.sources import PricesSource
from pipeline.errors import Rejection, SourceMissing, SourceUnavailable
from pipeline.sources.arrow_spool import hash_batches
from pipeline.sources.columns import slice_chunks
from pipeline.sources.delivery import Chunk, Delivery, FetchContext
from pipeline.sources.file import refuse, start_hash
from pipeline.sources.prices_day import Day, FetchDays

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
def fetch_prices(recipe: Recipe, source: PricesSource, context: FetchContext) -> Iterator[Delivery]:
    """Deliver the days of all tickers from the last known day of each on.

    Raises:
        SourceMissing: the provider's library is not installed, or does not know the exchange.
        SourceUnavailable: the provider does not answer, or asks to slow down.
        BatchRefused: it returned no row for any ticker.
    """
    name = f"prices of {source.provider}" + (f" from {source.exchange}" if source.provider == "ccxt" else "")
    last_days = _last_known_days(source, context)
    today = context.now.astimezone(UTC).date()  # a day is finished when it is over in UTC
    with _open_provider(source, today) as fetch_days:
        days = {ticker: _fetch_ticker(ticker, fetch_days, source, last_days.get(ticker)) for ticker in source.tickers}
    empty_tickers = [ticker for ticker, rows in days.items() if not rows]
    if len(empty_tickers) == len(days):
        refuse(name, f"hold no row for any ticker: expected some for {', '.join(empty_tickers[:20])}", "no rows")
    for ticker in empty_tickers:
        logger.warning("%s hold no row for %s", name, ticker, extra={"series": ticker})
    batches = [_to_batch(ticker, rows) for ticker, rows in days.items() if rows]
    yield Delivery(
        source=name,
        content_hash=hash_batches(start_hash(source), batches),
        chunks=partial(_slice, batches, empty_tickers),
        state=_next_state(source, last_days, days),
        incremental=bool(last_days),
    )


def _last_known_days(source: PricesSource, context: FetchContext) -> dict[str, date]:
    """Return the last day of the last delivery by ticker; empty if the settings changed or nothing is stored."""
    if context.newest_period is None or context.state.get("key") != _settings_key(source):
        return {}
    prefix = "newest:"
    days = {key.removeprefix(prefix): day for key, day in context.state.items() if key.startswith(prefix)}
    return {ticker: date.fromisoformat(day) for ticker, day in days.items()}


def _settings_key(source: PricesSource) -> str:
    """Return a hash of all settings except the tickers: adding one does not fetch the others again."""
    without_tickers = source.model_copy(update={"tickers": ()})
    return hashlib.sha256(f"{without_tickers.settings}\0{source.since}".encode()).hexdigest()


def _next_state(
    source: PricesSource, last_days: Mapping[str, date], days: Mapping[str, Sequence[Day]]
) -> dict[str, str]:
    newest = {**last_days, **{ticker: rows[-1].date for ticker, rows in days.items() if rows}}
    return {"key": _settings_key(source)} | {f"newest:{ticker}": day.isoformat() for ticker, day in newest.items()}


def _fetch_ticker(ticker: str, fetch_days: FetchDays, source: PricesSource, last_day: date | None) -> list[Day]:
    """Return the days of a ticker in order; all since the recipe's first day if older ones were revised."""
    first_day = date.fromisoformat(source.since)
    days, is_revised = fetch_days(ticker, last_day or first_day)
    if is_revised and last_day is not None:
        days, _ = fetch_days(ticker, first_day)
    return sorted(days, key=lambda day: day.date)


@contextmanager
def _open_provider(source: PricesSource, today: date) -> Iterator[FetchDays]:
    """Give the function that fetches days; together, its calls have a time limit."""
    deadline = time.monotonic() + source.timeout_seconds * (1 + len(source.tickers))
    try:
        if source.provider == "yfinance":
            from pipeline.sources.prices_yfinance import open_session
        else:
            from pipeline.sources.prices_ccxt import open_session
    except ImportError:
        raise SourceMissing(
            f"the source of the recipe needs {source.provider}, which is not installed: pip install nextperiod[prices]"
        ) from None
    with open_session(source, today) as fetch_days:

        def fetch_in_time(ticker: str, since: date) -> tuple[list[Day], bool]:
            if time.monotonic() > deadline:
                raise SourceUnavailable(
                    f"{source.provider} takes too long: try again later, or raise source.timeout_seconds"
                )
            return fetch_days(ticker, since)

        yield fetch_in_time


def _to_batch(ticker: str, days: Sequence[Day]) -> pa.RecordBatch:
    rows = [
        {"date": day.date, "ticker": ticker} | {name: getattr(day, name) for name in SCHEMA.names[2:]} for day in days
    ]
    return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)


def _slice(batches: Sequence[pa.RecordBatch], empty_tickers: Sequence[str]) -> Iterator[Chunk]:
    """Yield the rows in chunks; the first chunk rejects the tickers without a row."""
    rejections = tuple(Rejection(rule=NO_ROW, series=ticker) for ticker in empty_tickers)
    next_line = 1
    for batch in batches:
        for chunk in slice_chunks(batch, next_line):
            yield replace(chunk, rejections=rejections)
            rejections = ()
        next_line += batch.num_rows
