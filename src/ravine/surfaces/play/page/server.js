// Where paths come from: the server that `ravine play` started. Its answers are JSON, or numbers behind a JSON head.

export class Gone extends Error {}
export class Stopped extends Error {}
export class Refused extends Error {
  constructor({ error, at, field }) {
    super(error);
    Object.assign(this, { at, field });
  }
}

const LOOK = 400; // milliseconds between two looks at how far an answer is

export class Server {
  baked = false;

  // long: {signal, tell}: what stops a question, and who is told which part of the answer is done.
  choices = () => this.#ask("choices");
  ground = (what) => this.#ask("ground", what);
  race = (what, long) => this.#watched("race", what, long);
  tune = (what, long) => this.#watched("tune", what, long);
  rates = (what, long) => this.#watched("rates", what, long);
  basins = (what, long) => this.#watched("basins", what, long);

  async alive() {
    try {
      return (await fetch("api/alive")).ok;
    } catch {
      return false;
    }
  }

  async #watched(path, what, { signal, tell = () => {} } = {}) {
    const id = crypto.randomUUID();
    const timer = setInterval(async () => {
      try {
        const { part } = await this.#ask(`progress?id=${id}`);
        if (part !== null && !signal?.aborted) tell(part);
      } catch {} // the question itself says what is wrong
    }, LOOK);
    try {
      return await this.#ask(path, { ...what, id }, signal);
    } finally {
      clearInterval(timer);
    }
  }

  async #ask(path, what, signal) {
    const post = what && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(what), signal };
    let answer;
    try {
      answer = await fetch(`api/${path}`, post);
    } catch {
      throw signal?.aborted ? new Stopped() : new Gone();
    }
    if (answer.headers.get("Content-Type")?.startsWith("application/json")) {
      const read = await answer.json();
      if (!answer.ok) throw new Refused(read);
      return read;
    }
    if (!answer.ok) throw new Refused({ error: `the server answered ${answer.status}` });
    try {
      return unpack(await answer.arrayBuffer());
    } catch {
      throw signal?.aborted ? new Stopped() : new Gone();
    }
  }
}

// The length of the head, the head, and then one array of float64 after another, as the head says.
export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  let at = 8 + length;
  for (const [name, shape] of Object.entries(head.arrays)) {
    const size = shape.reduce((a, b) => a * b, 1);
    head[name] = { shape, data: new Float64Array(buffer, at, size) };
    at += 8 * size;
  }
  return head;
}
