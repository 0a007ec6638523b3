"""neuralforecast's LSTM, as its pages write it, of the same size."""

import logging

import numpy as np
import pandas as pd
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MQLoss
from neuralforecast.models import LSTM
from pytorch_lightning.callbacks import Callback
from rounds import STEPS, Clock, shape

SERIES = 2000


class Rounds(Callback):
    """A round is so many batches."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.done = clock, 0

    def on_train_batch_end(self, *_: object) -> None:
        """Count."""
        self.done += 1
        if self.done % STEPS == 0:
            self.clock.told()


def main() -> None:
    """Measure."""
    told = shape()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    length = told.context + told.horizon + 60
    rng = np.random.default_rng(0)
    walks = 80 + np.cumsum(rng.normal(size=(SERIES, length)), axis=1) + 10 * np.sin(np.arange(length) / 2)
    days = pd.date_range("2020-01-01", periods=length)
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(SERIES), length),
            "ds": np.tile(days, SERIES),
            "y": walks.clip(5).ravel(),
        }
    )
    clock = Clock()
    model = LSTM(
        h=told.horizon,
        input_size=told.context,
        encoder_n_layers=told.layers,
        encoder_hidden_size=told.units,
        decoder_layers=1,
        decoder_hidden_size=told.units,
        loss=MQLoss(quantiles=[0.025, 0.1, 0.5, 0.9, 0.975]),
        max_steps=(told.rounds + 1) * STEPS,
        batch_size=32,
        windows_batch_size=told.batch,
        scaler_type="standard",
        gradient_clip_val=1.0,
        enable_progress_bar=False,
        logger=False,
        enable_checkpointing=False,
        accelerator="cpu",
        callbacks=[Rounds(clock)],
    )
    NeuralForecast(models=[model], freq="D").fit(frame)


if __name__ == "__main__":
    main()
