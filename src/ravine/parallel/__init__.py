"""Training on several processes, in step and out of step."""
