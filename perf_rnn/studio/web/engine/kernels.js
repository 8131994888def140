// @ts-check
/** What one step of the network computes, in plain JavaScript: step.c has the same with SIMD.
 *
 * Arguments are places in `floats`, in bytes. Vectors may be read and written up to the next
 * multiple of 4 floats beyond their end.
 */

/** Columns of a tile: a kernel [inputs, outputs] is stored as [tiles, inputs, TILE]. */
export const TILE = 32;

/**
 * @typedef {object} Kernels
 * @property {(y: number, x: number, kernel: number, inputs: number, outputs: number) => void}
 *   multiply y += x @ kernel, where outputs is a multiple of TILE.
 * @property {(y: number, x: number, kernel: number, inputs: number, outputs: number,
 *   stride: number) => void}
 *   multiply_two The same for two rows, the second of which is `stride` floats after the first.
 * @property {(hidden: number, cell: number, gates: number, units: number) => void}
 *   update The LSTM's new state for its gates: input, forget, candidate, output.
 * @property {(context: number, weights: number, memory: number, features: number, query: number,
 *   score: number, length: number, width: number) => void}
 *   attend context = softmax_i(sum(score * tanh(features[i] + query))) @ memory; width is a
 *   multiple of 4.
 */

/**
 * @param {Float32Array} floats
 * @returns {Kernels}
 */
export function javascriptKernels(floats) {
  /** @type {Kernels} */
  const kernels = {
    multiply(y, x, kernel, inputs, outputs) {
      const [from, end] = [x / 4, x / 4 + inputs];
      for (let column = 0; column < outputs; column += 8) {
        const tile = column - (column % TILE);
        let place = kernel / 4 + tile * inputs + column - tile;
        // Eight local variables take a third of the time of an array of sums.
        let [a, b, c, d, e, f, g, h] = [0, 0, 0, 0, 0, 0, 0, 0];
        for (let row = from; row < end; row++, place += TILE) {
          const value = floats[row];
          a += value * floats[place];
          b += value * floats[place + 1];
          c += value * floats[place + 2];
          d += value * floats[place + 3];
          e += value * floats[place + 4];
          f += value * floats[place + 5];
          g += value * floats[place + 6];
          h += value * floats[place + 7];
        }
        const to = y / 4 + column;
        floats[to] += a;
        floats[to + 1] += b;
        floats[to + 2] += c;
        floats[to + 3] += d;
        floats[to + 4] += e;
        floats[to + 5] += f;
        floats[to + 6] += g;
        floats[to + 7] += h;
      }
    },

    multiply_two(y, x, kernel, inputs, outputs, stride) {
      kernels.multiply(y, x, kernel, inputs, outputs);
      kernels.multiply(y + 4 * stride, x + 4 * stride, kernel, inputs, outputs);
    },

    update(hidden, cell, gates, units) {
      for (let unit = 0; unit < units; unit++) {
        const gate = gates / 4 + unit;
        const input = sigmoid(floats[gate]);
        const forget = sigmoid(floats[gate + units]);
        const candidate = Math.tanh(floats[gate + 2 * units]);
        const output = sigmoid(floats[gate + 3 * units]);
        const kept = forget * floats[cell / 4 + unit] + input * candidate;
        floats[cell / 4 + unit] = kept;
        floats[hidden / 4 + unit] = output * Math.tanh(kept);
      }
    },

    attend(context, weights, memory, features, query, score, length, width) {
      const shares = floats.subarray(weights / 4, weights / 4 + length);
      for (let place = 0; place < length; place++) {
        let sum = 0;
        for (let i = 0; i < width; i++) {
          const feature = floats[features / 4 + place * width + i] + floats[query / 4 + i];
          sum += Math.tanh(feature) * floats[score / 4 + i];
        }
        shares[place] = sum;
      }
      const largest = Math.max(...shares);
      let total = 0;
      for (let place = 0; place < length; place++) {
        shares[place] = Math.exp(shares[place] - largest);
        total += shares[place];
      }
      for (let i = 0; i < width; i++) {
        let sum = 0;
        for (let place = 0; place < length; place++) {
          sum += shares[place] * floats[memory / 4 + place * width + i];
        }
        floats[context / 4 + i] = sum / total;
      }
    },
  };
  return kernels;
}

/** @param {number} x */
function sigmoid(x) {
  return 1 / (1 + Math.exp(-x));
}
