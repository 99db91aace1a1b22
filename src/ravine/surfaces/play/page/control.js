// One thing to move: a slider with a number, a switch or a choice, as the server describes it for a typed field.

import { element } from "./element.js";

const TURNS = 1000; // places of a slider

const scales = {
  linear: { to: (x, { low, high }) => (x - low) / (high - low), from: (p, { low, high }) => rounded(low + p * (high - low), (high - low) / 500) },
  log: { to: (x, { low, high }) => Math.log(x / low) / Math.log(high / low), from: (p, { low, high }) => digits(low * (high / low) ** p) },
  "zero-log": { to: (x, c) => (x > 0 ? 0.04 + 0.96 * scales.log.to(x, c) : 0), from: (p, c) => (p < 0.03 ? 0 : scales.log.from((p - 0.04) / 0.96, c)) },
  "near-one": { to: (x, { high }) => Math.log(1 - Math.min(x, high)) / Math.log(1 - high), from: (p, { high }) => +(1 - +((1 - high) ** p).toPrecision(2)).toFixed(8) },
};
// Nothing but these values, in equal steps.
const among = (values) => ({
  to: (x) => values.reduce((best, v, i) => (Math.abs(Math.log(v / x)) < Math.abs(Math.log(values[best] / x)) ? i : best), 0) / (values.length - 1),
  from: (p) => values[Math.round(p * (values.length - 1))],
});
const digits = (x) => +x.toPrecision(3);
const rounded = (x, unit) => +(Math.round(x / unit) * unit).toPrecision(4);

// What is in effect: a number, or Infinity where JSON has "inf".
const number = (x) => (x === "inf" ? Infinity : x === "-inf" ? -Infinity : x);

// change(value, done): done is false while a slider is still moved.
export function control(what, value, change) {
  const name = what.part === null || what.part === undefined ? what.name : `${what.name}[${what.part}]`, id = what.id ?? `control-${control.count++}`;
  const label = element("label", { htmlFor: id, textContent: name.replaceAll("_", " ") });
  if (what.kind === "switch") {
    const box = element("input", { id, type: "checkbox", checked: value, onchange: () => change(box.checked, true) });
    return element("div", { className: "control one" }, box, label);
  }
  if (what.kind === "choice") {
    const list = element("select", { id, onchange: () => change(list.value, true) }, ...what.choices.map((one) => new Option(one, one, false, one === value)));
    return element("div", { className: "control" }, label, list);
  }
  const scale = what.values ? among(what.values) : what.kind === "whole" ? { to: scales.linear.to, from: (p, c) => Math.round(c.low + p * (c.high - c.low)) } : scales[what.scale];
  const place = (x) => String(Math.round(TURNS * Math.min(Math.max(scale.to(number(x), what), 0), 1)));
  const slider = element("input", { type: "range", min: 0, max: TURNS, "aria-label": name, data: { control: name } });
  const box = element("input", { id, type: "text", inputMode: "decimal", autocomplete: "off", spellcheck: false, data: { number: name } });
  const show = (x) => {
    box.value = x === null ? "" : String(x);
    slider.value = x === null ? "0" : place(x);
    box.removeAttribute("aria-invalid");
  };
  if (what.optional) box.placeholder = "auto";
  slider.oninput = () => {
    const x = scale.from(slider.value / TURNS, what);
    box.value = String(x);
    change(x, false);
  };
  slider.onchange = () => change(scale.from(slider.value / TURNS, what), true);
  box.onchange = () => {
    const typed = box.value.trim(), x = typed === "inf" ? "inf" : what.values ? what.values[Math.round(among(what.values).to(Number(typed)) * (what.values.length - 1))] : Number(typed);
    if (typed === "" && what.optional) return show(null), change(null, true);
    if (typed === "" || (x === "inf" ? what.kind === "whole" || what.name === "lr" : !Number.isFinite(x))) return box.setAttribute("aria-invalid", "true");
    show(x);
    change(x, true);
  };
  show(value);
  const made = element("div", { className: "control" }, label, slider, box);
  made.show = show;
  return made;
}
control.count = 0;
