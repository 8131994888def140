// @ts-check
/** A performance drawn event by event from the network, as perf_rnn/generation/sampler.py does. */

import { eventsOf } from "./events.js";
import { GuidedNetwork } from "./guided_network.js";
import { Random } from "./random.js";
import { LegalEvents, LegalNotes } from "./rules.js";
import { draw, largest, leaveOutImprobable } from "./sampling.js";

/** @typedef {import("./controls.js").Controls} Controls */
/** @typedef {import("./events.js").Event} Event */
/** @typedef {import("./model.js").Header} Header */
/** @typedef {import("./guided_network.js").State} State */
/** @typedef {import("./network.js").Network} Network */
/** @typedef {import("./sampling.js").Limits} Limits */
/** @typedef {{network: State, rules: object, clock: number, last: Event, random: bigint}}
 *   Snapshot */

export class Sampler {
  /**
   * @param {Header} header Of the model.
   * @param {Network} network Its network, at the beginning.
   * @param {number[]} seed As Random has it.
   * @param {Event[]} leadIn What the network reads first, which is no part of the piece.
   * @param {Event[]} opening The piece's first events. There is at least one event in all.
   * @param {Controls} controls While these are read.
   */
  constructor(header, network, seed, leadIn, opening, controls) {
    this.events = eventsOf(header);
    this._network = new GuidedNetwork(network, header.controls);
    this._headSizes = header.head_sizes;
    this.random = new Random(seed);
    this._logits = new Float64Array(this._network.logits.length);
    this.rules = this.events.wholeNotes
      ? new LegalNotes(/** @type {any} */ (this.events), opening)
      : new LegalEvents(/** @type {any} */ (this.events), opening);
    /** The steps that the piece has. */
    this.clock = 0;
    for (const event of opening) this.clock += this.events.steps(event);
    const read = [...leadIn, ...opening];
    for (const event of read.slice(0, -1)) this._network.read(event, controls);
    // The network reads an event when the next one comes, so that controls set until then hold.
    this._last = read[read.length - 1];
    this._hasRead = false; // The network the last event.
  }

  /**
   * Draws the next event, which `read` takes.
   *
   * @param {Limits} limits
   * @param {Controls} controls Of the event drawn.
   * @param {(logits: Float64Array) => void} [adjust] Changes the logits before the rules do.
   * @returns {Event}
   */
  draw(limits, controls, adjust) {
    this._predict(controls);
    return /** @type {Event} */ (this.drawAgain(limits, adjust));
  }

  /**
   * Draws once more after the same events, see `draw`.
   *
   * @param {Limits} limits
   * @param {(logits: Float64Array) => void} [adjust]
   * @param {(index: number) => boolean} [allows] Whether a class may be drawn.
   * @returns {Event | null} null: none may.
   */
  drawAgain(limits, adjust, allows) {
    const logits = this._logits;
    logits.set(this._network.logits);
    adjust?.(logits);
    this.rules.forbid(logits, this.clock);
    if (allows) {
      for (let i = 0; i < logits.length; i++) if (!allows(i)) logits[i] = -Infinity;
      if (largest(logits) === -Infinity) return null;
    }
    if (limits.pitch_min_p) {
      const { pitches } = this.events;
      const [first, last] = [pitches[0], pitches[pitches.length - 1]];
      leaveOutImprobable(logits.subarray(first, last + 1), limits.pitch_min_p);
    }
    let end = 0;
    return this._headSizes.map((size) => {
      end += size;
      return draw(logits.subarray(end - size, end), this.random.next(), limits);
    });
  }

  /**
   * Takes the next event, drawn or not.
   *
   * @param {Event} event
   * @param {Controls} controls Of this event.
   * @param {boolean} [isHeld] Whether it is a key of the player that is pressed or released.
   */
  read(event, controls, isHeld) {
    this._predict(controls);
    this.rules.update(event, this.clock, isHeld);
    this.clock += this.events.steps(event);
    this._last = event;
    this._hasRead = false;
  }

  /** @param {Controls} controls Of the next event. @returns {boolean} Whether guidance begins with it. */
  beginsGuidance({ guidance }) {
    return guidance !== 1 && !this._network.isGuided && !this._hasRead;
  }

  /**
   * Lets guidance begin with a state that has read the last events with conditioning disabled.
   *
   * @param {Snapshot} snapshot Before these events.
   * @param {Event[]} events All that were read since.
   */
  beginGuidance({ network, last }, events) {
    this._network.beginGuidance(network, [last, ...events].slice(0, -1));
  }

  /** @returns {Snapshot} All that the next events depend on; not to be taken after `draw`. */
  snapshot() {
    return {
      network: this._network.snapshot(),
      rules: this.rules.snapshot(),
      clock: this.clock,
      last: this._last,
      random: this.random.snapshot(),
    };
  }

  /** @param {Snapshot} snapshot */
  restore({ network, rules, clock, last, random }) {
    this._network.restore(network);
    this.rules.restore(rules);
    this.clock = clock;
    this._last = last;
    this._hasRead = false;
    this.random.restore(random);
  }

  /** @param {Controls} controls */
  _predict(controls) {
    if (!this._hasRead) this._network.read(this._last, controls);
    this._hasRead = true;
  }
}
