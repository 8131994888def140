// @ts-check
/** The network, one event at a time, with the states it carries: in one row, or in two that read the
 * same events with controls of their own. Their products are computed together, since what takes the
 * time is to load the weights. */

import { TILE, javascriptKernels } from "./kernels.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./model.js").Product} Product */
/** @typedef {import("./model.js").Layer} Layer */
/** @typedef {import("./model.js").Attention} Attention */
/** @typedef {import("./model.js").Place} Place */

const PAGE_BYTES = 1 << 16;
// WebAssembly's own data and stack are below.
const FIRST_BYTE = 2 * PAGE_BYTES;
const ROWS = 2;

export class Network {
  /**
   * @param {Model} model
   * @param {WebAssembly.Module | null} wasm step.wasm, compiled; null: plain JavaScript computes.
   */
  constructor(model, wasm) {
    const { header } = model;
    this._model = model;
    this._size = FIRST_BYTE;
    this._rowSize = 0;
    /** @type {(() => void)[]} */
    this._fills = [];
    this._headSizes = header.head_sizes;
    // What a row has of its own has places within it. The state comes first, in one piece.
    const states = header.layers.map((layer) => this._placeState(layer));
    this._stateSize = this._rowSize;
    this._controls = this._takeInRow(header.controls.default.length);
    this._layers = header.layers.map((layer, n) => this._placeLayer(layer, states[n]));
    this._output = this._placeProduct(header.output);
    /** Where the rows begin, of which `read` uses one or two. */
    this._rows = Array.from({ length: ROWS }, (_, n) => this._size + n * this._rowSize);
    this._size += ROWS * this._rowSize;
    this._used = this._rows;
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
    /** Of each row the logits of all heads for the event after the last one read. */
    this.logits = this._rows.map((row) => this._view(row + this._output.y, classes));
  }

  /**
   * Reads the next event, and computes the logits of the one after it.
   *
   * @param {ArrayLike<number>} event One class of each head.
   * @param {ArrayLike<number>[]} controls Of the event after this one, for each row that reads it:
   *   the first, or both.
   */
  read(event, controls) {
    this._event = event;
    this._used = this._rows.slice(0, controls.length);
    for (const [n, row] of this._used.entries()) {
      this._floats.set(controls[n], (row + this._controls) / 4);
    }
    let x = this._controls;
    for (const layer of this._layers) x = this._step(layer, x);
    this._multiply(this._output, [x]);
  }

  /** @param {number} n A row. @returns {Float32Array} All that it remembers, for `restore`. */
  snapshot(n) {
    return this._view(this._rows[n], this._stateSize / 4).slice();
  }

  /** @param {number} n A row. @param {Float32Array} snapshot */
  restore(n, snapshot) {
    this._floats.set(snapshot, this._rows[n] / 4);
  }

  /** Forgets everything. */
  reset() {
    for (const row of this._rows) this._view(row, this._stateSize / 4).fill(0);
  }

  /** @param {number} count Floats. @returns {number} Their place in bytes. */
  _take(count) {
    const place = this._size;
    this._size += 16 * Math.ceil(count / 4);
    return place;
  }

  /** @param {number} count Floats. @returns {number} Their place in a row, in bytes. */
  _takeInRow(count) {
    const place = this._rowSize;
    this._rowSize += 16 * Math.ceil(count / 4);
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
      hidden: this._takeInRow(units),
      cell: this._takeInRow(units),
      context: this._takeInRow(units),
      memory: this._takeInRow(length * width),
      features: this._takeInRow(length * width),
      oldest: this._takeInRow(1), // Which of the outputs remembered is the oldest.
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
      sum: residual ? this._takeInRow(units) : null,
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
      weights: this._takeInRow(length),
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
      y: this._takeInRow(width),
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
   * @param {number[]} inputs Places in a row of the vectors, one for each kernel.
   * @returns {number} Where in a row the result is.
   */
  _multiply({ width, kernels, bias, table, y }, inputs) {
    const [row, other] = this._used;
    const sum = this._view(row + y, width);
    if (bias !== null) {
      sum.set(this._view(bias, width));
    } else {
      sum.fill(0);
      let first = 0; // The first class of the head.
      for (let head = 0; head < this._headSizes.length; head++) {
        const index = first + this._event[head];
        const values = this._view(/** @type {number} */ (table) + 4 * index * width, width);
        for (let i = 0; i < width; i++) sum[i] += values[i];
        first += this._headSizes[head];
      }
    }
    if (other) this._view(other + y, width).set(sum);
    for (const [n, { start, inputs: count }] of kernels.entries()) {
      const x = row + inputs[n];
      if (other) this._kernels.multiply_two(row + y, x, start, count, width, this._rowSize / 4);
      else this._kernels.multiply(row + y, x, start, count, width);
    }
    return y;
  }

  /**
   * @param {ReturnType<Network["_placeLayer"]>} layer
   * @param {number} x Place of its input in a row.
   * @returns {number} Place of its output in a row.
   */
  _step({ units, state, projection, attention, gates, sum }, x) {
    if (projection) x = this._multiply(projection, [x]);
    const input = attention ? this._multiply(attention.input, [x, state.context]) : x;
    const { hidden, cell } = state;
    const ofGates = this._multiply(gates, [input, hidden]);
    for (const row of this._used) {
      this._kernels.update(row + hidden, row + cell, row + ofGates, units);
    }
    const y = attention ? this._attend(attention, state, units) : hidden;
    if (sum === null) return y;
    for (const row of this._used) {
      const [total, a, b] = [sum, x, y].map((place) => this._view(row + place, units));
      for (let i = 0; i < units; i++) total[i] = a[i] + b[i];
    }
    return sum;
  }

  /**
   * @param {ReturnType<Network["_placeAttention"]>} attention
   * @param {ReturnType<Network["_placeState"]>} state
   * @param {number} units
   * @returns {number} Place of the layer's output in a row.
   */
  _attend({ length, query, memory, score, output, weights }, state, units) {
    const width = padded(units);
    const { hidden, cell, context, features } = state;
    const asked = this._multiply(query, [cell, hidden]);
    for (const row of this._used) {
      this._kernels.attend(
        row + context, row + weights, row + state.memory, row + features, row + asked, score,
        length, width,
      );
    }
    const y = this._multiply(output, [hidden, context]);
    // It takes the place of the oldest; what the score needs of it is computed once.
    const feature = this._multiply(memory, [y]);
    for (const row of this._used) {
      const oldest = this._view(row + state.oldest, 1);
      const place = row + 4 * oldest[0] * width;
      this._view(place + state.memory, width).set(this._view(row + y, width));
      this._view(place + features, width).set(this._view(row + feature, width));
      oldest[0] = (oldest[0] + 1) % length;
    }
    return y;
  }
}

/** @param {number} units @returns {number} The next multiple of 4. */
function padded(units) {
  return 4 * Math.ceil(units / 4);
}
