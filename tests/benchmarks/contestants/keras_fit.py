"""Keras as tutorials write it: windows in an array, `compile`, `fit`."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import ops

from tests.benchmarks.contestants.rounds import STEPS, Clock, shape

LEVELS = np.array([0.025, 0.1, 0.5, 0.9, 0.975], np.float32)


def pinball(observed: object, told: object) -> object:
    """The mean pinball loss."""
    error = ops.expand_dims(observed, -1) - told
    return ops.mean(ops.maximum(LEVELS * error, (LEVELS - 1) * error))


def main() -> None:
    """Measure."""
    told = shape()
    rng = np.random.default_rng(0)
    count = STEPS * told.batch
    x = rng.normal(size=(count, told.context, 2)).astype(np.float32)
    y = rng.normal(size=(count, told.horizon)).astype(np.float32)
    network = keras.Sequential([keras.Input((told.context, 2))])
    for layer in range(told.layers):
        network.add(keras.layers.LSTM(told.units, return_sequences=layer < told.layers - 1))
    network.add(keras.layers.Dense(told.horizon * len(LEVELS)))
    network.add(keras.layers.Reshape((told.horizon, len(LEVELS))))
    clock = Clock()
    network.compile(keras.optimizers.Adam(0.001, clipnorm=1.0), pinball)
    for _ in range(told.rounds + 1):
        network.fit(x, y, batch_size=told.batch, epochs=1, verbose=0)
        clock.told()


if __name__ == "__main__":
    main()
