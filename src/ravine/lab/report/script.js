"use strict";
const { figures, chosen } = JSON.parse(document.getElementById("charts").textContent);
const shown = { ...figures }; // what each chart of the page draws now; some are of one optimizer at a time
const hidden = new Set();
const byId = (id) => document.getElementById(id);
const paper = matchMedia("print");
const dark = matchMedia("(prefers-color-scheme: dark)");
let unit = "step", lit; // the optimizer that stands out; the best where none is chosen

function themed(layout) {
  const lines = { gridcolor: css("--rule"), linecolor: css("--soft"), tickcolor: css("--soft") };
  return { ...layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: css("--ink"), family: getComputedStyle(document.body).fontFamily, size: 12 },
    hoverlabel: { bgcolor: css("--wash"), font: { color: css("--ink") } },
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", maxheight: 60, traceorder: "reversed" },
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    xaxis: { ...layout.xaxis, ...lines }, yaxis: { ...layout.yaxis, ...lines } };
}

function now(id) {
  const { data, layout: own, measures } = shown[id], twin = shown[beside(id)];
  const layout = twin ? level(own, [shown[id], twin]) : own;
  const factors = measures && measures[unit];
  return {
    data: data.map((trace, i) => ({ ...trace, visible: !hidden.has(trace.legendgroup),
      x: factors && factors[i] !== 1 ? trace.x.map((x) => (x === null ? null : +(x * factors[i]).toPrecision(6))) : trace.x })),
    layout: factors ? { ...layout, xaxis: { ...layout.xaxis, title: { text: unit } } } : layout,
  };
}

async function draw(id) {
  const { data, layout } = now(id), first = leader(id, data);
  const size = paper.matches ? { autosize: false, width: byId(id).clientWidth, height: byId(id).clientHeight } : { height: undefined };
  const room = first ? { margin: { ...layout.margin, r: 18 + Math.max(...data.map((trace) => width(short(trace.legendgroup)))) } } : {};
  const traces = first ? dimmed(data, first) : data;
  await Plotly.react(id, traces, { ...themed(layout), ...size, ...room }, { displayModeBar: false, responsive: true });
  if (first) await label(id, first);
  if (!byId(`${id}-data`).hidden) sheet(id);
}

// Curves of which one stands out: the others are grey, and names stand at the ends.

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const short = (name) => (name.length > 16 ? `${name.slice(0, 15)}…` : name);
const pen = document.createElement("canvas").getContext("2d");
const GAP = 14; // pixels from one name to the next

function width(text) {
  pen.font = `600 12px ${getComputedStyle(document.body).fontFamily}`;
  return pen.measureText(text).width;
}

function leader(id, data) {
  const names = shown[id].lit ? data.filter((trace) => trace.visible).map((trace) => trace.legendgroup).reverse() : [];
  return [lit, shown[id].lit].find((name) => names.includes(name)) ?? names[0];
}

function dimmed(data, first) {
  const line = { color: css("--dim"), width: 1.3, dash: "solid" };
  const grey = data.filter((trace) => trace.name === trace.legendgroup && trace.name !== first).map((trace) => ({ ...trace, line: { ...trace.line, ...line } }));
  const own = data.filter((trace) => trace.legendgroup === first);
  return [...grey, ...own.map((trace) => (trace.name === first ? { ...trace, line: { ...trace.line, width: 3 } } : trace))];
}

function label(id, first) {
  const chart = byId(id), { xaxis, yaxis } = chart._fullLayout;
  const ends = chart.data.filter((trace) => trace.visible && trace.name === trace.legendgroup).map(({ name, x, y, line }) => {
    const i = y.findLastIndex((value) => value !== null);
    return { name, colour: name === first ? line.color : css("--soft"), x: xaxis.d2p(x[i]) / xaxis._length, y: 1 - yaxis.d2p(y[i]) / yaxis._length };
  }).filter(({ x, y }) => x >= 0 && x <= 1 && y >= 0 && y <= 1);
  const gap = GAP / yaxis._length, kept = ends.slice(-Math.floor(1 / gap)).sort((a, b) => a.y - b.y);
  let floor = 0, ceiling = 1;
  for (const end of kept) floor = (end.at = Math.max(end.y, floor)) + gap;
  for (const end of kept.toReversed()) ceiling = (end.at = Math.min(end.at, ceiling)) - gap;
  const place = { xref: "paper", yref: "paper" }, { shapes = [], annotations = [] } = shown[id].layout;
  return Plotly.relayout(id, {
    shapes: [...shapes, ...kept.map(({ x, y, at }) => ({ ...place, type: "line", x0: x, y0: y, x1: 1 + 10 / xaxis._length, y1: at, line: { color: css("--dim"), width: 0.8 } }))],
    annotations: [...annotations, ...kept.map(({ name, colour, at }) => ({ ...place, x: 1, xshift: 10, y: at, xanchor: "left", yanchor: "middle", showarrow: false,
      text: short(name).replaceAll("&", "&amp;").replaceAll("<", "&lt;"), name, captureevents: true, font: { color: colour, size: 12, weight: name === first ? 600 : 400 } }))],
  });
}

function light(name) {
  byId("lit").value = lit = name;
  return Promise.all(Object.keys(figures).filter((id) => figures[id].lit).map(draw));
}

const drawAll = () => Promise.all(Object.keys(shown).map(draw));

// The data of a figure: a row for each point that is drawn, as a table and as CSV.

function rows(id) {
  const { data, layout } = now(id);
  const named = !layout.yaxis.ticktext?.length; // a figure with a row for each thing has names where y would be
  const [x, y] = [layout.xaxis.title.text || "axis", layout.yaxis.title.text || "value"];
  if (data[0]?.type === "heatmap") {
    const [{ name, x: at, y: sizes, z }] = data;
    const cells = at.slice(0, -1).flatMap((step, i) => sizes.slice(0, -1).map((size, j) => [step, size, z[j][i] ?? 0]));
    return [[`${x} from`, `${y} from`, name], ...cells];
  }
  const series = data.filter((trace) => trace.visible && trace.hoverinfo !== "skip");
  const whiskers = series.some((trace) => trace.error_y);
  const head = ["series", x, ...(named ? [y] : []), ...(whiskers ? ["lowest", "highest"] : [])];
  return [head, ...series.flatMap((trace) => trace.x.map((value, i) => {
    const { array = [], arrayminus = [] } = trace.error_y ?? {};
    if (trace.customdata) return [trace.name, layout.xaxis.ticktext[i], trace.customdata[i]];
    const height = trace.text && trace.mode === "markers" ? trace.text[i] : trace.y[i];
    const ends = whiskers ? [array.length ? +(trace.y[i] - arrayminus[i]).toPrecision(6) : "", array.length ? +(trace.y[i] + array[i]).toPrecision(6) : ""] : [];
    return [trace.name, value, ...(named ? [height] : []), ...ends];
  }))].map((row) => row.map((cell) => cell ?? ""));
}

function sheet(id) {
  const place = byId(`${id}-data`), [head, ...body] = rows(id);
  const line = (tag, cells) => {
    const tr = document.createElement("tr");
    for (const cell of cells) {
      const td = tr.appendChild(document.createElement(tag));
      td.textContent = cell;
      if (typeof cell === "number") td.className = "n";
    }
    return tr;
  };
  const table = document.createElement("table"), box = document.createElement("div"), button = document.createElement("button");
  table.append(table.createTHead(), table.createTBody());
  table.tHead.append(line("th", head));
  table.tBodies[0].append(...body.map((cells) => line("td", cells)));
  Object.assign(box, { className: "wide tall", tabIndex: 0, role: "region", ariaLabel: byId(`${id}-caption`).textContent });
  box.append(table);
  button.textContent = "CSV";
  button.onclick = () => save(id, [head, ...body]);
  place.replaceChildren(button, box);
}

function save(name, table) {
  const field = (cell) => (/[",\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : cell);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([table.map((row) => row.map(field).join(",") + "\r\n").join("")], { type: "text/csv" }));
  link.download = `${document.body.dataset.task}-${name}.csv`;
  link.click();
  URL.revokeObjectURL(link.href);
}

for (const button of document.querySelectorAll("button.data")) button.onclick = () => {
  const id = button.getAttribute("aria-controls"), open = byId(id).hidden;
  byId(id).hidden = !open;
  button.setAttribute("aria-expanded", open);
  if (open) sheet(id.replace(/-data$/, ""));
};

for (const button of document.querySelectorAll("button.csv")) button.onclick = () =>
  save(button.dataset.table, [...byId(button.dataset.table).rows].map((row) => [...row.cells].map((cell) => cell.textContent.trim())));

// What the person chooses.

for (const chip of document.querySelectorAll("#chips button")) chip.onclick = () => {
  const on = chip.getAttribute("aria-pressed") === "false";
  chip.setAttribute("aria-pressed", on);
  hidden[on ? "delete" : "add"](chip.dataset.name);
  Object.keys(figures).forEach(draw);
};

byId("lit").onchange = () => light(byId("lit").value);

for (const choice of document.querySelectorAll("#switch button")) choice.onclick = () => {
  unit = choice.dataset.unit;
  for (const other of choice.parentElement.children) other.setAttribute("aria-pressed", other === choice);
  Object.keys(figures).filter((id) => figures[id].measures).forEach(draw);
};

// Figures of one optimizer at a time; and of a second one beside it, on the same heights.

const beside = (id) => (id.endsWith("-beside") ? id.slice(0, -7) : `${id}-beside`);
chosen.beside = Object.fromEntries(Object.entries(chosen.who).map(([name, looks]) =>
  [name, Object.fromEntries(Object.entries(looks).map(([id, figure]) => [beside(id), figure]))]));

function look(select) {
  const of = chosen[select], name = byId(select)?.value ?? "", found = of[name] ?? {};
  for (const id of new Set(Object.values(of).flatMap(Object.keys))) {
    byId(id).closest("figure").hidden = !(id in found); // not every optimizer has each
    delete shown[id];
  }
  for (const id in found) byId(`${id}-caption`).textContent = `${(shown[id] = found[id]).title} · ${name}`;
  for (const said of document.querySelectorAll(`[data-for=${select}]`)) said.hidden = said.dataset.of !== name;
}

function level(layout, two) {
  const log = two.every((figure) => figure.layout.yaxis.type === "log");
  const values = two.flatMap((figure) => figure.data.flatMap((trace) => trace.y)).filter((y) => y !== null).map((y) => (log ? Math.log10(y) : y));
  if (!values.length) return layout;
  const yaxis = { ...layout.yaxis, type: log ? "log" : "linear", range: [Math.min(...values), Math.max(...values)] };
  return { ...layout, yaxis: log ? yaxis : { ...yaxis, dtick: undefined } };
}

for (const select in chosen) {
  look(select);
  if (byId(select)) byId(select).onchange = () => (look(select), Object.keys(shown).filter((id) => !(id in figures)).forEach(draw));
}

// Light, dark, paper.

dark.addEventListener("change", drawAll);
paper.addEventListener("change", drawAll);

async function start() {
  // plotly.js lies in this page, compressed; nothing is fetched from anywhere.
  const packed = Uint8Array.from(atob(byId("engine").textContent), (c) => c.charCodeAt(0));
  const script = document.createElement("script");
  script.textContent = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  document.head.append(script);
  await drawAll();
  for (const id in figures) if (figures[id].lit) {
    byId(id).on("plotly_click", ({ points }) => light(points[0].data.legendgroup));
    byId(id).on("plotly_clickannotation", ({ annotation }) => annotation.name && light(annotation.name));
    byId(id).on("plotly_relayout", (change) => "annotations" in change || label(id, leader(id, now(id).data)));
  }
  document.body.dataset.drawn = "yes";
}
start();
