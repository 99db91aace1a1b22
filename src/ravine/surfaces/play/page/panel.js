// What can be chosen: the surface, how learning rates are set, who runs and with which settings, and the race itself.

import { control } from "./control.js";
import { element } from "./element.js";
import { Pen } from "./pen.js";
import { marker } from "./picture.js";
import { ARROWS } from "./state.js";

const byId = (id) => document.getElementById(id);
const RATES = {
  same: "one for all", default: "each one’s own default", tuned: "tuned for each on this surface",
};

export class Panel {
  // changed(what): "surface", "race" or "look"; what has changed in `state` and must be asked or drawn again.
  constructor(state, choices, backend, changed) {
    Object.assign(this, { state, choices, backend, baked: backend.baked, changed, open: new Set() });
    this.all();
  }

  all() {
    this.surface();
    this.rate();
    this.racers();
    this.more();
  }

  about = (name) => this.choices.optimizers.find((one) => one.name === name);

  surface() {
    const { state, choices } = this, own = typeof state.surface.formula === "string";
    const known = choices.surfaces.find((s) => s.name === state.surface.name);
    const list = element("select", { id: "which", ariaLabel: "Surface" }, ...choices.surfaces.map((s) => new Option(title(s.name), s.name, false, !own && s.name === known?.name)),
      this.baked ? null : new Option("Your own function …", "", false, own));
    list.onchange = () => {
      const chosen = choices.surfaces.find((s) => s.name === list.value);
      state.surface = chosen ? { name: chosen.name, parameters: {} } : { formula: "(x**2 + y - 3)**2 + 2*sin(3*x)" };
      state.start = [...(chosen?.start ?? [-3, 2])];
      state.view = null;
      this.surface();
      if (this.baked) this.racers(); // its rates may be others here
      this.changed("surface");
    };
    const parts = [list];
    if (own) parts.push(this.formula());
    for (const what of (!own && !this.baked && known?.controls) || []) parts.push(control(what, state.surface.parameters[what.name] ?? what.default, (value) => {
      if (value === what.default) delete state.surface.parameters[what.name];
      else state.surface.parameters[what.name] = value;
      this.changed("surface");
    }));
    if (!this.baked) parts.push(this.start());
    refill(byId("surface"), ...parts);
  }

  formula() {
    const { state } = this;
    const box = element("input", { id: "formula", type: "text", value: state.surface.formula, maxLength: 220, spellcheck: false, autocomplete: "off", ariaLabel: "A function of x and y", "aria-describedby": "wrong" });
    const power = element("p", { className: "note", id: "power", textContent: "^ is read as **, a power.", hidden: !state.surface.formula.includes("^") });
    let typing = 0; // every new function has its rates tuned, so it is asked for when the hand rests
    box.oninput = () => {
      state.surface = { formula: box.value };
      state.view = null;
      power.hidden = !box.value.includes("^");
      clearTimeout(typing);
      typing = setTimeout(() => this.changed("surface"), 350);
    };
    return element("div", { className: "formula" }, box, element("p", { id: "wrong", className: "wrong", role: "alert", hidden: true }), power,
      element("p", { className: "note", textContent: "x, y, numbers, + − * / **, sin, cos, exp, log, sqrt, abs, tanh, min, max …" }));
  }

  // A mistake in the formula, with the place marked.
  wrong(error) {
    const place = byId("wrong"), text = byId("formula")?.value;
    if (!place) return;
    place.hidden = !error;
    byId("formula").toggleAttribute("aria-invalid", Boolean(error));
    if (!error) return place.replaceChildren();
    const at = Math.min(error.at ?? 0, text.length);
    place.replaceChildren(error.message, element("br"), element("code", {}, text.slice(0, at), element("mark", { textContent: text[at] ?? " " }), text.slice(at + 1)));
  }

  start() {
    const { state } = this;
    const boxes = [0, 1].map((i) => {
      const box = element("input", { type: "text", inputMode: "decimal", value: String(state.start[i]), id: `start-${"xy"[i]}`, ariaLabel: `start, ${"xy"[i]}` });
      box.onchange = () => {
        const x = Number(box.value);
        if (!Number.isFinite(x) || box.value.trim() === "") return box.setAttribute("aria-invalid", "true");
        box.removeAttribute("aria-invalid");
        state.start[i] = x;
        this.changed("race");
      };
      return box;
    });
    this.starts = boxes;
    return element("div", { className: "control" }, element("label", { htmlFor: "start-x", textContent: "start" }), ...boxes);
  }

  // The start was moved on the picture.
  moved() {
    this.starts?.forEach((box, i) => (box.value = String(this.state.start[i])));
  }

  rate() {
    const { state } = this, place = byId("rate");
    const modes = element("div", { className: "switch", role: "group", ariaLabel: "Learning rate" }, ...Object.keys(RATES).map((mode) => element("button", {
      id: `rate-${mode}`, textContent: mode, ariaPressed: String(state.rate.mode === mode), data: { mode }, onclick: () => {
        state.rate.mode = mode;
        for (const racer of state.racers) delete racer.set.lr; // a rate set by hand gives way
        this.rate();
        this.racers();
        this.changed("race");
      } })));
    const parts = [modes, element("p", { className: "note", id: "rate-note", textContent: RATES[state.rate.mode] + (state.rate.mode === "tuned" ? `: lowest loss from ${this.choices.starts} random starts after as many steps as are shown` : "") })];
    if (state.rate.mode === "same") parts.push(control({ name: "lr", part: null, kind: "number", scale: "log", low: 1e-5, high: 10, values: this.backend.grid?.() }, state.rate.lr, (lr, done) => {
      state.rate.lr = lr;
      this.changed("race", done);
    }));
    refill(place, ...parts);
  }

  racers() {
    const { state, choices } = this, place = byId("racers");
    this.told = new Map();
    this.lrs = new Map();
    const more = element("select", { id: "add", ariaLabel: "Add an optimizer" }, new Option("Add an optimizer …", ""), ...choices.optimizers.map((o) => new Option(o.label, o.name)));
    more.disabled = state.racers.length >= choices.limits.runs;
    more.onchange = () => {
      const used = new Set(state.racers.map((r) => r.ink)), ink = choices.inks.findIndex((_, i) => !used.has(i));
      state.racers.push({ name: more.value, set: {}, ink });
      this.racers();
      this.changed("race");
    };
    refill(place, ...state.racers.map((racer, i) => this.racer(racer, i)), more);
  }

  racer(racer, i) {
    const { state } = this, about = this.about(racer.name), name = label(state, this.choices, i), id = `racer-${i}`;
    const told = element("span", { className: "told" });
    const inside = element("div", { className: "inside", id, hidden: !this.open.has(racer) });
    const open = element("button", { className: "open", ariaExpanded: String(!inside.hidden), onclick: () => {
      inside.hidden = !inside.hidden;
      open.ariaExpanded = String(!inside.hidden);
      this.open[inside.hidden ? "delete" : "add"](racer);
      if (!inside.hidden && !inside.childElementCount) inside.append(...this.settings(racer, about));
    } }, swatch(this.choices.inks[racer.ink % this.choices.inks.length]), element("b", { textContent: name }), told);
    open.setAttribute("aria-controls", id);
    if (!inside.hidden) inside.append(...this.settings(racer, about));
    const away = element("button", { id: `away-${i}`, className: "away", textContent: "×", ariaLabel: `Remove ${name}`, disabled: state.racers.length < 2, onclick: () => {
      state.racers.splice(i, 1);
      this.racers();
      this.changed("race");
    } });
    this.told.set(racer, told);
    return element("div", { className: "racer", data: { racer: racer.name } }, element("div", { className: "head" }, open, away), inside);
  }

  settings(racer, about) {
    const { state } = this;
    const rates = this.baked && this.backend.grid(state.surface.name, racer.name);
    const shown = this.baked ? about.controls.filter((what) => what.name === "lr").map((what) => ({ ...what, values: rates })) : about.controls;
    const reset = element("button", { id: `defaults-${state.racers.indexOf(racer)}`, textContent: "Defaults", onclick: () => {
      Object.assign(racer, { set: {}, strategy: undefined, rho: undefined });
      this.racers();
      this.changed("race");
    } });
    const strategy = (name, what, value) => this.baked ? null : control({ id: `${name}-${state.racers.indexOf(racer)}`, name, part: null, ...what }, value, (x, done) => {
      racer[name] = x;
      if (name === "strategy") this.racers();
      this.changed("race", done);
    });
    const driven = [strategy("strategy", { kind: "choice", choices: this.choices.strategies }, racer.strategy ?? "none"),
      racer.strategy === "SAM" ? strategy("rho", { kind: "number", scale: "log", low: 1e-3, high: 10 }, racer.rho ?? 0.05) : null].filter(Boolean);
    return [element("p", { textContent: about.about }), ...shown.map((what) => {
      const whole = racer.set[what.name], value = what.part === null ? whole : whole?.[what.part];
      const lr = what.name === "lr" && whole === undefined;
      const made = control(what, value ?? (lr ? this.lr?.(racer) ?? what.default : what.default), (x, done) => {
        const all = about.controls.filter((other) => other.name === what.name);
        const next = what.part === null ? x : all.map((other) => (other.part === what.part ? x : racer.set[what.name]?.[other.part] ?? other.default));
        const same = what.name !== "lr" && (what.part === null ? next === what.default : all.every((other) => next[other.part] === other.default));
        if (same) delete racer.set[what.name];
        else racer.set[what.name] = next;
        this.changed("race", done);
      });
      if (what.name === "lr") this.lrs.set(racer, made);
      return made;
    }), ...driven, reset];
  }

  more() {
    const { state, choices, baked } = this, place = byId("more");
    const parts = [];
    if (!baked) parts.push(
      control({ name: "steps", part: null, kind: "whole", default: 300, low: 10, high: choices.limits.steps }, state.steps, (steps, done) => {
        state.steps = Math.min(Math.max(Math.round(steps), 1), choices.limits.steps);
        this.changed("race", done);
      }),
      control({ name: "seed", part: null, kind: "whole", default: 0, low: 0, high: 99 }, state.seed, (seed, done) => {
        state.seed = Math.max(0, Math.round(seed));
        this.changed("race", done);
      }));
    for (const name of baked ? ["step"] : ARROWS) parts.push(control({ name: { gradient: "arrow against the gradient", momentum: "arrow of the momentum", step: "arrow of the step" }[name], kind: "switch" }, state.arrows.includes(name), (on) => {
      state.arrows = ARROWS.filter((other) => (other === name ? on : state.arrows.includes(other)));
      this.changed("race");
    }));
    refill(place, ...parts);
  }

  // Rates that nobody set by hand are those of the race that was answered.
  rated() {
    for (const [racer, made] of this.lrs) if (racer.set.lr === undefined && this.lr(racer) !== undefined) made.show(this.lr(racer));
  }

  // What each is at now, beside its name.
  tell(words) {
    for (const [racer, place] of this.told) place.textContent = words(racer) ?? "";
  }
}

// New contents under the heading; who had the focus has it again.
function refill(place, ...parts) {
  const id = place.contains(document.activeElement) && document.activeElement.id;
  place.replaceChildren(place.firstElementChild, ...parts);
  if (id) (byId(id) ?? place.querySelector("select, button:not(:disabled)"))?.focus();
}

// "Adam", and "Adam 2" where there are two; "SAM(Adam)" where it is driven.
export function label(state, choices, i) {
  const called = ({ name, strategy = "none" }) => {
    const own = choices.optimizers.find((o) => o.name === name).label;
    return strategy === "none" ? own : `${strategy}(${own})`;
  };
  const mine = called(state.racers[i]), before = state.racers.slice(0, i).filter((racer) => called(racer) === mine).length;
  return mine + (before ? ` ${before + 1}` : "");
}

export function swatch(ink) {
  const pen = new Pen(18, 18);
  marker(pen, 9, 9, ink.marker, 7);
  pen.fillStyle = ink.colour;
  pen.fill();
  const holder = element("span", { className: "swatch", "aria-hidden": "true" });
  holder.innerHTML = pen.toString();
  return holder;
}

export const title = (name) => name[0].toUpperCase() + name.slice(1).replaceAll("-", " ");
