// @ts-check
/** The network, one event at a time, with the state it carries. */

import { TILE, javascriptKernels } from "./kernels.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./model.js").Product} Product */
/** @typedef {import("./model.js").Layer} Layer */
/** @typedef {import("./model.js").Attention} Attention */
/** @typedef {import("./model.js").Place} Place */

const PAGE_BYTES = 1 << 16;
// WebAssembly's own data and stack are below.
const FIRST_BYTE = 2 * PAGE_BYTES;

export class Network {
  /**
   * @param {Model} model
   * @param {WebAssembly.Module | null} wasm step.wasm, compiled; null: plain JavaScript computes.
   */
  constructor(model, wasm) {
    const { header } = model;
    this._model = model;
    this._size = FIRST_BYTE;
    /** @type {(() => void)[]} */
    this._fills = [];
    this._headSizes = header.head_sizes;
    this._controlsSize = header.controls.default.length;
    // The state comes first, in one piece.
    const states = header.layers.map((layer) => this._placeState(layer));
    this._stateEnd = this._size;
    this._controls = this._take(this._controlsSize);
    this._layers = header.layers.map((layer, n) => this._placeLayer(layer, states[n]));
    this._output = this._placeProduct(header.output);
    /** The event that is read. @type {ArrayLike<number>} */
    this._event = [];

    if (wasm) {
      const memory = new WebAssembly.Memory({ initial: Math.ceil(this._size / PAGE_BYTES) });
      const { exports } = new WebAssembly.Instance(wasm, { env: { memory } });
      this._kernels = /** @type {any} */ (exports);
      this._floats = new Float32Array(memory.buffer);
    } else {
      this._floats = new Float32Array(this._size / 4);
      this._kernels = javascriptKernels(this._floats);
    }
    for (const fill of this._fills) fill();
    const classes = this._headSizes.reduce((sum, size) => sum + size, 0);
    /** The logits of all heads for the event after the last one read. */
    this.logits = this._view(this._output.y, classes);
  }

  /**
   * Reads the next event, and computes the logits of the one after it.
   *
   * @param {ArrayLike<number>} event One class of each head.
   * @param {ArrayLike<number>} controls Those of the event after this one.
   */
  read(event, controls) {
    this._event = event;
    this._floats.set(controls, this._controls / 4);
    let x = this._controls;
    for (const layer of this._layers) x = this._step(layer, x);
    this._multiply(this._output, [x]);
  }

  /** @returns {Float32Array} All that the network remembers, for `restore`. */
  snapshot() {
    return this._floats.slice(FIRST_BYTE / 4, this._stateEnd / 4);
  }

  /** @param {Float32Array} snapshot */
  restore(snapshot) {
    this._floats.set(snapshot, FIRST_BYTE / 4);
  }

  /** Forgets everything. */
  reset() {
    this._floats.fill(0, FIRST_BYTE / 4, this._stateEnd / 4);
  }

  /** @param {number} count Floats. @returns {number} Their place in bytes. */
  _take(count) {
    const place = this._size;
    this._size += 16 * Math.ceil(count / 4);
    return place;
  }

  /** @param {number} place @param {number} count */
  _view(place, count) {
    return this._floats.subarray(place / 4, place / 4 + count);
  }

  /** @param {Layer} layer */
  _placeState({ units, attention }) {
    const width = padded(units);
    const length = attention?.length ?? 0;
    return {
      hidden: this._take(units),
      cell: this._take(units),
      context: this._take(units),
      memory: this._take(length * width),
      features: this._take(length * width),
      oldest: this._take(1), // Which of the outputs remembered is the oldest.
    };
  }

  /** @param {Layer} layer @param {ReturnType<Network["_placeState"]>} state */
  _placeLayer({ units, residual, projection, attention, gates }, state) {
    return {
      units,
      state,
      projection: projection && this._placeProduct(projection),
      attention: attention && this._placeAttention(attention, units),
      gates: this._placeProduct(gates),
      sum: residual ? this._take(units) : null,
    };
  }

  /** @param {Attention} attention @param {number} units */
  _placeAttention({ length, input, query, memory, score, output }, units) {
    const scorePlace = this._take(units);
    this._fills.push(() => this._floats.set(this._model.array(score), scorePlace / 4));
    return {
      length,
      input: this._placeProduct(input),
      query: this._placeProduct(query),
      memory: this._placeProduct(memory),
      score: scorePlace,
      output: this._placeProduct(output),
      weights: this._take(length),
    };
  }

  /** @param {Product} product */
  _placeProduct({ kernels, bias, table }) {
    const outputs = /** @type {Place} */ (bias ?? table).shape.at(-1) ?? 0;
    const width = Math.ceil(outputs / TILE) * TILE;
    /** @param {Place} place @returns {number} Where its rows will be, each `width` long. */
    const placeRows = (place) => {
      const rows = bias ? 1 : place.shape[0];
      const start = this._take(rows * width);
      this._fills.push(() => {
        const array = this._model.array(place);
        for (let row = 0; row < rows; row++) {
          const values = array.subarray(row * outputs, (row + 1) * outputs);
          this._floats.set(values, start / 4 + row * width);
        }
      });
      return start;
    };
    return {
      width,
      kernels: kernels.map((place) => this._placeKernel(place, width)),
      bias: bias ? placeRows(bias) : null,
      table: table ? placeRows(table) : null,
      y: this._take(width),
    };
  }

  /** @param {Place} place @param {number} width */
  _placeKernel(place, width) {
    const [inputs, outputs] = place.shape;
    const start = this._take(inputs * width);
    this._fills.push(() => {
      const array = this._model.array(place);
      for (let tile = 0; tile < outputs; tile += TILE) {
        for (let row = 0; row < inputs; row++) {
          const to = start / 4 + tile * inputs + row * TILE;
          const end = Math.min(tile + TILE, outputs);
          for (let column = tile; column < end; column++) {
            this._floats[to + column - tile] = array[row * outputs + column];
          }
        }
      }
    });
    return { start, inputs };
  }

  /**
   * @param {ReturnType<Network["_placeProduct"]>} product
   * @param {number[]} inputs Places of the vectors, one for each kernel.
   * @returns {number} Where the result is.
   */
  _multiply({ width, kernels, bias, table, y }, inputs) {
    const sum = this._view(y, width);
    if (bias !== null) {
      sum.set(this._view(bias, width));
    } else {
      sum.fill(0);
      let first = 0; // The first class of the head.
      for (let head = 0; head < this._headSizes.length; head++) {
        const row = first + this._event[head];
        const values = this._view(/** @type {number} */ (table) + 4 * row * width, width);
        for (let i = 0; i < width; i++) sum[i] += values[i];
        first += this._headSizes[head];
      }
    }
    for (let n = 0; n < kernels.length; n++) {
      this._kernels.multiply(y, inputs[n], kernels[n].start, kernels[n].inputs, width);
    }
    return y;
  }

  /**
   * @param {ReturnType<Network["_placeLayer"]>} layer
   * @param {number} x Place of its input.
   * @returns {number} Place of its output.
   */
  _step({ units, state, projection, attention, gates, sum }, x) {
    if (projection) x = this._multiply(projection, [x]);
    const input = attention ? this._multiply(attention.input, [x, state.context]) : x;
    const { hidden, cell } = state;
    this._kernels.update(hidden, cell, this._multiply(gates, [input, hidden]), units);
    const y = attention ? this._attend(attention, state, units) : hidden;
    if (sum === null) return y;
    for (let i = 0; i < units; i++) {
      this._floats[sum / 4 + i] = this._floats[x / 4 + i] + this._floats[y / 4 + i];
    }
    return sum;
  }

  /**
   * @param {ReturnType<Network["_placeAttention"]>} attention
   * @param {ReturnType<Network["_placeState"]>} state
   * @param {number} units
   * @returns {number} Place of the layer's output.
   */
  _attend({ length, query, memory, score, output, weights }, state, units) {
    const width = padded(units);
    const { hidden, cell, context, features } = state;
    const asked = this._multiply(query, [cell, hidden]);
    this._kernels.attend(
      context, weights, state.memory, features, asked, score, length, width,
    );
    const y = this._multiply(output, [hidden, context]);
    // It takes the place of the oldest; what the score needs of it is computed once.
    const oldest = this._floats[state.oldest / 4];
    const feature = this._multiply(memory, [y]);
    this._floats.set(this._view(y, width), state.memory / 4 + oldest * width);
    this._floats.set(this._view(feature, width), features / 4 + oldest * width);
    this._floats[state.oldest / 4] = (oldest + 1) % length;
    return y;
  }
}

/** @param {number} units @returns {number} The next multiple of 4. */
function padded(units) {
  return 4 * Math.ceil(units / 4);
}
