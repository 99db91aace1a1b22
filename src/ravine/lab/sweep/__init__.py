"""Running many trials: workers, how they are hired and heard, and what the terminal shows meanwhile."""
