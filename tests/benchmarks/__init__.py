"""Benchmarks: ratios within one run, interleaved, medians; `make bench` prints them."""
