// Rates that are tuned, one after another, while the race of all others goes on.

import { percent } from "./maps.js";
import { Refused, Stopped } from "./server.js";

const PAUSE = 700; // milliseconds between two races, so that quick ones join together

export class Tuning {
  // found(): there are rates that the race can have; moved(): there is something to say; failed(error): it cannot go on.
  constructor(backend, found, moved, failed) {
    Object.assign(this, { backend, found, moved, failed, rates: new Map(), refused: new Map(), parts: new Map(), missing: [], stop: null, fresh: false });
  }

  rate = (asked, racer) => this.rates.get(key(asked, racer));
  knows = (asked, racer) => asked.rate.mode !== "tuned" || racer.set.lr !== undefined || this.rates.has(key(asked, racer));
  refusal = (asked) => asked.racers.filter((racer) => !this.knows(asked, racer)).map((racer) => this.refused.get(key(asked, racer))).find(Boolean) ?? null;

  // Whether rates have been found since this was asked last.
  news() {
    const fresh = this.fresh;
    this.fresh = false;
    return fresh;
  }

  // What stands beside a racer without a path.
  told(asked, racer) {
    if (this.knows(asked, racer)) return "";
    const name = key(asked, racer);
    if (this.refused.has(name)) return "no rate";
    return this.parts.has(name) ? `tuning … ${percent(this.parts.get(name))}` : "to be tuned";
  }

  // These are wanted now; whatever else is under way ends.
  want(asked) {
    this.missing = asked.racers.filter((racer) => !this.knows(asked, racer)).map((racer) => ({ name: key(asked, racer), question: question(asked, racer) }));
    this.keep(asked);
    this.#go();
  }

  // What is not wanted any more ends.
  keep(asked) {
    const names = new Set(asked.racers.filter((racer) => !this.knows(asked, racer)).map((racer) => key(asked, racer)));
    this.missing = this.missing.filter(({ name }) => names.has(name));
    if (this.stop && !names.has(this.stop.name)) this.stop.abort();
  }

  pending = () => this.#next() !== undefined;
  #next = () => this.missing.find(({ name }) => !this.rates.has(name) && !this.refused.has(name));

  async #go() {
    if (this.running) return;
    this.running = true;
    let last = performance.now();
    try {
      while (this.pending()) {
        await this.#one(this.#next());
        if (this.fresh && performance.now() - last > PAUSE) {
          this.found();
          last = performance.now();
        }
      }
    } catch (error) {
      if (!this.failed(error)) throw error;
    } finally {
      this.running = false;
    }
    if (this.fresh) this.found();
  }

  async #one({ name, question }) {
    this.stop = Object.assign(new AbortController(), { name });
    const tell = (part) => {
      this.parts.set(name, part);
      this.moved();
    };
    tell(0);
    try {
      const { rate } = await this.backend.tune(question, { signal: this.stop.signal, tell });
      this.rates.set(name, rate);
      this.fresh = true;
    } catch (error) {
      if (error instanceof Refused) {
        this.refused.set(name, error.message);
        this.fresh = true;
      } else if (!(error instanceof Stopped)) throw error;
    } finally {
      this.parts.delete(name);
      this.stop = null;
    }
  }
}

const settings = ({ name, set }) => ({ name, set: { ...set, lr: undefined } });
const key = ({ surface, steps, seed }, racer) => JSON.stringify([surface, steps, seed, settings(racer)]);
const question = ({ surface, start, steps, seed }, racer) => structuredClone({ surface, start, steps, seed, runs: [settings(racer)] });
