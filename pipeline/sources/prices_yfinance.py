"""Daily prices of listed shares, from Yahoo through yfinance."""

from __future__ import annotations

import logging
import math
import traceback
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
from curl_cffi import requests as curl_requests
from yfinance.exceptions import YFRateLimitError, YFTickerMissingError

from pipeline.config.sources import PricesSource
from pipeline.errors import SourceUnavailable
from pipeline.sources.prices_day import Day, FetchDays
from pipeline.text import one_line, without_secrets

logger = logging.getLogger(__name__)

#: no folder can be created here, so yfinance caches nothing: it would pickle its cookies
_NO_CACHE = "/dev/null/none"


@contextmanager
def open_session(source: PricesSource, today: date) -> Iterator[FetchDays]:
    """Give the function that fetches days before `today` from Yahoo, over one HTTP session and without caches."""
    yfinance.config.debug.hide_exceptions = False
    yfinance.set_tz_cache_location(_NO_CACHE)
    yfinance.data.YfData.cache_get.cache_clear()
    with _create_session(source) as session:
        yield partial(_fetch_days, session, source, today)


def _create_session(source: PricesSource) -> Any:
    if source.base_url is None:
        return curl_requests.Session(impersonate="chrome")
    session = requests.Session()
    session.mount("https://", _MirrorAdapter(source.base_url.rstrip("/")))
    return session


class _MirrorAdapter(requests.adapters.HTTPAdapter):  # type: ignore[misc]
    """Sends requests for Yahoo to another address."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self.base_url = base_url

    def send(self, request: Any, **options: Any) -> Any:
        parts = urlsplit(request.url)
        request.url = f"{self.base_url}{parts.path}" + (f"?{parts.query}" if parts.query else "")
        return super().send(request, **options)


def _fetch_days(session: Any, source: PricesSource, today: date, ticker: str, since: date) -> tuple[list[Day], bool]:
    """Return the days from `since` on that are finished, and whether a split revised older ones."""
    history = _fetch_history(session, source, ticker, since)
    rows = [(opened_at.date(), row) for opened_at, row in zip(history.index, history.to_dict("records"), strict=True)]
    days = [_to_day(day, row) for day, row in rows if since <= day < today]
    return days, any(row["Stock Splits"] != 0 for day, row in rows if day > since)


def _fetch_history(session: Any, source: PricesSource, ticker: str, since: date) -> Any:
    """Return the sessions of a ticker as a data frame, without rows if Yahoo does not know it.

    Raises:
        SourceUnavailable: Yahoo does not answer with prices; the log has the error of yfinance.
    """
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
        raise SourceUnavailable("Yahoo asks to slow down: try again later") from None
    except Exception as error:
        # yfinance lets the errors of its libraries and of its own parsing through, whatever they are
        if getattr(getattr(error, "response", None), "status_code", None) == 404:
            return pd.DataFrame()
        name, text = type(error).__name__, one_line(without_secrets(str(error)))
        place = traceback.extract_tb(error.__traceback__)[-1]
        logger.warning("yfinance failed for %s at %s:%s: %s: %s", ticker, place.filename, place.lineno, name, text)
        raise SourceUnavailable(f"Yahoo does not answer with prices ({name}): try again later") from None


def _to_day(day: date, row: dict[str, Any]) -> Day:
    def finite(name: str) -> float | None:
        value = float(row[name])
        return value if math.isfinite(value) else None

    return Day(
        date=day,
        open=finite("Open"),
        high=finite("High"),
        low=finite("Low"),
        close=finite("Close"),
        volume=finite("Volume"),
    )
