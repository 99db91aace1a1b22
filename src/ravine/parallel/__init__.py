"""Training on several processes: synchronous, asynchronous, lock-free, and simulated."""
