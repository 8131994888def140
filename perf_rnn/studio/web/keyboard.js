// @ts-check
// A piano keyboard of HTML elements: it shows which keys sound, and is played by pointers.

export const LOWEST = 21, HIGHEST = 108;  // A piano's keys.
const BLACK_WIDTH = 0.6;  // Of a white key's.
const SOFTEST = 36, LOUDEST = 112;  // Velocities at the far and the near end of a key.

/** @param {number} pitch */
export const isBlack = (pitch) => [1, 3, 6, 8, 10].includes(pitch % 12);

/**
 * Where each key lies, as shares of the width of a keyboard that begins and ends with a white key.
 * @param {number} low
 * @param {number} high
 * @returns {{pitch: number, left: number, width: number}[]}
 */
export function keyPlaces(low, high) {
  const pitches = Array.from({length: high - low + 1}, (_, i) => low + i);
  const unit = 1 / pitches.filter((pitch) => !isBlack(pitch)).length;
  let whites = 0;
  return pitches.map((pitch) => {
    if (!isBlack(pitch)) return {pitch, left: whites++ * unit, width: unit};
    return {pitch, left: (whites - BLACK_WIDTH / 2) * unit, width: BLACK_WIDTH * unit};
  });
}

/**
 * @param {HTMLElement} element
 * @param {number} low
 * @param {number} high
 * @param {(pitch: number, velocity: number, timeStamp: number) => void} onKey velocity 0: released.
 */
export function createKeyboard(element, low, high, onKey) {
  /** @type {Map<number, HTMLElement>} */
  const keys = new Map();
  for (const {pitch, left, width} of keyPlaces(low, high)) {
    const key = document.createElement("div");
    key.className = isBlack(pitch) ? "key black" : "key";
    key.dataset.pitch = String(pitch);
    key.style.left = `${100 * left}%`;
    key.style.width = `${100 * width}%`;
    if (pitch % 12 === 0) key.dataset.octave = `C${pitch / 12 - 1}`;
    keys.set(pitch, key);
  }
  element.replaceChildren(...keys.values());

  const held = new Map();  // The pitch below each pointer.
  /** @param {PointerEvent} event @param {boolean} isDown */
  const move = (event, isDown) => {
    const below = isDown && document.elementFromPoint(event.clientX, event.clientY);
    const key = below instanceof HTMLElement && element.contains(below) && below.dataset.pitch;
    const pitch = key ? Number(key) : undefined, before = held.get(event.pointerId);
    if (pitch === before) return;
    if (before !== undefined) onKey(before, 0, event.timeStamp);
    held.delete(event.pointerId);
    if (pitch === undefined) return;
    held.set(event.pointerId, pitch);
    const box = /** @type {HTMLElement} */ (below).getBoundingClientRect();
    const near = (event.clientY - box.top) / box.height;
    onKey(pitch, Math.round(SOFTEST + near * (LOUDEST - SOFTEST)), event.timeStamp);
  };
  element.onpointerdown = (event) => {
    if (event.button) return;
    event.preventDefault();
    element.setPointerCapture(event.pointerId);
    move(event, true);
  };
  element.onpointermove = (event) => held.has(event.pointerId) && move(event, true);
  element.onpointerup = element.onlostpointercapture = (event) => move(event, false);
  element.oncontextmenu = (event) => event.preventDefault();

  let lit = new Map();
  return {
    /**
     * Shows which keys sound.
     * @param {Map<number, number>} parts of each sounding pitch; 0: the network, 1: the player.
     */
    light(parts) {
      for (const [pitch, part] of lit) {
        if (parts.get(pitch) !== part) keys.get(pitch)?.classList.remove("network", "player");
      }
      for (const [pitch, part] of parts) {
        if (lit.get(pitch) !== part) keys.get(pitch)?.classList.add(part ? "player" : "network");
      }
      lit = parts;
    },
    /** Lifts all keys that pointers hold. */
    release() {
      for (const pitch of held.values()) onKey(pitch, 0, performance.now());
      held.clear();
    },
    /**
     * Writes onto some keys what plays them.
     * @param {Map<number, string>} texts by pitch
     */
    label(texts) {
      for (const [pitch, key] of keys) key.dataset.letter = texts.get(pitch) ?? "";
    },
  };
}
