"""Write down the path of an optimizer whose code is only in a repository (numbers, never code):

    python tests/authors/record.py NAME SOURCE FILE.py 'Class(params, lr=1e-3)' [SHAPES [HEIGHT]]

SOURCE says which file of which repository at which commit FILE.py is. Inside the expression, `params` are the
parameters and the names of FILE.py are known. SHAPES is a Python tuple of shapes, if not the usual ones (None). HEIGHT
is how large the first weights are: 0 starts at 0.
"""

import ast
import json
import sys
from datetime import date
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import torch
import trajectory


def main(name, source, file, expression, shapes="None", height="1.5"):
    shapes = ast.literal_eval(shapes) or trajectory.SHAPES
    sys.path.insert(0, str(Path(file).resolve().parent))
    spec = spec_from_file_location("theirs", file)
    module = module_from_spec(spec)
    sys.modules["theirs"] = module
    spec.loader.exec_module(module)
    params = trajectory.start(shapes, height=float(height))
    opt = eval(expression, vars(module) | {"params": params, "torch": torch})
    path = trajectory.path(params, lambda at: opt.step())
    record = {
        "source": source,
        "made": expression,
        "recorded": f"{date.today()}, torch {torch.__version__.split('+')[0]}, float64",
        "shapes": shapes,
        "steps": trajectory.SEEN,
        "path": path,
    }
    out = trajectory.HERE / "recorded" / f"{name}.json"
    out.write_text(json.dumps(record) + "\n")
    print(out, sum(len(x) for x in path[0]), "numbers a step")


if __name__ == "__main__":
    main(*sys.argv[1:])
