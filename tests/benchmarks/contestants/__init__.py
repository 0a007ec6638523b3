"""What fits the same LSTM on the same windows, each in a process of its own that measures a round when it is told to."""
