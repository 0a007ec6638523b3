"""Daily prices: each ticker from the day that is known of it, finished days only, and no ticker silently absent."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config.recipe import Recipe
from pipeline.errors import BatchRefused, InvalidRecipe, Rejection, SourceMissing, SourceUnavailable
from pipeline.sources import prices
from pipeline.sources.delivery import Chunk, Delivery, FetchContext
from tests.sources import fetching
from tests.sources.fetching import names_in, recipe_with, rejections_in, rows_in
from tests.sources.providers import Binance, Row, Yahoo, row
from tests.sources.server import Server, response, serve

FRIDAY, MONDAY, TUESDAY = date(2026, 1, 2), date(2026, 1, 5), date(2026, 1, 6)
#: Tuesday at noon
NOW = datetime(2026, 1, 6, 12, tzinfo=UTC)
FIRST_FETCH = FetchContext(now=NOW)
WEEKEND = [date(2026, 1, 3), date(2026, 1, 4)]
PROVIDERS = ["yfinance", "ccxt"]
NAMES = {"yfinance": ("AAPL", "MSFT", "NONE"), "ccxt": ("BTC/USDT", "ETH/USDT", "NO/USDT")}


@pytest.fixture(autouse=True)
def empty_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def fake_provider(provider: str, rows: dict[str, list[Row]], **options: object) -> Yahoo | Binance:
    if provider == "yfinance":
        return Yahoo(rows=rows, **options)  # type: ignore[arg-type]
    return Binance(rows={name.replace("/", ""): days for name, days in rows.items()}, **options)  # type: ignore[arg-type]


def recipe_at(server: Server, provider: str, tickers: tuple[str, ...], source: str = "") -> Recipe:
    named = ", ".join(f'"{ticker}"' for ticker in tickers)
    table = f'kind = "prices"\nprovider = "{provider}"\ntickers = [{named}]\nbase_url = "{server.url}/"\n'
    since = "" if "since" in source else 'since = "2026-01-01"\n'
    return recipe_with(table + since + source, frequency="D")


def read(recipe: Recipe, context: FetchContext = FIRST_FETCH) -> tuple[Delivery, list[Chunk]]:
    return fetching.read(recipe, context)


def next_prices_fetch(delivery: Delivery) -> FetchContext:
    return FetchContext(
        now=NOW,
        content_hash=delivery.content_hash,
        state=delivery.state,
        newest_period=np.datetime64("2026-01-05", "us"),
    )


def test_finished_days_of_all_tickers_are_delivered(provider: str) -> None:
    one, other, _ = NAMES[provider]
    rows = {one: [row(FRIDAY, 1.0), row(MONDAY, 2.0), row(TUESDAY, 3.0)], other: [(MONDAY, 1.0, 4.0, 0.5, 2.0, 70.0)]}

    with serve(fake_provider(provider, rows)) as server:
        delivery, chunks = read(recipe_at(server, provider, (one, other)))

    assert names_in(chunks) == ["date", "ticker", "open", "high", "low", "close", "volume"]
    assert chunks[0].columns.schema.field("date").type == pa.date32()
    assert rows_in(chunks) == [
        (1, (FRIDAY, one, 1.0, 1.0, 1.0, 1.0, 100.0)),
        (2, (MONDAY, one, 2.0, 2.0, 2.0, 2.0, 100.0)),
        (3, (MONDAY, other, 1.0, 4.0, 0.5, 2.0, 70.0)),
    ]
    assert not delivery.incremental


def test_a_day_is_delivered_only_when_it_is_finished(provider: str) -> None:
    ticker = NAMES[provider][0]

    with serve(fake_provider(provider, {ticker: [row(MONDAY, 2.0), row(TUESDAY, 3.0)]})) as server:
        before = read(recipe_at(server, provider, (ticker,)))[1]
        after = read(recipe_at(server, provider, (ticker,)), FetchContext(now=NOW + timedelta(days=1)))[1]

    assert [values[0] for _, values in rows_in(before)] == [MONDAY]
    assert [values[0] for _, values in rows_in(after)] == [MONDAY, TUESDAY]


def test_each_ticker_is_fetched_from_its_last_known_day_on(provider: str) -> None:
    one, other, _ = NAMES[provider]
    rows = {one: [row(FRIDAY, 1.0), row(MONDAY, 2.0)], other: [row(FRIDAY, 3.0)]}
    answers = fake_provider(provider, rows)

    with serve(answers) as server:
        first, _ = read(recipe_at(server, provider, (one,)))
        second, chunks = read(recipe_at(server, provider, (one, other)), next_prices_fetch(first))

    assert second.incremental
    assert [values[:2] for _, values in rows_in(chunks)] == [(MONDAY, one), (FRIDAY, other)]
    assert answers.since[one.replace("/", "")][-1] >= MONDAY
    assert answers.since[other.replace("/", "")][0] == date(2026, 1, 1)


def test_all_days_are_fetched_where_nothing_is_stored(provider: str) -> None:
    ticker = NAMES[provider][0]

    with serve(fake_provider(provider, {ticker: [row(FRIDAY, 1.0), row(MONDAY, 2.0)]})) as server:
        first, _ = read(recipe_at(server, provider, (ticker,)))
        again, chunks = read(recipe_at(server, provider, (ticker,)), FetchContext(now=NOW, state=first.state))

    assert not again.incremental
    assert len(rows_in(chunks)) == 2


def test_a_ticker_without_a_row_is_rejected_and_warned_about(provider: str, caplog: pytest.LogCaptureFixture) -> None:
    one, _, none = NAMES[provider]

    with serve(fake_provider(provider, {one: [row(MONDAY, 1.0)]})) as server, caplog.at_level(logging.WARNING):
        delivery, chunks = read(recipe_at(server, provider, (none, one)))

    assert rejections_in(chunks) == [Rejection(rule="the provider returned no row for it", series=none)]
    assert [record.getMessage() for record in caplog.records if record.name == "pipeline.sources.prices"] == [
        f"{delivery.source} hold no row for {none}"
    ]
    assert f"newest:{none}" not in delivery.state


def test_no_row_for_any_ticker_refuses_the_batch(provider: str) -> None:
    with (
        serve(fake_provider(provider, {NAMES[provider][0]: []})) as server,
        pytest.raises(BatchRefused, match="hold no row for any ticker: expected some for") as refused,
    ):
        read(recipe_at(server, provider, (NAMES[provider][2],)))

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "answer",
    [response(status=500), response(status=429), response("<html>", Content_Type="text/html"), b"", response("[1]")],
    ids=["500", "429", "a page", "closed", "another shape"],
)
def test_a_provider_that_is_away_is_unavailable(provider: str, answer: bytes) -> None:
    ticker = NAMES[provider][0]

    with (
        serve(fake_provider(provider, {ticker: [row(MONDAY, 1.0)]}, answer=answer)) as server,
        pytest.raises((SourceUnavailable, BatchRefused), match="again later|hold no row") as caught,
    ):
        read(recipe_at(server, provider, (ticker,)))

    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, SourceUnavailable) or answer not in (
        response(status=500),
        response(status=429),
        b"",
    )


def test_an_error_of_yfinance_is_logged_with_its_class_message_and_place(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("no such column")

    monkeypatch.setattr("yfinance.Ticker.history", fail)

    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(SourceUnavailable, match=r"Yahoo does not answer with prices \(KeyError\): try again later"),
    ):
        read(recipe_at(Server(host="127.0.0.1:1"), "yfinance", ("AAPL",)))

    (message,) = [record.getMessage() for record in caplog.records if record.name == "pipeline.sources.prices_yfinance"]
    assert message.startswith(f"yfinance failed for AAPL at {__file__}:")
    assert message.endswith("KeyError: 'no such column'")


def test_a_provider_that_cannot_be_reached_is_unavailable(provider: str) -> None:
    with serve(lambda _: b"") as server:
        recipe = recipe_at(server, provider, NAMES[provider][:1])

    with pytest.raises(SourceUnavailable, match="try again later"):
        read(recipe)


def test_a_library_that_is_not_installed_is_named_with_the_extra(
    provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, provider, None)
    monkeypatch.delitem(sys.modules, f"pipeline.sources.prices_{provider}", raising=False)

    with pytest.raises(
        SourceMissing, match=rf"needs {provider}, which is not installed: pip install nextperiod\[prices\]"
    ):
        read(recipe_at(Server(host="127.0.0.1:1"), provider, NAMES[provider][:1]))


def test_the_hash_of_prices_depends_on_the_days(provider: str) -> None:
    ticker = NAMES[provider][0]
    rows = {ticker: [row(FRIDAY, 1.0), row(MONDAY, 2.0)]}

    with serve(fake_provider(provider, rows)) as server:
        recipe = recipe_at(server, provider, (ticker,))
        hashes = [read(recipe)[0].content_hash, read(recipe)[0].content_hash]
    with serve(fake_provider(provider, {ticker: [row(FRIDAY, 1.5), row(MONDAY, 2.0)]})) as server:
        hashes.append(read(recipe_at(server, provider, (ticker,)))[0].content_hash)

    assert hashes[0] == hashes[1] != hashes[2]


def test_a_split_makes_all_days_be_fetched_again() -> None:
    answers = Yahoo(rows={"AAPL": [row(FRIDAY, 100.0)]})
    with serve(answers) as server:
        first, _ = read(recipe_at(server, "yfinance", ("AAPL",)))
        answers.rows = {"AAPL": [row(FRIDAY, 25.0), row(MONDAY, 26.0)]}
        answers.splits = {"AAPL": [MONDAY]}

        second, chunks = read(recipe_at(server, "yfinance", ("AAPL",)), next_prices_fetch(first))
        third, more = read(recipe_at(server, "yfinance", ("AAPL",)), next_prices_fetch(second))

    assert [values[5] for _, values in rows_in(chunks)] == [25.0, 26.0]
    assert [values[5] for _, values in rows_in(more)] == [26.0]
    assert third.incremental


def test_days_are_those_of_the_time_zone_of_the_exchange() -> None:
    with serve(Yahoo(rows={"7203.T": [row(MONDAY, 1.0)]}, zone="Asia/Tokyo")) as server:
        _, chunks = read(recipe_at(server, "yfinance", ("7203.T",)))

    assert [values[0] for _, values in rows_in(chunks)] == [MONDAY]


def test_a_price_that_yahoo_does_not_know_is_null() -> None:
    with serve(Yahoo(rows={"AAPL": [(MONDAY, 1.0, None, 1.0, None, None)]})) as server:
        _, chunks = read(recipe_at(server, "yfinance", ("AAPL",)))

    assert [values[2:6] for _, values in rows_in(chunks)] == [(1.0, None, 1.0, None)]


def test_yfinance_writes_nothing_to_the_home_folder(tmp_path: Path) -> None:
    with serve(Yahoo(rows={"AAPL": [row(MONDAY, 1.0)]})) as server:
        read(recipe_at(server, "yfinance", ("AAPL",)))

    assert list(tmp_path.iterdir()) == []


def test_many_candles_are_fetched_page_by_page() -> None:
    days = [FRIDAY, *WEEKEND, MONDAY, TUESDAY]
    answers = Binance(rows={"BTCUSDT": [row(on, float(n)) for n, on in enumerate(days)]})

    with serve(answers) as server:
        _, chunks = read(recipe_at(server, "ccxt", ("BTC/USDT",)))

    assert [values[0] for _, values in rows_in(chunks)] == days[:-1]
    assert answers.since["BTCUSDT"] == [date(2026, 1, 1), MONDAY]


def test_an_exchange_that_ccxt_does_not_know_lists_close_ones() -> None:
    with pytest.raises(SourceMissing, match='ccxt knows no exchange "binanec": expected one such as binance'):
        read(recipe_at(Server(host="x"), "ccxt", ("BTC/USDT",), 'exchange = "binanec"'))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('since = "2026"', 'source.since is "2026": expected a date, such as 2000-01-01'),
        ('value = "price"', "'open', 'high', 'low', 'close' or 'volume'"),
        ('provider = "x"', "Cannot overwrite"),
    ],
)
def test_invalid_settings_of_prices_are_refused(source: str, message: str) -> None:
    with pytest.raises(InvalidRecipe, match=message):
        recipe_at(Server(host="x"), "yfinance", ("AAPL",), source)


def test_a_slow_provider_is_given_up_at_the_deadline(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1e9])
    monkeypatch.setattr(prices.time, "monotonic", lambda: next(clock))

    with pytest.raises(SourceUnavailable, match="takes too long: try again later, or raise source.timeout_seconds"):
        read(recipe_at(Server(host="127.0.0.1:1"), provider, NAMES[provider][:1]))
