"""Trained networks at work, and how good they are: inference, metrics, the benchmarks' tables, statistics."""
