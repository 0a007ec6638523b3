"""Daily candles of cryptocurrencies, from any exchange that ccxt knows."""

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
from pipeline.sources.prices_day import Ask, Day

#: candles a request; exchanges give fewer, never more
_CANDLES = 1000


@contextmanager
def asking(source: PricesSource, today: date) -> Iterator[Ask]:
    """How one exchange is asked, over one session.

    Raises:
        SourceMissing: ccxt does not know it.
    """
    if source.exchange not in ccxt.exchanges:
        close = difflib.get_close_matches(source.exchange, ccxt.exchanges) or ["binance", "coinbase", "kraken"]
        raise SourceMissing(f'ccxt knows no exchange "{source.exchange}": expected one such as {", ".join(close)}')
    options = {"timeout": int(1000 * source.timeout_seconds), "options": {"fetchMarkets": {"types": ["spot"]}}}
    exchange = getattr(ccxt, source.exchange)(options)
    if source.base_url is not None:
        exchange.urls["api"] = _moved(exchange.urls["api"], source.base_url.rstrip("/"))
    try:
        yield partial(_days, exchange, source, today)
    finally:
        exchange.session.close()


def _moved(urls: Any, base_url: str) -> Any:
    """The same paths at another address."""
    if isinstance(urls, dict):
        return {name: _moved(url, base_url) for name, url in urls.items()}
    return base_url + urlsplit(urls).path if isinstance(urls, str) else urls


def _days(exchange: Any, source: PricesSource, today: date, ticker: str, since: date) -> tuple[list[Day], bool]:
    """The days that are over in UTC; candles are never revised."""
    days: dict[date, Day] = {}
    asked = since
    try:
        while asked < today:
            candles = exchange.fetch_ohlcv(ticker, "1d", since=_milliseconds(asked), limit=_CANDLES)
            found = {day.date: day for day in map(_day, candles) if asked <= day.date < today}
            if not found:
                break
            days |= found
            asked = max(found) + timedelta(days=1)
    except ccxt.BadSymbol:
        return [], False
    except ccxt.NetworkError as error:
        raise SourceUnavailable(f"{source.exchange} does not answer: {type(error).__name__}, try again later") from None
    except ccxt.BaseError as error:
        refuse(f"prices of ccxt from {source.exchange}", f"cannot be read: {type(error).__name__}", "provider")
    return list(days.values()), False


def _milliseconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)


def _day(candle: list[Any]) -> Day:
    opened_at, opened, high, low, close, volume = candle[:6]
    on = datetime.fromtimestamp(opened_at / 1000, UTC).date()
    return Day(date=on, open=opened, high=high, low=low, close=close, volume=volume)
