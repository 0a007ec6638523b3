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
from tests.sources import examples
from tests.sources.examples import names_in, recipe_with, rows_in
from tests.sources.providers import Binance, Row, Yahoo, row
from tests.sources.server import Server, reply, serving

FRIDAY, MONDAY, TUESDAY = date(2026, 1, 2), date(2026, 1, 5), date(2026, 1, 6)
#: Tuesday at noon
NOW = datetime(2026, 1, 6, 12, tzinfo=UTC)
WEEKEND = [date(2026, 1, 3), date(2026, 1, 4)]
PROVIDERS = ["yfinance", "ccxt"]
NAMES = {"yfinance": ("AAPL", "MSFT", "NONE"), "ccxt": ("BTC/USDT", "ETH/USDT", "NO/USDT")}


@pytest.fixture(autouse=True)
def empty_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def speaking(provider: str, rows: dict[str, list[Row]], **options: object) -> Yahoo | Binance:
    if provider == "yfinance":
        return Yahoo(rows=rows, **options)  # type: ignore[arg-type]
    return Binance(rows={name.replace("/", ""): found for name, found in rows.items()}, **options)  # type: ignore[arg-type]


def recipe_at(server: Server, provider: str, tickers: tuple[str, ...], source: str = "") -> Recipe:
    named = ", ".join(f'"{ticker}"' for ticker in tickers)
    table = f'kind = "prices"\nprovider = "{provider}"\ntickers = [{named}]\nbase_url = "{server.url}/"\n'
    since = "" if "since" in source else 'since = "2026-01-01"\n'
    return recipe_with(table + since + source, frequency="D")


def read(recipe: Recipe, context: FetchContext = FetchContext(now=NOW)) -> tuple[Delivery, list[Chunk]]:  # noqa: B008
    return examples.read(recipe, context)


def known(delivery: Delivery) -> FetchContext:
    return FetchContext(
        now=NOW,
        content_hash=delivery.content_hash,
        state=delivery.state,
        newest_period=np.datetime64("2026-01-05", "us"),
    )


def test_finished_days_of_all_tickers_are_delivered(provider: str) -> None:
    one, other, _ = NAMES[provider]
    rows = {one: [row(FRIDAY, 1.0), row(MONDAY, 2.0), row(TUESDAY, 3.0)], other: [(MONDAY, 1.0, 4.0, 0.5, 2.0, 70.0)]}

    with serving(speaking(provider, rows)) as server:
        delivery, chunks = read(recipe_at(server, provider, (one, other)))

    assert names_in(chunks) == ["date", "ticker", "open", "high", "low", "close", "volume"]
    assert chunks[0].columns.schema.field("date").type == pa.date32()
    assert rows_in(chunks) == [
        (1, (FRIDAY, one, 1.0, 1.0, 1.0, 1.0, 100.0)),
        (2, (MONDAY, one, 2.0, 2.0, 2.0, 2.0, 100.0)),
        (3, (MONDAY, other, 1.0, 4.0, 0.5, 2.0, 70.0)),
    ]
    assert not delivery.incremental


def test_a_day_that_is_not_over_is_left_out_until_it_is(provider: str) -> None:
    ticker = NAMES[provider][0]

    with serving(speaking(provider, {ticker: [row(MONDAY, 2.0), row(TUESDAY, 3.0)]})) as server:
        before = read(recipe_at(server, provider, (ticker,)))[1]
        after = read(recipe_at(server, provider, (ticker,)), FetchContext(now=NOW + timedelta(days=1)))[1]

    assert [values[0] for _, values in rows_in(before)] == [MONDAY]
    assert [values[0] for _, values in rows_in(after)] == [MONDAY, TUESDAY]


def test_each_ticker_is_asked_for_from_its_last_known_day_on(provider: str) -> None:
    one, other, _ = NAMES[provider]
    rows = {one: [row(FRIDAY, 1.0), row(MONDAY, 2.0)], other: [row(FRIDAY, 3.0)]}
    answers = speaking(provider, rows)

    with serving(answers) as server:
        first, _ = read(recipe_at(server, provider, (one,)))
        second, chunks = read(recipe_at(server, provider, (one, other)), known(first))

    assert second.incremental
    assert [values[:2] for _, values in rows_in(chunks)] == [(MONDAY, one), (FRIDAY, other)]
    assert answers.since[one.replace("/", "")][-1] >= MONDAY
    assert answers.since[other.replace("/", "")][0] == date(2026, 1, 1)


def test_where_nothing_is_known_any_more_all_is_asked_for(provider: str) -> None:
    ticker = NAMES[provider][0]

    with serving(speaking(provider, {ticker: [row(FRIDAY, 1.0), row(MONDAY, 2.0)]})) as server:
        first, _ = read(recipe_at(server, provider, (ticker,)))
        again, chunks = read(recipe_at(server, provider, (ticker,)), FetchContext(now=NOW, state=first.state))

    assert not again.incremental
    assert len(rows_in(chunks)) == 2


def test_a_ticker_without_a_row_is_rejected_and_warned_about(provider: str, caplog: pytest.LogCaptureFixture) -> None:
    one, _, none = NAMES[provider]

    with serving(speaking(provider, {one: [row(MONDAY, 1.0)]})) as server, caplog.at_level(logging.WARNING):
        delivery, chunks = read(recipe_at(server, provider, (none, one)))

    assert [one for chunk in chunks for one in chunk.rejections] == [
        Rejection(rule="the provider returned no row for it", series=none)
    ]
    assert [record.getMessage() for record in caplog.records if record.name == "pipeline.sources.prices"] == [
        f"{delivery.source} hold no row for {none}"
    ]
    assert f"newest:{none}" not in delivery.state


def test_no_row_for_any_ticker_refuses_the_batch(provider: str) -> None:
    with (
        serving(speaking(provider, {NAMES[provider][0]: []})) as server,
        pytest.raises(BatchRefused, match="hold no row for any ticker: expected some for") as refused,
    ):
        read(recipe_at(server, provider, (NAMES[provider][2],)))

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "answer",
    [reply(status=500), reply(status=429), reply("<html>", Content_Type="text/html"), b"", reply("[1]")],
    ids=["500", "429", "a page", "closed", "another shape"],
)
def test_a_provider_that_is_away_is_unavailable(provider: str, answer: bytes) -> None:
    ticker = NAMES[provider][0]

    with (
        serving(speaking(provider, {ticker: [row(MONDAY, 1.0)]}, instead=answer)) as server,
        pytest.raises((SourceUnavailable, BatchRefused), match="again later|hold no row") as caught,
    ):
        read(recipe_at(server, provider, (ticker,)))

    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, SourceUnavailable) or answer not in (reply(status=500), reply(status=429), b"")


def test_a_provider_that_cannot_be_reached_is_unavailable(provider: str) -> None:
    with serving(lambda _: b"") as server:
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


def test_the_hash_is_that_of_the_days(provider: str) -> None:
    ticker = NAMES[provider][0]
    rows = {ticker: [row(FRIDAY, 1.0), row(MONDAY, 2.0)]}

    with serving(speaking(provider, rows)) as server:
        recipe = recipe_at(server, provider, (ticker,))
        hashes = [read(recipe)[0].content_hash, read(recipe)[0].content_hash]
    with serving(speaking(provider, {ticker: [row(FRIDAY, 1.5), row(MONDAY, 2.0)]})) as server:
        hashes.append(read(recipe_at(server, provider, (ticker,)))[0].content_hash)

    assert hashes[0] == hashes[1] != hashes[2]


def test_a_split_since_has_all_days_asked_for_again() -> None:
    answers = Yahoo(rows={"AAPL": [row(FRIDAY, 100.0)]})
    with serving(answers) as server:
        first, _ = read(recipe_at(server, "yfinance", ("AAPL",)))
        answers.rows = {"AAPL": [row(FRIDAY, 25.0), row(MONDAY, 26.0)]}
        answers.splits = {"AAPL": [MONDAY]}

        second, chunks = read(recipe_at(server, "yfinance", ("AAPL",)), known(first))
        third, more = read(recipe_at(server, "yfinance", ("AAPL",)), known(second))

    assert [values[5] for _, values in rows_in(chunks)] == [25.0, 26.0]
    assert [values[5] for _, values in rows_in(more)] == [26.0]
    assert third.incremental


def test_the_day_is_that_of_the_exchange() -> None:
    with serving(Yahoo(rows={"7203.T": [row(MONDAY, 1.0)]}, zone="Asia/Tokyo")) as server:
        _, chunks = read(recipe_at(server, "yfinance", ("7203.T",)))

    assert [values[0] for _, values in rows_in(chunks)] == [MONDAY]


def test_a_price_that_yahoo_does_not_know_is_null() -> None:
    with serving(Yahoo(rows={"AAPL": [(MONDAY, 1.0, None, 1.0, None, None)]})) as server:
        _, chunks = read(recipe_at(server, "yfinance", ("AAPL",)))

    assert [values[2:6] for _, values in rows_in(chunks)] == [(1.0, None, 1.0, None)]


def test_yfinance_keeps_nothing_at_home(tmp_path: Path) -> None:
    with serving(Yahoo(rows={"AAPL": [row(MONDAY, 1.0)]})) as server:
        read(recipe_at(server, "yfinance", ("AAPL",)))

    assert list(tmp_path.iterdir()) == []


def test_many_candles_are_asked_for_page_by_page() -> None:
    days = [FRIDAY, *WEEKEND, MONDAY, TUESDAY]
    answers = Binance(rows={"BTCUSDT": [row(on, float(n)) for n, on in enumerate(days)]})

    with serving(answers) as server:
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
def test_settings_that_are_none_are_refused(source: str, message: str) -> None:
    with pytest.raises(InvalidRecipe, match=message):
        recipe_at(Server(host="x"), "yfinance", ("AAPL",), source)


def test_slow_providers_are_given_up(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1e9])
    monkeypatch.setattr(prices.time, "monotonic", lambda: next(clock))

    with pytest.raises(SourceUnavailable, match="takes too long: try again later, or raise source.timeout_seconds"):
        read(recipe_at(Server(host="127.0.0.1:1"), provider, NAMES[provider][:1]))
