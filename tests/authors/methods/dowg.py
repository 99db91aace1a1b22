"""DoWG beside its authors' code."""

from trajectory import Case

AT = "rka97/dowg@e4dbe02c7cee dowg/dowg.py"
NOTE = "its one eps is r_eps² too; recorded with torch's default type float64, in which it keeps its two numbers"

CASES = [
    Case("DoWG", AT, {"lr": 1.0}, recorded="dowg", note=NOTE),
    Case("DoWG", AT, {"lr": 1.0, "eps": 1e-2, "r_eps": 1e-1}, recorded="dowg_far", note=NOTE),
]
