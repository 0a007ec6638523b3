"""A contestant's side of the measurement: a line in, a round, its seconds out. Nothing but the standard library."""

import argparse
import json
import sys
import time

STEPS = 25


def shape() -> argparse.Namespace:
    """The shape that is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--context", type=int, default=36)
    parser.add_argument("--horizon", type=int, default=18)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=6)
    return parser.parse_args()


class Clock:
    """Waits to be told, and tells how long what was done since took."""

    def __init__(self) -> None:
        self.began = time.perf_counter()

    def told(self) -> None:
        """End a round and wait for the next."""
        print(json.dumps(time.perf_counter() - self.began), flush=True)
        if not sys.stdin.readline():
            sys.exit(0)
        self.began = time.perf_counter()
