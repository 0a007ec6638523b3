"""PyTorch, tuned: oneDNN's LSTM, the fused optimizer, windows taken from the values by index."""

import numpy as np
import torch
from rounds import STEPS, Clock, shape

SERIES = 2000
LEVELS = torch.tensor([0.025, 0.1, 0.5, 0.9, 0.975])


class Network(torch.nn.Module):
    """LSTM layers and a linear one."""

    def __init__(self, units: int, layers: int, horizon: int) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(2, units, layers, batch_first=True)
        self.dense = torch.nn.Linear(units, horizon * len(LEVELS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(self.lstm(x)[0][:, -1])


def main() -> None:
    """Measure."""
    told = shape()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    length = told.context + told.horizon + 60
    rng = np.random.default_rng(0)
    walks = 80 + np.cumsum(rng.normal(size=(SERIES, length)), axis=1) + 10 * np.sin(np.arange(length) / 2)
    values = torch.from_numpy(walks.clip(5).ravel().astype(np.float32))
    network = Network(told.units, told.layers, told.horizon)
    optimizer = torch.optim.Adam(network.parameters(), 0.001, fused=True)
    steps = torch.arange(told.context + told.horizon)
    clock = Clock()
    for _ in range(told.rounds + 1):
        for _ in range(STEPS):
            series, start = torch.randint(SERIES, (told.batch,)), torch.randint(60, (told.batch,))
            window = values[(series * length + start)[:, None] + steps]
            last = window[:, told.context - 1 : told.context]
            size = (window[:, 1 : told.context] - window[:, : told.context - 1]).abs().mean(1, keepdim=True)
            scaled = (window - last) / size
            x = torch.stack([scaled[:, : told.context], torch.ones(told.batch, told.context)], dim=-1)
            error = scaled[:, told.context :, None] - network(x).view(-1, told.horizon, len(LEVELS))
            loss = torch.maximum(LEVELS * error, (LEVELS - 1) * error).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
        loss.item()
        clock.told()


if __name__ == "__main__":
    main()
