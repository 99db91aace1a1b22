"""Logs of runs that were made elsewhere: read into one form, and judged with the statistics of a comparison."""
