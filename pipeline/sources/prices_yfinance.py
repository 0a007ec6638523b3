"""Daily prices of listed shares, from Yahoo through yfinance."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import requests
import yfinance
from curl_cffi import requests as impersonating
from yfinance.exceptions import YFRateLimitError, YFTickerMissingError

from pipeline.config.sources import PricesSource
from pipeline.errors import SourceUnavailable
from pipeline.sources.prices_day import Ask, Day

#: no folder can be made here, so that yfinance keeps nothing: it would pickle its cookies
_NOWHERE = "/dev/null/none"


@contextmanager
def asking(source: PricesSource, today: date) -> Iterator[Ask]:
    """How Yahoo is asked, over one session and without the caches that yfinance keeps at home."""
    yfinance.config.debug.hide_exceptions = False
    yfinance.set_tz_cache_location(_NOWHERE)
    yfinance.data.YfData.cache_get.cache_clear()
    with _session(source) as session:
        yield partial(_days, session, source, today)


def _session(source: PricesSource) -> Any:
    if source.base_url is None:
        return impersonating.Session(impersonate="chrome")
    session = requests.Session()
    session.mount("https://", _Elsewhere(source.base_url.rstrip("/")))
    return session


class _Elsewhere(requests.adapters.HTTPAdapter):  # type: ignore[misc]
    """Sends what is meant for Yahoo to another address."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self.base_url = base_url

    def send(self, request: Any, **options: Any) -> Any:
        parts = urlsplit(request.url)
        request.url = f"{self.base_url}{parts.path}" + (f"?{parts.query}" if parts.query else "")
        return super().send(request, **options)


def _days(session: Any, source: PricesSource, today: date, ticker: str, since: date) -> tuple[list[Day], bool]:
    """The sessions that are over where the exchange is, and whether a split changed older ones."""
    history = _history(session, source, ticker, since)
    sessions = [(at.date(), row) for at, row in zip(history.index, history.to_dict("records"), strict=True)]
    days = [_day(on, row) for on, row in sessions if since <= on < today]
    return days, any(row["Stock Splits"] != 0 for on, row in sessions if on > since)


def _history(session: Any, source: PricesSource, ticker: str, since: date) -> Any:
    try:
        with warnings.catch_warnings():
            # yfinance sorts in place, which pandas 3 deprecates
            warnings.simplefilter("ignore")
            return yfinance.Ticker(ticker, session=session).history(
                start=since.isoformat(), auto_adjust=False, timeout=source.timeout_seconds
            )
    except YFTickerMissingError:
        return pd.DataFrame()
    except YFRateLimitError:
        told = "asks to slow down"
    except Exception as error:
        if getattr(getattr(error, "response", None), "status_code", None) == 404:
            return pd.DataFrame()
        told = f"does not answer with prices ({type(error).__name__})"
    raise SourceUnavailable(f"Yahoo {told}: try again later")


def _day(on: date, row: dict[str, Any]) -> Day:
    def number(name: str) -> float | None:
        value = float(row[name])
        return value if math.isfinite(value) else None

    return Day(
        date=on,
        open=number("Open"),
        high=number("High"),
        low=number("Low"),
        close=number("Close"),
        volume=number("Volume"),
    )
