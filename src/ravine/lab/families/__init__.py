"""Several workers on one task: the families of parallel training, each run and looked at in the same way."""
