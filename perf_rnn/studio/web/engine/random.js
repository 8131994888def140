// @ts-check
/** NumPy's random numbers: those of `numpy.random.default_rng(seed).random()`, bit for bit.
 *
 * A seed is spread by NumPy's SeedSequence; the generator is PCG64, whose output function is XSL-RR
 * (M. O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms for
 * Random Number Generation", 2014). BigInts take a microsecond a number, a thousandth of what the
 * network takes for an event.
 */

const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;
const MASK_64 = (1n << 64n) - 1n;
const MASK_128 = (1n << 128n) - 1n;
const POOL_SIZE = 4;

/** A generator of uniform random numbers. */
export class Random {
  /** @param {number[]} seed Integers of at least 0: what Python's seed (a, b) is here [a, b]. */
  constructor(seed) {
    const [high, low, sequenceHigh, sequenceLow] = seedWords(seed.flatMap(words));
    this._increment = (((sequenceHigh << 64n) | sequenceLow) << 1n | 1n) & MASK_128;
    this._state = this._increment;
    this._state = (this._state + ((high << 64n) | low)) & MASK_128;
    this._advance();
  }

  /** @returns {number} The next number, from 0 up to but not including 1. */
  next() {
    this._advance();
    const folded = (this._state >> 64n) ^ (this._state & MASK_64);
    const turn = this._state >> 122n;
    const bits = ((folded >> turn) | (folded << (64n - turn))) & MASK_64;
    return Number(bits >> 11n) * 2 ** -53;
  }

  /** @returns {bigint} The state, for `restore`. */
  snapshot() {
    return this._state;
  }

  /** @param {bigint} snapshot */
  restore(snapshot) {
    this._state = snapshot;
  }

  _advance() {
    this._state = (this._state * MULTIPLIER + this._increment) & MASK_128;
  }
}

/** @param {number} integer @returns {number[]} Its 32-bit words, the lowest first. */
function words(integer) {
  const rest = Math.floor(integer / 2 ** 32);
  return rest ? [integer >>> 0, ...words(rest)] : [integer >>> 0];
}

/**
 * SeedSequence: mixes words into a pool, and draws four words of 64 bits from it.
 *
 * @param {number[]} entropy
 * @returns {bigint[]}
 */
function seedWords(entropy) {
  let constant = 0x43b0d7e5;
  /** @param {number} value */
  const hash = (value) => {
    value ^= constant;
    constant = Math.imul(constant, 0x931e8875);
    value = Math.imul(value, constant);
    return value ^ (value >>> 16);
  };
  /** @param {number} x @param {number} y */
  const mix = (x, y) => {
    const mixed = Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y) | 0;
    return mixed ^ (mixed >>> 16);
  };
  const pool = Array.from({ length: POOL_SIZE }, (_, i) => hash(entropy[i] ?? 0));
  for (let from = 0; from < POOL_SIZE; from++) {
    for (let to = 0; to < POOL_SIZE; to++) {
      if (from !== to) pool[to] = mix(pool[to], hash(pool[from]));
    }
  }
  for (const word of entropy.slice(POOL_SIZE)) {
    for (let to = 0; to < POOL_SIZE; to++) pool[to] = mix(pool[to], hash(word));
  }

  constant = 0x8b51f9dd;
  const drawn = Array.from({ length: 8 }, (_, i) => {
    let value = pool[i % POOL_SIZE] ^ constant;
    constant = Math.imul(constant, 0x58f38ded);
    value = Math.imul(value, constant);
    return BigInt((value ^ (value >>> 16)) >>> 0);
  });
  return [0, 2, 4, 6].map((i) => drawn[i] | (drawn[i + 1] << 32n));
}
