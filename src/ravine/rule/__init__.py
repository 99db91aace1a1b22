"""What a rule is made of: its hyperparameters and how they are checked, and the modifiers that it can wear."""
