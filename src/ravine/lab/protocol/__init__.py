"""What an experiment is and what its outcome means: trials, how they are chosen and kept, and what they show."""
