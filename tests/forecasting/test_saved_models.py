"""A model that is saved to a folder is loaded from there as it was; anything else is refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ModelRefused
from pipeline.forecasting.forecaster import (
    MANIFEST,
    MODEL_FILES,
    build_manifest,
    hash_model,
    load_forecaster,
    load_saved_forecaster,
    read_model_files,
    save_model_files,
)
from pipeline.training.process_files import TrainedModel
from tests.support.examples import small_panel


@pytest.fixture
def folder(outcome: TrainedModel, tmp_path: Path) -> Path:
    """Holds the small recipe's model."""
    save_model_files(outcome.files, tmp_path / "models" / "small")
    return tmp_path / "models" / "small"


def test_a_saved_model_forecasts_what_it_forecast_before(outcome: TrainedModel, folder: Path) -> None:
    original = load_forecaster(outcome.files, hash_model(outcome.files))

    loaded = load_saved_forecaster(folder)

    assert loaded.model_hash == original.model_hash
    for before, after in zip(original.predict(small_panel()), loaded.predict(small_panel()), strict=True):
        np.testing.assert_array_equal(after, before)


def test_the_files_of_a_saved_model_are_read_as_they_were_written(outcome: TrainedModel, folder: Path) -> None:
    assert read_model_files(folder) == outcome.files


def test_saving_over_a_model_replaces_it(outcome: TrainedModel, folder: Path) -> None:
    files = {name: outcome.files[name] for name in MODEL_FILES} | {"weights.npz": b"other weights"}
    files[MANIFEST] = build_manifest(files)

    save_model_files(files, folder)

    assert read_model_files(folder) == files


@pytest.mark.parametrize("name", MODEL_FILES)
def test_a_saved_model_without_one_of_its_files_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()

    with pytest.raises(ModelRefused, match=f"small holds no usable model: {name} is missing or was changed; save the"):
        load_saved_forecaster(folder)


@pytest.mark.parametrize("name", MODEL_FILES)
def test_a_saved_model_with_a_changed_file_is_refused(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)

    with pytest.raises(ModelRefused, match=f"small holds no usable model: {name} is missing or was changed; save the"):
        load_saved_forecaster(folder)


def test_a_folder_without_a_manifest_holds_no_model(folder: Path) -> None:
    (folder / MANIFEST).unlink()

    with pytest.raises(ModelRefused, match=r"manifest.json is missing; expected forecaster.json, golden.npz, network"):
        load_saved_forecaster(folder)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"format": 1}', b'{"files": 3}'])
def test_a_manifest_that_cannot_be_read_is_refused(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)

    with pytest.raises(ModelRefused, match=r"holds no usable model: manifest.json lists no files; save the model"):
        load_saved_forecaster(folder)


def test_a_manifest_of_other_files_is_refused(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(build_manifest({"../secrets.txt": b"", "network.onnx": b""}))

    with pytest.raises(ModelRefused, match=r"lists ../secrets.txt, network.onnx; expected forecaster.json, golden.npz"):
        load_saved_forecaster(folder)


def test_a_folder_that_does_not_exist_holds_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="nowhere holds no usable model: it is not a folder"):
        load_saved_forecaster(tmp_path / "nowhere")


def test_files_that_are_not_a_model_are_not_saved(outcome: TrainedModel, tmp_path: Path) -> None:
    incomplete = {name: content for name, content in outcome.files.items() if name != "network.onnx"}

    with pytest.raises(ModelRefused, match="these files are not a model: network.onnx is missing or was changed"):
        save_model_files(incomplete, tmp_path / "model")

    assert not (tmp_path / "model").exists()
