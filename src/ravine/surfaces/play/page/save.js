// What leaves the page: a picture, a film, a script.

import { legend, picture } from "./picture.js";
import { Pen } from "./pen.js";

function strip(width, scene) { // how high the names are under a picture of this width
  return legend(new Pen(width, 1), width, 0, scene);
}

function whole(pen, width, height, scene) {
  picture(pen, width, height, scene);
  pen.fillStyle = scene.theme.paper;
  pen.fillRect(0, height, width, strip(width, scene));
  legend(pen, width, height, scene);
}

function canvasOf(width, height, scene, scale) {
  const canvas = Object.assign(document.createElement("canvas"), { width: even(width * scale), height: even((height + strip(width, scene)) * scale) });
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return { canvas, draw: (now) => whole(context, width, height, now) };
}

const even = (x) => 2 * Math.ceil(x / 2); // as films want it

export async function png(width, height, scene, name) {
  const { canvas, draw } = canvasOf(width, height, scene, 2);
  draw(scene);
  download(await new Promise((done) => canvas.toBlob(done, "image/png")), `${name}.png`);
}

export function svg(width, height, scene, name) {
  const pen = new Pen(width, height + strip(width, scene));
  whole(pen, width, height, scene);
  download(new Blob([pen.toString()], { type: "image/svg+xml" }), `${name}.svg`);
}

// Films in real time: `seconds` long, with the last picture held for one more, and on a slow machine until something of
// it has been recorded. at(part) is the scene then.
export async function webm(width, height, at, seconds, name, stopped) {
  const { canvas, draw } = canvasOf(width, height, at(0), 1);
  const type = ["video/webm;codecs=vp8", "video/webm"].find((t) => globalThis.MediaRecorder?.isTypeSupported(t));
  if (!type) throw new Error("this browser cannot record films; PNG and SVG work");
  draw(at(0));
  const stream = canvas.captureStream(0), [track] = stream.getVideoTracks(), recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: 8e6 });
  const parts = [], ended = new Promise((done) => (recorder.onstop = done)), begun = performance.now();
  let size = 0;
  recorder.ondataavailable = ({ data }) => {
    parts.push(data);
    size += data.size;
  };
  recorder.start(200);
  for (let part = 0; !stopped() && part < 8 && (part < 1 + 1 / seconds || size < 5000); part = (performance.now() - begun) / 1000 / seconds) {
    draw(at(Math.min(part, 1)));
    track.requestFrame();
    await new Promise((done) => setTimeout(done, 33)); // the recorder's turn
  }
  recorder.stop();
  await ended;
  track.stop();
  download(new Blob(parts, { type: "video/webm" }), `${name}.webm`);
}

export function download(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// The clipboard; where it is closed to a page, a text to copy by hand is downloaded.
export async function copy(text, name) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    download(new Blob([text], { type: "text/x-python" }), `${name}.py`);
    return false;
  }
}
