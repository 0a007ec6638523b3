"""Networks: one file per architecture, each a function from sizes to an untrained `keras.Model`."""
