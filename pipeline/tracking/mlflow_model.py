"""Write an MLflow model folder in the Keras flavor, or in the ONNX flavor for a network that Keras has not fitted.

`mlflow.keras` can write it only from a network loaded in TensorFlow, and infers the requirements by loading the
network once more, so the folder is written here from the files of the trained model.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.forecasting.forecaster import MANIFEST, MODEL_FILES

if TYPE_CHECKING:
    from mlflow.models import Model, ModelSignature

#: packages that are needed to load the network, by flavor
_REQUIREMENTS = {"keras": ("keras", "mlflow", "tensorflow"), "onnx": ("mlflow", "onnx", "onnxruntime")}
#: where the ONNX flavor has the network
_ONNX_FILE = "model.onnx"
_PYTHON_ENV = "python: '3.11'\nbuild_dependencies:\n- pip\ndependencies:\n- -r requirements.txt\n"


def write_mlflow_model(folder: Path, files: Mapping[str, bytes], *, run_id: str, model_id: str) -> None:
    """Write the folder that `mlflow.keras.save_model` or `mlflow.onnx.save_model` would write, and the model directory.

    The model directory is in `forecaster/`.

    Args:
        folder: an empty folder.
        files: content by file name: the model directory and, where Keras has fitted it, the archive `network.keras`.
        run_id: MLflow's run of the training.
        model_id: MLflow's id of the logged model.
    """
    from mlflow.models import Model

    model = Model(signature=_signature(files["golden.npz"]), run_id=run_id, model_id=model_id)
    flavor = "keras" if "network.keras" in files else "onnx"
    content = _add_keras(model, files) if flavor == "keras" else _add_onnx(model, files)
    content |= {
        "requirements.txt": "".join(f"{name}=={version(name)}\n" for name in _REQUIREMENTS[flavor]).encode(),
        "python_env.yaml": _PYTHON_ENV.encode(),
        **{f"forecaster/{name}": files[name] for name in (*MODEL_FILES, MANIFEST)},
    }
    write_files(folder, content)
    model.save(str(folder / "MLmodel"))


def _add_keras(model: Model, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Add the Keras flavor to a model, and return its files by path."""
    from mlflow import pyfunc

    model.add_flavor(
        "keras", data="data", keras_version=version("keras"), keras_backend="tensorflow", save_exported_model=False
    )
    pyfunc.add_to_model(model, loader_module="mlflow.keras", python_env="python_env.yaml")
    return {"data/model.keras": files["network.keras"], "data/keras_module.txt": b"keras"}


def _add_onnx(model: Model, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Add the ONNX flavor to a model, and return its files by path."""
    from mlflow import pyfunc

    providers = ["CPUExecutionProvider"]
    model.add_flavor("onnx", onnx_version=version("onnx"), data=_ONNX_FILE, providers=providers)
    pyfunc.add_to_model(model, loader_module="mlflow.onnx", data=_ONNX_FILE, python_env="python_env.yaml")
    return {_ONNX_FILE: files["network.onnx"]}


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write content by path below the folder; missing folders are created."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _signature(golden: bytes) -> ModelSignature:
    """Inputs and outputs of the network, with the names and shapes of its golden batch [N, …]."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    with np.load(io.BytesIO(golden), allow_pickle=False) as arrays:
        shapes = {name: (-1, *arrays[name].shape[1:]) for name in sorted(arrays.files)}
    specs = {name: TensorSpec(np.dtype(np.float32), shape, name=name) for name, shape in shapes.items()}
    outputs = specs.pop("outputs")
    return ModelSignature(inputs=Schema(list(specs.values())), outputs=Schema([outputs]))
