"""Write down the factors that curvlinops makes of the problems of factored.py: python record_curvlinops.py"""

import json
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch
from factored import SETTINGS, theirs


def main():
    torch.set_default_dtype(torch.float64)
    record = {
        "source": f"curvlinops-for-pytorch {version('curvlinops-for-pytorch')}",
        "recorded": f"{date.today()}, torch {torch.__version__.split('+')[0]}, float64",
        "factors": {
            "-".join(setting): {
                k: [None if x is None else x.tolist() for x in arrays] for k, arrays in theirs(*setting).items()
            }
            for setting in SETTINGS
        },
    }
    out = Path(__file__).parent / "recorded" / "curvlinops.json"
    out.write_text(json.dumps(record) + "\n")
    print(out, len(record["factors"]), "settings")


if __name__ == "__main__":
    main()
