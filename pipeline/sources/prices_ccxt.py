"""Daily candles of cryptocurrencies, from any exchange that ccxt supports."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import ccxt

from pipeline.config.sources import PricesSource
from pipeline.errors import SourceMissing, SourceUnavailable
from pipeline.sources.file import refuse
from pipeline.sources.prices_day import Day, FetchDays

#: candles that a request asks for; an exchange may return fewer
_PAGE_SIZE = 1000


@contextmanager
def open_session(source: PricesSource, today: date) -> Iterator[FetchDays]:
    """Give the function that fetches days before `today` from the recipe's exchange, over one HTTP session.

    Raises:
        SourceMissing: ccxt does not know the exchange.
    """
    if source.exchange not in ccxt.exchanges:
        close = difflib.get_close_matches(source.exchange, ccxt.exchanges) or ["binance", "coinbase", "kraken"]
        raise SourceMissing(f'ccxt knows no exchange "{source.exchange}": expected one such as {", ".join(close)}')
    options = {"timeout": int(1000 * source.timeout_seconds), "options": {"fetchMarkets": {"types": ["spot"]}}}
    exchange = getattr(ccxt, source.exchange)(options)
    if source.base_url is not None:
        exchange.urls["api"] = _replace_host(exchange.urls["api"], source.base_url.rstrip("/"))
    try:
        yield partial(_fetch_days, exchange, source, today)
    finally:
        exchange.session.close()


def _replace_host(urls: Any, base_url: str) -> Any:
    """Return an address, or a nested dictionary of addresses, with the same paths below `base_url`."""
    if isinstance(urls, dict):
        return {name: _replace_host(url, base_url) for name, url in urls.items()}
    return base_url + urlsplit(urls).path if isinstance(urls, str) else urls


def _fetch_days(exchange: Any, source: PricesSource, today: date, ticker: str, since: date) -> tuple[list[Day], bool]:
    """Return the days from `since` on that are over in UTC, and False: candles are never revised."""
    days: dict[date, Day] = {}
    next_day = since
    try:
        while next_day < today:
            candles = exchange.fetch_ohlcv(ticker, "1d", since=_to_milliseconds(next_day), limit=_PAGE_SIZE)
            page = {day.date: day for day in map(_to_day, candles) if next_day <= day.date < today}
            if not page:
                break
            days |= page
            next_day = max(page) + timedelta(days=1)
    except ccxt.BadSymbol:
        return [], False
    except ccxt.NetworkError as error:
        raise SourceUnavailable(f"{source.exchange} does not answer: {type(error).__name__}, try again later") from None
    except ccxt.BaseError as error:
        refuse(f"prices of ccxt from {source.exchange}", f"cannot be read: {type(error).__name__}", "provider")
    return list(days.values()), False


def _to_milliseconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)


def _to_day(candle: list[Any]) -> Day:
    opened_at_ms, open_price, high, low, close, volume = candle[:6]
    day = datetime.fromtimestamp(opened_at_ms / 1000, UTC).date()
    return Day(date=day, open=open_price, high=high, low=low, close=close, volume=volume)
