"""Fake Yahoo and Binance: what they answer to a request, for a server on the loopback."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.sources.server import Request, response

DAY = timedelta(days=1)
#: day, open, high, low, close, volume
Row = tuple[date, float | None, float | None, float | None, float | None, float | None]


def row(on: date, close: float | None) -> Row:
    """A day on which all prices are the same."""
    return on, close, close, close, close, 100.0


@dataclass(kw_only=True)
class Yahoo:
    """The chart API: only tickers with rows are known."""

    rows: Mapping[str, Sequence[Row]]
    zone: str = "America/New_York"
    #: days of splits, by ticker
    splits: Mapping[str, Sequence[date]] = field(default_factory=dict)
    #: sent in place of a chart
    answer: bytes | None = None
    #: first days of the requests, by ticker
    since: dict[str, list[date]] = field(default_factory=dict)

    def __call__(self, request: Request) -> bytes:
        if request.path.endswith("getcrumb"):
            return response("crumb")
        if "/v8/finance/chart/" not in request.path:
            return response(status=404)
        if self.answer is not None:
            return self.answer
        ticker = request.path.rpartition("/")[2]
        rows = list(self.rows.get(ticker, ()))
        if "period1" in request.query:
            since = datetime.fromtimestamp(int(request.query["period1"]), ZoneInfo(self.zone)).date()
            self.since.setdefault(ticker, []).append(since)
            rows = [day for day in rows if day[0] >= since]
        return self._chart(ticker, rows) if rows else _no_chart()

    def _chart(self, ticker: str, rows: Sequence[Row]) -> bytes:
        timestamps = [_stamp(day[0], self.zone) for day in rows]
        names = ("open", "high", "low", "close", "volume")
        quote = {name: [day[n] for day in rows] for n, name in enumerate(names, start=1)}
        split = {
            str(_stamp(on, self.zone)): {
                "date": _stamp(on, self.zone),
                "numerator": 4,
                "denominator": 1,
                "splitRatio": "4:1",
            }
            for on in self.splits.get(ticker, ())
            if on >= rows[0][0]
        }
        meta = {
            "currency": "USD",
            "symbol": ticker,
            "instrumentType": "EQUITY",
            "exchangeTimezoneName": self.zone,
            "gmtoffset": 0,
            "priceHint": 2,
            "dataGranularity": "1d",
            "validRanges": ["1d", "max"],
        }
        result = {
            "meta": meta,
            "timestamp": timestamps,
            "events": {"splits": split} if split else {},
            "indicators": {"quote": [quote], "adjclose": [{"adjclose": quote["close"]}]},
        }
        return _json({"chart": {"result": [result], "error": None}})


@dataclass(kw_only=True)
class Binance:
    """Candles of the pairs that are known, at most three an answer."""

    rows: Mapping[str, Sequence[Row]]
    answer: bytes | None = None
    since: dict[str, list[date]] = field(default_factory=dict)

    def __call__(self, request: Request) -> bytes:
        if request.path.endswith("/exchangeInfo"):
            return _json(
                {"timezone": "UTC", "serverTime": 1, "rateLimits": [], "symbols": [_pair(p) for p in self.rows]}
            )
        if self.answer is not None:
            return self.answer
        pair = request.query["symbol"]
        since = datetime.fromtimestamp(int(request.query["startTime"]) / 1000, UTC).date()
        self.since.setdefault(pair, []).append(since)
        page = [day for day in self.rows[pair] if day[0] >= since][:3]
        return _json([_candle(day) for day in page])


def _candle(day: Row) -> list[Any]:
    opened_at = _stamp(day[0], "UTC", hour=0) * 1000
    return [opened_at, *map(str, day[1:]), opened_at + 86_399_999, "0", 1, "0", "0", "0"]


def _pair(name: str) -> dict[str, Any]:
    return {
        "symbol": name,
        "status": "TRADING",
        "baseAsset": name.removesuffix("USDT"),
        "quoteAsset": "USDT",
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "orderTypes": ["LIMIT"],
        "filters": [],
        "permissions": ["SPOT"],
    }


def _stamp(on: date, zone: str, hour: int = 9) -> int:
    return int(datetime(on.year, on.month, on.day, hour, tzinfo=ZoneInfo(zone)).timestamp())


def _json(document: object) -> bytes:
    return response(json.dumps(document), Content_Type="application/json")


def _no_chart() -> bytes:
    error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
    return response(
        json.dumps({"chart": {"result": None, "error": error}}), status=404, Content_Type="application/json"
    )
