// The page: what is chosen is asked, what is answered is drawn.

import { Chart } from "./charts.js";
import { Clock } from "./clock.js";
import { Ground } from "./ground.js";
import { Maps, percent } from "./maps.js";
import { Panel, label, title } from "./panel.js";
import { picture } from "./picture.js";
import { python } from "./python.js";
import { copy, png, svg, webm } from "./save.js";
import { Gone, Refused, Server, Stopped } from "./server.js";
import { fromHash, toHash, beginning } from "./state.js";
import { dark, theme } from "./theme.js";
import { progress } from "./trail.js";
import { Tuning } from "./tuning.js";

const byId = (id) => document.getElementById(id);
const canvas = byId("picture"), stage = byId("stage");
const backend = globalThis.ravineBaked ?? new Server();
let choices, state, panel, maps, ground = null, paths = [], colours = theme();
const clock = new Clock(draw, turned), charts = { loss: new Chart(byId("loss"), (t) => clock.to(t)), norm: new Chart(byId("norm"), (t) => clock.to(t)) };

// What the answers were asked with. One question is under way at a time; whatever changes meanwhile is asked next.

const wanted = { surface: false, race: false, replay: false, maps: false };
let asking = false, answered = {}; // what of the state the picture is an answer to
let racing = null, atOnce = null; // the question of a race, and what is to be saved as soon as there are paths
const PATIENCE = 1500; // milliseconds after which a race gives way to the next one
const tuning = new Tuning(backend, redraw, draw, failed);
const shown = () => ({ ...state, ...answered });

function changed(what, done = true) {
  if (what === "surface") wanted.surface = wanted.replay = true;
  if (what !== "look") wanted.race = true;
  if (racing && performance.now() - racing.since > PATIENCE) racing.stop.abort();
  tuning.keep(state);
  if (done) remember();
  redraw();
}

// Maps are drawn anew; one that is under way ends after its tile.
function redraw() {
  wanted.maps = true;
  wanted.race ||= tuning.news();
  maps.stale();
  ask();
}

async function ask() {
  if (asking) return;
  asking = true;
  try {
    while (wanted.surface || wanted.race || wanted.maps) {
      const { surface, race, replay } = wanted;
      Object.assign(wanted, { surface: false, race: false, replay: replay && !surface && !race, maps: surface || race });
      try {
        if (surface || race) await answer(surface || !ground, replay);
        else if (ground) await maps.show(state.look, { question: { ...question(), view: state.view }, paths, ground, colours, inks: choices.inks });
      } catch (error) {
        if (error instanceof Stopped) {
          wanted.replay ||= replay;
          continue;
        }
        wanted.maps = false;
        if (!failed(error)) throw error;
      }
    }
  } finally {
    asking = false;
    document.body.dataset.ready = String(Number(document.body.dataset.ready ?? 0) + 1);
  }
}

async function answer(anew, replay) {
  if (anew) await askGround(replay);
  await askRace(replay);
  trouble(tuning.refusal(state));
  panel.wrong(null);
}

async function askGround(replay) {
  const { width, height } = canvas.getBoundingClientRect(), { surface, view } = structuredClone(state);
  const answer = await backend.ground({ surface, view, aspect: width && height ? width / height : 4 / 3, columns: 161 });
  ground = Object.assign(new Ground(answer), { minima: answer.minima, saddles: answer.saddles, of: answer.shape });
  if (backend.baked) Object.assign(state, { start: answer.start, steps: backend.steps, seed: 0, unit: "steps", view: null });
  if (replay) paths = []; // those of another surface
  answered = paths.length ? { ...answered, surface } : { surface };
  name(surface);
  draw();
}

const question = () => ({ surface: state.surface, start: state.start, steps: state.steps, seed: state.seed });

// Those whose rate is known run; the others join them when theirs has been tuned.
async function askRace(replay) {
  const all = structuredClone({ ...question(), rate: state.rate, racers: state.racers });
  tuning.want(state);
  const ready = all.racers.map((_, i) => i).filter((i) => tuning.knows(all, all.racers[i]));
  if (!ready.length) return void (wanted.replay ||= replay);
  const asked = { ...all, racers: ready.map((i) => all.racers[i]) }, live = ready.map((i) => state.racers[i]);
  const settings = settled(asked);
  const runs = asked.racers.map(({ name, strategy, rho }, i) => ({ name, set: settings[i], strategy, rho }));
  const { surface, start, steps, seed } = asked;
  const answer = await race({ surface, start, steps, seed, momentum: state.arrows.includes("momentum"), runs });
  const part = (name, i) => {
    const { shape, data } = answer[name] ?? {}, size = data && data.length / shape[0];
    return data?.subarray(i * size, (i + 1) * size);
  };
  answered = asked;
  paths = live.map((racer, i) => ({
    racer, asked: runs[i], settings: settings[i], byHand: asked.racers[i].set.lr !== undefined, rate: settings[i].lr ?? rateOf(racer.name), label: label(all, choices, ready[i]), ink: choices.inks[racer.ink % choices.inks.length],
    ...Object.fromEntries(["points", "losses", "gradients", "norms", "evaluations", "momentum"].map((name) => [name, part(name, i)])),
  }));
  for (const path of paths) path.norms ??= Float64Array.from(path.losses, (_, k) => Math.hypot(path.gradients[2 * k], path.gradients[2 * k + 1]));
  clock.reach(state.unit === "steps" ? steps : Math.max(...paths.map((path) => path.evaluations.at(-1))));
  panel.rated();
  drawCharts();
  draw();
  if (replay) clock.begin();
  if (tuning.pending()) return;
  atOnce?.click();
  atOnce = null;
}

// A race that takes longer says how far it is.
async function race(asked) {
  const stop = new AbortController();
  racing = { stop, since: performance.now() };
  try {
    return await backend.race(asked, { signal: stop.signal, tell: (part) => busy(`computing … ${percent(part)}`) });
  } finally {
    racing = null;
    busy(null);
  }
}

// The settings of each racer with the learning rate that the mode gives it; one that was set by hand stays.
function settled(asked) {
  const { mode, lr } = asked.rate;
  return asked.racers.map((racer) => {
    const given = { same: { lr }, default: {}, tuned: { lr: tuning.rate(asked, racer) } }[mode], set = { ...given, ...racer.set };
    if (backend.baked && set.lr !== undefined) set.lr = backend.rate(asked.surface.name, racer.name, set.lr);
    return set;
  });
}

const rateOf = (name) => choices.optimizers.find((o) => o.name === name).controls.find((c) => c.name === "lr").default;
// Words.

const short = (x) => (Number.isFinite(x) ? +x.toPrecision(4) : x);
const called = ({ name, formula }) => formula ?? title(name);

function name(surface) {
  const known = surface.formula === undefined && choices.surfaces.find((s) => s.name === surface.name);
  byId("title").textContent = known ? title(known.name) : "Your own function";
  byId("about").textContent = known ? known.about : surface.formula;
  document.title = `${called(surface)} · ravine play`;
}

function caption() {
  const { surface, start, steps, rate: { mode, lr } } = shown();
  const parameters = Object.entries(surface.parameters ?? {}).map(([name, x]) => `, ${name.replaceAll("_", " ")} ${short(x)}`).join("");
  const byHand = paths.filter((path) => path.byHand).map((path) => path.label), notes = byHand.length ? [`by hand: ${byHand.join(", ")}`] : [];
  const rate = { same: `lr ${short(lr)} for all`, default: "lr: each one’s default", tuned: `lr tuned for each on this surface: ${choices.starts} starts × ${steps} steps` }[mode];
  if (mode === "tuned" && paths.some((path) => (path.asked.strategy ?? "none") !== "none")) notes.push("a strategy has that of what it drives");
  const where = `${called(surface)}${parameters} from (${start.map(short).join(", ")}), ${now()}`;
  return [where, [rate, ...notes].join("; "), ...hidden(), ...(state.arrows.length ? ["arrows are directions: their lengths say nothing"] : [])];
}

// What the picture does not show.
function hidden() {
  if (ground.of.length > 1) return [`all ${ground.of.join(" × ")} numbers move; two coordinates are drawn`];
  const some = paths.filter(({ racer }) => choices.optimizers.find((o) => o.name === racer.name).matrices).map((path) => path.label);
  return some.length ? [`to ${some.join(", ")} a point is a matrix of one column`] : [];
}

const now = () => (state.unit === "steps" ? `step ${Math.floor(clock.time)} of ${clock.end}` : `gradient ${Math.floor(clock.time)} of ${clock.end}`);

function told(racer) {
  const path = paths.find((one) => one.racer === racer);
  if (!path || !tuning.knows(state, racer)) return tuning.told(state, racer);
  const k = Math.floor(progress(path, clock.time, state.unit)), loss = path.losses[k];
  if (!Number.isFinite(path.losses[0])) return "no loss at this start";
  return `${Number.isFinite(loss) && Math.abs(loss) < 1e12 ? `loss ${loss ? loss.toPrecision(3) : 0}` : "diverged"} · lr ${short(path.rate)}`;
}

function trouble(text) {
  byId("trouble").hidden = !text;
  byId("trouble").textContent = text ?? "";
}

function busy(text) {
  byId("busy").hidden = !text;
  byId("busy").textContent = text ?? "";
}

function say(text) {
  const place = byId("said");
  place.textContent = text;
  place.hidden = false;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => (place.hidden = true), 3500);
}

// What became of a question that was not answered; false where the fault is our own.
function failed(error) {
  if (error instanceof Gone) {
    trouble("The server does not answer: it may have been stopped. Start `ravine play` again, and this page goes on by itself.");
    wait();
  } else if (error instanceof Refused && error.field === "formula") {
    panel.wrong(error);
    trouble(null);
  } else if (error instanceof Refused) trouble(error.message);
  else return false;
  return true;
}

function wait() {
  clearTimeout(wait.timer);
  wait.timer = setTimeout(async () => {
    if (!(await backend.alive())) return wait();
    trouble(null);
    changed("surface");
  }, 1500);
}

// Drawing.

const scene = (time = clock.time) => ({
  theme: colours, ground, look: state.look === "relief" ? "relief" : "contour", time, unit: state.unit, paths, start: state.start, minima: ground.minima, saddles: ground.saddles,
  arrows: state.arrows, turn: state.turn, caption: caption(),
});

let frame = 0;
function draw() {
  if (state && !frame) frame = requestAnimationFrame(() => {
    frame = 0;
    drawNow();
  });
}

function drawNow() {
  byId("time").max = String(clock.end);
  byId("time").value = String(clock.time);
  byId("time").setAttribute("aria-valuetext", now());
  byId("now").textContent = now();
  for (const chart of Object.values(charts)) chart.at(clock.time);
  if (!ground) return;
  panel.tell(told);
  const { clientWidth: width, clientHeight: height } = canvas, scale = devicePixelRatio || 1;
  if (!width) return;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  picture(context, width, height, scene());
  canvas.ariaLabel = caption().join(". ");
  document.body.dataset.drawn = state.look;
}

function drawCharts() {
  const times = (path) => Array.from(path.losses, (_, k) => (state.unit === "steps" ? k : path.evaluations[k]));
  const lowest = Math.min(ground.floor, ...paths.flatMap((path) => Array.from(path.losses).filter(Number.isFinite))), shift = lowest < 0 ? lowest : 0;
  const lines = (values) => paths.map((path) => ({ label: path.label, ink: path.ink, times: times(path), values: values(path) }));
  byId("loss-caption").textContent = shift ? `Loss above its lowest, ${short(shift)}` : "Loss";
  charts.loss.show(lines((path) => Array.from(path.losses, (x) => x - shift)), colours);
  charts.norm.show(lines((path) => path.norms), colours);
}

function turned() {
  byId("play").ariaLabel = clock.playing ? "Pause" : "Play";
}

// The address.

let remembered = 0;
function remember() {
  clearTimeout(remembered);
  remembered = setTimeout(() => history.replaceState(null, "", toHash(state)), 150);
}

function restore() {
  try {
    state = fromHash(location.hash, choices);
  } catch {
    state = beginning(choices);
    say("This address says nothing that can be shown; here is the beginning.");
  }
}

// The person's hands.

function look(which) {
  state.look = which;
  for (const button of document.querySelectorAll("#looks button")) button.ariaPressed = String(button.dataset.look === which);
  const map = which === "rates" || which === "basins";
  canvas.hidden = map;
  canvas.dataset.look = which;
  byId("tiles").hidden = !map;
  byId("keys").textContent = { relief: "Drag to turn, or use the arrow keys.", contour: backend.baked ? "These paths were computed beforehand; `ravine play` computes them as you drag the start." : "Drag the start, or move it with the arrow keys. Space plays; + − 0 zoom." }[which] ?? "";
  for (const button of document.querySelectorAll("[data-save]:not([data-save=python])")) button.disabled = map;
  if (map) clock.stop();
  remember();
  if (ground) redraw();
  draw();
}

function moveStart(x, y) {
  const [[x0, x1], [y0, y1]] = ground.view, unit = 10 ** Math.floor(Math.log10((x1 - x0) / 300));
  const on = (c) => +(Math.round(c / unit) * unit).toPrecision(10);
  state.start = [on(Math.min(Math.max(x, x0), x1)), on(Math.min(Math.max(y, y0), y1))];
  panel.moved();
}

function zoom(factor) {
  const [x, y] = state.start;
  state.view = factor && ground.view.map(([low, high], i) => [x, y].slice(i, i + 1).flatMap((c) => [c + (low - c) * factor, c + (high - c) * factor]));
  wanted.surface = true;
  changed("race");
}

// Where the mouse is.
function under(event) {
  const place = byId("under");
  place.hidden = !event || !ground || state.look !== "contour" || event.pointerType === "touch";
  if (place.hidden) return;
  const [[x0, x1], [y0, y1]] = ground.view, a = event.offsetX / canvas.clientWidth, b = 1 - event.offsetY / canvas.clientHeight;
  place.textContent = `(${(x0 + a * (x1 - x0)).toPrecision(3)}, ${(y0 + b * (y1 - y0)).toPrecision(3)}) · loss ${short(ground.loss(a, b))}`;
}
canvas.addEventListener("pointermove", under);
canvas.addEventListener("pointerleave", () => under(null));

let held = null;
canvas.addEventListener("pointerdown", (event) => {
  if (!ground) return;
  canvas.setPointerCapture(event.pointerId);
  held = [event.offsetX, event.offsetY];
  drag(event);
});
canvas.addEventListener("pointermove", (event) => held && drag(event));
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => {
  if (held) remember();
  held = null;
});

function drag({ offsetX, offsetY }) {
  if (state.look === "relief") {
    state.turn = [state.turn[0] - (offsetX - held[0]) * 0.008, Math.min(Math.max(state.turn[1] + (offsetY - held[1]) * 0.006, 0.15), 1.5)];
    held = [offsetX, offsetY];
    return draw();
  }
  if (backend.baked) return;
  const [[x0, x1], [y0, y1]] = ground.view;
  moveStart(x0 + (offsetX / canvas.clientWidth) * (x1 - x0), y1 - (offsetY / canvas.clientHeight) * (y1 - y0));
  changed("race", false);
  draw();
}

canvas.addEventListener("keydown", (event) => {
  if (!ground || event.ctrlKey || event.metaKey || event.altKey) return;
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
  if (way && state.look === "relief") {
    state.turn = [state.turn[0] + 0.08 * way[0], Math.min(Math.max(state.turn[1] + 0.06 * way[1], 0.15), 1.5)];
    remember();
    draw();
  } else if (way && !backend.baked) {
    const far = (event.shiftKey ? 0.1 : 0.01) * (ground.view[0][1] - ground.view[0][0]);
    moveStart(state.start[0] + far * way[0], state.start[1] + far * way[1]);
    changed("race");
  } else if (event.key === " ") byId("play").click();
  else if ("+=".includes(event.key) && !backend.baked) zoom(0.7);
  else if (event.key === "-" && !backend.baked) zoom(1 / 0.7);
  else if (event.key === "0" && !backend.baked) zoom(null);
  else return;
  event.preventDefault();
});

byId("play").onclick = () => (clock.playing ? clock.stop() : clock.play());
byId("time").oninput = () => clock.to(Number(byId("time").value));
byId("speed").onchange = () => (clock.speed = Number(byId("speed").value));
byId("unit").onchange = () => {
  state.unit = byId("unit").value;
  changed("race");
};
for (const button of document.querySelectorAll("#looks button")) button.onclick = () => look(button.dataset.look);

const fileName = () => `ravine-${(shown().surface.name ?? "own").replaceAll(/\W+/g, "-")}`;
const savers = {
  python: async () => say((await copy(python(shown(), choices, paths.map((path) => path.settings)), fileName())) ? "The script is in the clipboard." : "The script was saved as a file."),
  png: (w, h) => png(w, h, scene(), fileName()),
  svg: (w, h) => svg(w, h, scene(), fileName()),
  async webm(w, h) {
    const button = document.querySelector("[data-save=webm]");
    if (savers.recording) return void (savers.recording = false);
    savers.recording = true;
    busy("recording …");
    button.textContent = "Stop";
    clock.stop();
    const before = clock.time;
    const at = (part) => ((clock.time = part * clock.end), scene());
    await webm(w, h, at, 8 / clock.speed, fileName(), () => !savers.recording).finally(() => {
      savers.recording = false;
      busy(null);
      button.textContent = "WebM";
    });
    clock.to(before);
    say("The film was saved.");
  },
};
for (const button of document.querySelectorAll("[data-save]")) button.onclick = async () => {
  if (!paths.length && (asking || tuning.pending())) {
    atOnce = button;
    return say("It comes as soon as the paths are computed.");
  }
  if (!paths.length) return say("There are no paths to save.");
  try {
    await savers[button.dataset.save](canvas.clientWidth || 880, canvas.clientHeight || 660);
  } catch (error) {
    say(error.message);
  }
};

dark.addEventListener("change", () => {
  colours = theme();
  if (paths.length) drawCharts();
  if (ground) redraw();
  draw();
});
new ResizeObserver(() => {
  if (!ground || !canvas.clientWidth) return draw();
  const [[x0, x1], [y0, y1]] = ground.view, seen = (x1 - x0) / (y1 - y0), have = canvas.clientWidth / canvas.clientHeight;
  if (!backend.baked && Math.abs(seen / have - 1) > 0.02) {
    wanted.surface = true;
    changed("race", false);
  }
  draw();
}).observe(stage);
addEventListener("hashchange", () => {
  if (location.hash === toHash(state)) return;
  restore();
  begin();
});

function begin() {
  panel = new Panel(state, choices, backend, changed);
  panel.lr = (racer) => paths.find((path) => path.racer === racer)?.rate;
  byId("unit").value = state.unit;
  look(state.look);
  wanted.surface = wanted.race = wanted.replay = true;
  ask();
}

async function open() {
  document.body.classList.toggle("baked", backend.baked);
  byId("unit").hidden = document.querySelector("[data-look=basins]").hidden = backend.baked;
  maps = new Maps(byId("tiles"), backend, (racer, lr) => {
    racer.set.lr = lr;
    panel.racers();
    changed("race");
  });
  try {
    choices = await backend.choices();
  } catch (error) {
    trouble("The server does not answer. Start `ravine play` again, and load this page anew.");
    return;
  }
  restore();
  begin();
}
open();
