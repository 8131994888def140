// @ts-check
/** Settings over time: a list of densities holds value by value, again and again. */

import { Steering } from "./steering.js";

/**
 * @typedef {Omit<import("./steering.js").Settings, "notes_per_second"> &
 *   {notes_per_second: number | number[] | null}} Settings With a density, or a list of them.
 */

// How long each value of a list holds. A network follows a change within five to fifteen seconds.
const SECONDS_PER_VALUE = 10;

export class Schedule {
  /**
   * @param {import("./model.js").Header} header
   * @param {ConstructorParameters<typeof Steering>[1]} events
   * @param {Settings} settings
   * @param {number} begin The step at which the list begins.
   */
  constructor(header, events, settings, begin) {
    this.densities = [settings.notes_per_second].flat();
    this.begin = begin;
    this._stepsPerValue = SECONDS_PER_VALUE * header.steps_per_second;
    this._steerings = this.densities.map(
      (notes_per_second) => new Steering(header, events, { ...settings, notes_per_second }),
    );
  }

  /** @param {number} step Of the performance. @returns {Steering} What holds then. */
  at(step) {
    const place = Math.floor(Math.max(step - this.begin, 0) / this._stepsPerValue);
    return this._steerings[place % this._steerings.length];
  }
}
