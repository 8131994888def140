// @ts-check
/** Guidance, as perf_rnn/generation/guidance.py has it: the logits are moved on in the direction in
 * which the controls move them. */

import { disabledVector } from "./controls.js";

/** @typedef {import("./controls.js").Controls} Controls */
/** @typedef {import("./events.js").Event} Event */
/** @typedef {import("./network.js").Network} Network */
/**
 * @typedef {{told: Float32Array, free: Float32Array | null}} State What the network remembers: with
 *   the controls, and with conditioning disabled; without guidance there is no second state.
 */

export class GuidedNetwork {
  /** @param {Network} network @param {import("./model.js").Conditioning} conditioning */
  constructor(network, conditioning) {
    this._network = network;
    this._disabled = disabledVector(conditioning);
    /** @type {Float32Array | null} */
    this._free = null;
    /** The logits of all heads for the event after the last one read. */
    this.logits = network.logits.slice();
  }

  /** Whether the last event was read with guidance. */
  get isGuided() {
    return this._free !== null;
  }

  /**
   * Reads the next event: once, or with guidance a second time with conditioning disabled.
   *
   * @param {Event} event
   * @param {Controls} controls Those of the event after this one.
   */
  read(event, { vector, guidance }) {
    const network = this._network;
    if (guidance === 1) {
      this._free = null;
      network.read(event, vector);
      this.logits.set(network.logits);
      return;
    }
    const told = network.snapshot();
    network.restore(this._free ?? told);
    network.read(event, this._disabled);
    this._free = network.snapshot();
    this.logits.set(network.logits);
    network.restore(told);
    network.read(event, vector);
    for (const [i, free] of this.logits.entries()) {
      // Rounded as float32, as in Python.
      this.logits[i] = free + Math.fround(guidance * Math.fround(network.logits[i] - free));
    }
  }

  /**
   * Lets the state with conditioning disabled be that of events read after an earlier state.
   *
   * @param {State} state
   * @param {Event[]} events
   */
  beginGuidance({ told, free }, events) {
    const now = this._network.snapshot();
    this._network.restore(free ?? told);
    for (const event of events) this._network.read(event, this._disabled);
    this._free = this._network.snapshot();
    this._network.restore(now);
  }

  /** @returns {State} For `restore`. */
  snapshot() {
    return { told: this._network.snapshot(), free: this._free };
  }

  /** @param {State} state */
  restore({ told, free }) {
    this._network.restore(told);
    this._free = free;
  }
}
