// The race as a script: the same surface, start, settings and steps, and so the same numbers.

import { label } from "./panel.js";

export function python(state, choices, settings) {
  const known = choices.surfaces.find((s) => s.name === state.surface.name), own = typeof state.surface.formula === "string";
  const parameters = Object.entries(state.surface.parameters ?? {}).map(([name, x]) => `, ${name}=${written(x)}`).join("");
  const surface = own ? `Expression(${quoted(state.surface.formula)})` : `find("${known.name}"${parameters})`;
  const from = own ? "from ravine.surfaces.play.expression import Expression" : "from ravine.surfaces import find";
  const racers = state.racers.map((racer, i) => {
    const optimizer = choices.optimizers.find((o) => o.name === racer.name);
    const set = Object.entries(settings[i]).map(([name, x]) => `"${name}": ${value(optimizer, name, x)}`).join(", ");
    return `    "${label(state, choices, i)}": (${maker(racer, optimizer)}, {${set}}),`;
  });
  const strategies = [...new Set(state.racers.map((racer) => racer.strategy ?? "none"))].filter((name) => name !== "none").sort();
  const driven = strategies.length ? `\nfrom ravine.strategies import ${strategies.join(", ")}` : "";
  const head = `surface = ${surface}\nstart, steps = (${state.start.map(float).join(", ")}), ${state.steps}\nracers = {\n${racers.join("\n")}\n}\n`;
  if (own || known.plain) return `import torch

import ravine${driven}
${from}

${head}
paths = {}
for name, (optimizer, settings) in racers.items():
    p = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    opt = optimizer([p], **settings)
    path = [p.tolist()]

    def closure():
        opt.zero_grad()
        loss = surface.loss(*p)
        loss.backward()
        return loss

    for _ in range(steps):
        opt.step(closure)
        path.append(p.tolist())
    paths[name] = path
    print(f"{name:<20} ends at ({p[0]:.6g}, {p[1]:.6g}) with loss {surface.loss(*p):.6g}")
`;
  return `import ravine${driven}
from ravine.surfaces import Run, descend, find

${head}
runs = [Run(optimizer, settings, start, seed=${state.seed}) for optimizer, settings in racers.values()]
paths = {name: path.points.tolist() for name, path in zip(racers, descend(surface, runs, steps))}
for name, path in paths.items():
    print(f"{name:<20} ends at ({path[-1][0]:.6g}, {path[-1][1]:.6g})")
`;
}

function maker({ strategy = "none", rho = 0.05 }, { label: cls }) {
  if (strategy === "none") return `ravine.${cls}`;
  return `lambda params, **settings: ${strategy}(ravine.${cls}(params, **settings)${strategy === "SAM" ? `, rho=${float(rho)}` : ""})`;
}

function value(optimizer, name, x) {
  if (Array.isArray(x)) return `(${x.map((part) => value(optimizer, name, part)).join(", ")},)`.replace(/,\)$/, x.length > 1 ? ")" : ",)");
  const whole = optimizer.controls.find((c) => c.name === name)?.kind === "whole";
  return typeof x === "number" && !whole ? float(x) : written(x);
}

// JavaScript and Python write a number in the fewest digits that are it; only the whole ones look different.
const float = (x) => (Number.isInteger(x) && Math.abs(x) < 1e16 ? `${x}.0` : String(x));
const written = (x) => (x === true ? "True" : x === false ? "False" : x === null ? "None" : x === "inf" ? 'float("inf")' : typeof x === "string" ? quoted(x) : String(x));
const quoted = (text) => JSON.stringify(text);
