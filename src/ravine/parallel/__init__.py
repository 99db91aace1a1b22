"""Parallel and asynchronous training."""
