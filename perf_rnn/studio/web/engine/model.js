// @ts-check
/** Reads model files, which perf_rnn/studio/model_file.py writes. */

const MAGIC = "PerfRNN\x01";
const ALIGNMENT = 16;

/** The value of each of the 65536 float16 numbers, as its bits say. */
const FLOAT16_VALUES = Float32Array.from({ length: 1 << 16 }, (_, bits) => {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
});

/**
 * @typedef {{dtype: string, shape: number[], offset: number, scales?: Place}} Place
 *   Where an array is. The rows of an int8 matrix are multiplied by its scales.
 * @typedef {{kernels: Place[], bias?: Place, table?: Place}} Product
 *   The sum of inputs @ kernels and a bias or, of the event, rows of a table.
 * @typedef {{length: number, input: Product, query: Product, memory: Product, score: Place,
 *   output: Product}} Attention
 * @typedef {{units: number, residual: boolean, projection?: Product, attention?: Attention,
 *   gates: Product}} Layer
 * @typedef {object} Events What the classes mean: with whole_notes those of heads, else of kinds.
 * @property {boolean} whole_notes
 * @property {number} velocity_bins
 * @property {number} velocity_bin_width
 * @property {number[]} start
 * @property {string[]} kinds
 * @property {number[]} class_kinds
 * @property {number[]} class_values
 * @property {number[]} class_steps
 * @property {string[]} heads
 * @property {number} fine_shifts
 * @property {number} fine_durations
 * @typedef {{optional: boolean, signals: {name: string, size: number}[], default: number[]}}
 *   Conditioning
 * @typedef {object} Header
 * @property {string} name
 * @property {string} config
 * @property {string} description
 * @property {string} licence
 * @property {string} weights
 * @property {number} steps_per_second
 * @property {number[]} head_sizes
 * @property {Events} events
 * @property {Conditioning} controls
 * @property {Layer[]} layers
 * @property {Product} output
 */

/** A model file: its header, and its arrays as float32. */
export class Model {
  /** @param {ArrayBuffer} buffer The file. @throws {Error} If it is none. */
  constructor(buffer) {
    const bytes = new Uint8Array(buffer);
    if (String.fromCharCode(...bytes.subarray(0, MAGIC.length)) !== MAGIC) {
      throw new Error("this is no model file of this version of the studio");
    }
    const length = new DataView(buffer).getUint32(MAGIC.length, true);
    const start = MAGIC.length + 4;
    const text = new TextDecoder().decode(bytes.subarray(start, start + length));
    /** @type {Header} */
    this.header = JSON.parse(text);
    this._buffer = buffer;
    this._start = Math.ceil((start + length) / ALIGNMENT) * ALIGNMENT;
  }

  /**
   * @param {Place} place
   * @returns {Float32Array} The array, in C order.
   */
  array({ dtype, shape, offset, scales }) {
    const count = shape.reduce((product, size) => product * size, 1);
    const start = this._start + offset;
    if (dtype === "float32") return new Float32Array(this._buffer, start, count);
    if (dtype === "float16") {
      const bits = new Uint16Array(this._buffer, start, count);
      const array = new Float32Array(count);
      for (let i = 0; i < count; i++) array[i] = FLOAT16_VALUES[bits[i]];
      return array;
    }
    const quotients = new Int8Array(this._buffer, start, count);
    const factors = this.array(/** @type {Place} */ (scales));
    const width = shape[1];
    const array = new Float32Array(count);
    for (let i = 0; i < count; i++) array[i] = quotients[i] * factors[Math.floor(i / width)];
    return array;
  }
}

