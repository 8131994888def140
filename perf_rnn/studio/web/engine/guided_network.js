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

// Rows of the network.
const TOLD = 0;
const FREE = 1;

export class GuidedNetwork {
  /** @param {Network} network @param {import("./model.js").Conditioning} conditioning */
  constructor(network, conditioning) {
    this._network = network;
    this._disabled = disabledVector(conditioning);
    /** Whether there is the second state. */
    this.isGuided = false;
    /** The logits of all heads for the event after the last one read. */
    this.logits = network.logits[TOLD].slice();
  }

  /**
   * Reads the next event.
   *
   * @param {Event} event
   * @param {Controls} controls Those of the event after this one.
   */
  read(event, { vector, guidance }) {
    const network = this._network;
    const isGuided = guidance !== 1;
    if (isGuided && !this.isGuided) network.restore(FREE, network.snapshot(TOLD));
    this.isGuided = isGuided;
    network.read(event, isGuided ? [vector, this._disabled] : [vector]);
    this.logits.set(network.logits[TOLD]);
    if (!isGuided) return;
    for (const [i, free] of network.logits[FREE].entries()) {
      // Rounded as float32, as in Python.
      this.logits[i] = free + Math.fround(guidance * Math.fround(this.logits[i] - free));
    }
  }

  /**
   * Lets the second state be that of events read after an earlier state.
   *
   * @param {State} state
   * @param {Event[]} events
   */
  beginGuidance({ told, free }, events) {
    const network = this._network;
    const now = network.snapshot(TOLD);
    network.restore(TOLD, free ?? told);
    for (const event of events) network.read(event, [this._disabled]);
    network.restore(FREE, network.snapshot(TOLD));
    network.restore(TOLD, now);
    this.isGuided = true;
  }

  /** @returns {State} For `restore`. */
  snapshot() {
    const network = this._network;
    return { told: network.snapshot(TOLD), free: this.isGuided ? network.snapshot(FREE) : null };
  }

  /** @param {State} state */
  restore({ told, free }) {
    this._network.restore(TOLD, told);
    if (free) this._network.restore(FREE, free);
    this.isGuided = free !== null;
  }
}
