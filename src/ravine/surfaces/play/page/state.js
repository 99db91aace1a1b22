// What the person has chosen, and its place in the address: a page that is loaded again, or sent to a friend, is the same.

export const LOOKS = ["contour", "relief", "rates", "basins"];
export const ARROWS = ["gradient", "momentum", "step"];
const FIRST = ["sgd", "momentum", "adagrad", "rmsprop", "adam"];

export function beginning(choices) {
  const surface = choices.surfaces.find((s) => s.name === "beale") ?? choices.surfaces[0];
  const there = choices.optimizers.map((o) => o.name), first = FIRST.filter((name) => there.includes(name)), names = first.length ? first : there.slice(0, FIRST.length);
  return {
    surface: { name: surface.name, parameters: {} }, start: [...surface.start], view: null, steps: 300, seed: 0,
    rate: { mode: "tuned", lr: 0.01 }, racers: names.map((name, ink) => ({ name, set: {}, ink })),
    look: "contour", unit: "steps", arrows: [], turn: [0.6, 0.9],
  };
}

// In the address it is JSON in base64, so that nothing in it needs to be escaped.

export function toHash(state) {
  const bytes = new TextEncoder().encode(JSON.stringify(state));
  return "#v1=" + btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export function fromHash(hash, choices) {
  const first = beginning(choices);
  if (!hash.startsWith("#v1=")) return first;
  const text = atob(hash.slice(4).replaceAll("-", "+").replaceAll("_", "/"));
  const read = JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (c) => c.charCodeAt(0))));
  return checked({ ...first, ...read }, choices);
}

// An address can be written by anybody, and old ones know nothing of what is new: what does not fit is refused.
function checked(state, choices) {
  const number = (x) => typeof x === "number" && Number.isFinite(x);
  const pair = (x) => Array.isArray(x) && x.length === 2 && x.every(number);
  const object = (x) => x !== null && typeof x === "object" && !Array.isArray(x);
  const known = (list, name) => list.some((one) => one.name === name), rising = (x) => pair(x) && x[0] < x[1];
  const parameters = ({ name, parameters: given }) => object(given) && Object.entries(given).every(([key, x]) => number(x) && known(choices.surfaces.find((s) => s.name === name).controls, key));
  const fits = object(state.surface) && pair(state.start) && (state.view === null || (state.view.length === 2 && state.view.every(rising)))
    && (typeof state.surface.formula === "string" || (known(choices.surfaces, state.surface.name) && parameters(state.surface)))
    && number(state.steps) && number(state.seed) && number(state.rate.lr) && ["same", "default", "tuned"].includes(state.rate.mode)
    && LOOKS.includes(state.look) && ["steps", "evaluations"].includes(state.unit) && pair(state.turn)
    && Array.isArray(state.arrows) && state.arrows.every((a) => ARROWS.includes(a)) && Array.isArray(state.racers) && state.racers.length > 0
    && state.racers.every((r) => known(choices.optimizers, r.name) && object(r.set) && Number.isInteger(r.ink) && r.ink >= 0
      && (r.strategy === undefined || choices.strategies.includes(r.strategy)) && (r.rho === undefined || number(r.rho)));
  if (!fits) throw new Error("not a state");
  return state;
}
