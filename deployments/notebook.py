"""Train on the milk series in a frame, forecast the next year, keep the model, and see how well past years went.

Run from the root of a clone: `python deployments/notebook.py FOLDER`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from pipeline.api import backtest, fit, load

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    milk = pd.read_csv(Path(__file__).parent / "data" / "monthly_milk_production.csv")
    milk = milk.assign(series="milk", period=pd.to_datetime(milk["Date"]), value=milk["Production"])

    model = fit(milk, frequency="MS", horizon=12)
    print(model.predict(milk)[["period", "mean", "lower_80", "upper_80", "method"]].to_string(index=False))

    model.save(folder)
    assert load(folder).predict(milk).equals(model.predict(milk))

    scores = backtest(milk, frequency="MS", horizon=12, origins=2, model={"architecture": "vanilla"}).scores()
    print(scores[["mase", "smape", "coverage_80"]].round(2).to_string())
