"""`nextperiod init`: a folder that runs, from an example, a file or an address."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from flows.cli.init import example_names
from pipeline.config.loader import load_recipe
from tests.end_to_end.shell import Shell, shell_in
from tests.sources.server import response, serve
from tests.support.containers import DEPLOYMENTS, read_compose
from tests.support.generated_readme import commands

DAYS = "".join(f"{day:02}.01.2025;{day},5\n" for day in range(1, 32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("person")


@pytest.fixture(scope="module")
def shell(folder: Path) -> Iterator[Shell]:
    with shell_in(folder) as shell:
        yield shell


def test_without_a_file_the_folder_holds_an_example_with_its_data(shell: Shell, folder: Path) -> None:
    said = shell.types("init", "first")

    assert said.status == 0, said.err
    recipe = load_recipe("milk", folder / "first/recipes")
    assert (recipe.folder / recipe.source.path).resolve() == folder / "first/data/monthly_milk_production.csv"
    assert "next: cd first && nextperiod run milk" in said.out


def test_a_file_becomes_a_recipe_with_what_was_detected(shell: Shell, folder: Path) -> None:
    (folder / "Umsatz 2025.csv").write_text("Tag;Umsatz\n" + DAYS)

    facts = shell.types("init", "shop", "--from", "Umsatz 2025.csv", "--json").facts

    document = tomllib.loads((folder / "shop/recipes/umsatz-2025.toml").read_text())
    assert document["source"] == {
        "kind": "csv",
        "path": str(folder / "Umsatz 2025.csv"),
        "delimiter": ";",
        "period": "Tag",
        "period_format": "%d.%m.%Y",
        "value": "Umsatz",
    }
    assert (document["frequency"], document["horizon"], document["publish"]["minimum"]) == ("D", 14, 0)
    assert 'frequency: "D"' in facts["detected"]


def test_the_schedule_is_one_that_prefect_reads(shell: Shell, folder: Path) -> None:
    shell.types("init", "scheduled", "--from", "airline")

    watch, score, backtest, deployment = yaml.safe_load((folder / "scheduled/prefect.yaml").read_text())["deployments"]
    assert watch["entrypoint"] == "flows.watch.watch"
    assert watch["work_pool"] == deployment["work_pool"]
    assert deployment["entrypoint"] == "flows.cycle.cycle"
    assert deployment["parameters"] == {"recipe": "airline", "timeout_minutes": 180}
    assert [block["parameters"] for block in (score, backtest)] == [{"step": "score"}, {"step": "backtest"}]
    assert {block["entrypoint"] for block in (score, backtest)} == {"flows.each_recipe.each_recipe"}
    assert deployment["schedules"][0]["cron"] == "15 5 2 * *"
    assert deployment["work_pool"]["job_variables"]["working_dir"] == "{{ $PWD }}"


def test_its_settings_name_its_recipes(shell: Shell, folder: Path) -> None:
    shell.types("init", "settings")

    assert "NEXTPERIOD_RECIPES=recipes\n" in (folder / "settings/env.example").read_text()


def test_its_containers_are_those_of_the_clone_under_another_name(shell: Shell, folder: Path) -> None:
    shell.types("init", "contained")

    own, whole = read_compose(folder / "contained/compose.yaml"), read_compose(DEPLOYMENTS / "compose.yaml")
    assert (whole["name"], own["name"]) == ("nextperiod", "milk")
    assert own["services"] == whole["services"]
    assert os.access(folder / "contained/databases.sh", os.X_OK)


def test_its_worker_sees_a_file_where_the_recipe_has_it(shell: Shell, folder: Path) -> None:
    data = folder / "its $ file.csv"
    data.write_text("Tag;Umsatz\n" + DAYS)

    shell.types("init", "mounted", "--from", str(data))

    worker = read_compose(folder / "mounted/compose.yaml")["services"]["worker"]
    written = str(data).replace("$", "$$")  # otherwise Docker takes it for a variable
    assert {"type": "bind", "source": written, "target": written, "read_only": True} in worker["volumes"]
    assert not [mount for mount in worker["volumes"] if "data:" in mount]


@pytest.mark.parametrize("origin", ["integers", "address"])
def test_its_worker_sees_no_folder_that_is_not_there(shell: Shell, folder: Path, origin: str) -> None:
    with serve(lambda _: response("Tag;Umsatz\n" + DAYS, Content_Type="text/csv")) as server:
        shell.types("init", f"without-{origin}", "--from", f"{server.url}/load.csv" if origin == "address" else origin)

    worker = read_compose(folder / f"without-{origin}/compose.yaml")["services"]["worker"]
    assert [mount.split(":")[0] for mount in worker["volumes"]] == ["./recipes", "./prefect.yaml"]


def test_a_name_of_digits_stays_a_text_in_the_schedule(shell: Shell, folder: Path) -> None:
    (folder / "2025.csv").write_text("Tag;Umsatz\n" + DAYS)

    said = shell.types("init", "digits", "--from", "2025.csv")

    assert said.status == 0, said.err
    *_, deployment = yaml.safe_load((folder / "digits/prefect.yaml").read_text())["deployments"]
    assert (deployment["name"], deployment["parameters"]["recipe"]) == ("2025", "2025")


def test_a_folder_that_cannot_be_written_is_named(shell: Shell) -> None:
    said = shell.types("init", "/proc/none/first")

    assert said.status == 1
    assert said.err.startswith("nextperiod: /proc/none/first cannot be written: ")
    assert said.err.count("\n") == 1


def test_the_help_names_the_examples() -> None:
    option = next(parameter for parameter in commands()["init"].params if parameter.name == "origin")

    assert option.help == f"A file, an address, or an example: {', '.join(example_names())}."


def test_an_empty_folder_is_filled_and_another_is_left_alone(shell: Shell, folder: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "full").mkdir()
    (folder / "full/note").write_text("mine")

    assert shell.types("init", "empty").status == 0
    said = shell.types("init", "full")

    assert said.status == 1
    assert said.err == "nextperiod: full is not empty: expected the name of a new or an empty folder\n"
    assert [path.name for path in (folder / "full").iterdir()] == ["note"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty: expected a header line and rows"),
        ("name,sold\na,1\nb,2\n", "no column holds periods at regular distances; its columns are name, sold"),
        ("\x00\x01\x02", "byte"),
    ],
)
def test_a_file_in_which_nothing_is_detected_leaves_no_folder(
    shell: Shell, folder: Path, content: str, message: str
) -> None:
    (folder / "odd.csv").write_text(content)

    said = shell.types("init", "odd", "--from", "odd.csv")

    assert said.status == 1
    assert message in said.err
    assert said.err.count("\n") <= 2
    assert not (folder / "odd").exists()


def test_what_does_not_exist_is_named_with_the_examples(shell: Shell) -> None:
    said = shell.types("init", "none", "--from", "nothing.csv")

    assert said.status == 1
    assert "there is no example and no file nothing.csv" in said.err
    assert "milk" in said.err


def test_an_address_is_read_and_named_in_the_recipe(shell: Shell, folder: Path) -> None:
    answer = response("Tag;Umsatz\n" + DAYS, Content_Type="text/csv")
    with serve(lambda _: answer) as server:
        address = f"{server.url}/load.csv?key=1"
        said = shell.types("init", "remote", "--from", address, "--json")

    assert said.status == 0, said.err
    assert json.loads(said.out)["recipe"] == "load"
    source = tomllib.loads((folder / "remote/recipes/load.toml").read_text())["source"]
    assert (source["kind"], source["url"]) == ("http", address)


def test_an_address_that_answers_with_a_page_is_refused(shell: Shell, folder: Path) -> None:
    answer = response("<html>log in</html>", Content_Type="text/html")
    with serve(lambda _: answer) as server:
        said = shell.types("init", "page", "--from", f"{server.url}/load.csv")

    assert said.status == 1
    assert "answers with a page, not with csv" in said.err
    assert not (folder / "page").exists()
