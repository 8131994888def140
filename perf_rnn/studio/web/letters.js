// @ts-check
// The computer keyboard as a piano: two rows of letters are an octave and a half.

const CODES = [
  "KeyA", "KeyW", "KeyS", "KeyE", "KeyD", "KeyF", "KeyT", "KeyG", "KeyY", "KeyH", "KeyU", "KeyJ",
  "KeyK", "KeyO", "KeyL", "KeyP", "Semicolon",
];
const VELOCITY = 72, LOUD_VELOCITY = 104;
const LOWEST_C = 24, HIGHEST_C = 84, MIDDLE_C = 60;
const TEXT_FIELDS = "input:not([type=range], [type=radio]), select, textarea";

/**
 * Plays the letters wherever no text is typed.
 * @param {(pitch: number, velocity: number, timeStamp: number) => void} onKey velocity 0: released.
 * @param {(texts: Map<number, string>) => void} onLabels told of the letter of each pitch.
 */
export function playByLetters(onKey, onLabels) {
  const held = new Map();  // The pitch of each letter that is down.
  let base = MIDDLE_C;
  /** @param {string} code */
  const letterOf = (code) => (code === "Semicolon" ? ";" : code[3]);
  const label = () => onLabels(new Map(CODES.map((code, i) => [base + i, letterOf(code)])));
  label();
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.target instanceof Element && event.target.matches(TEXT_FIELDS)) return;
    if (event.code === "KeyZ" || event.code === "KeyX") {
      base = Math.min(HIGHEST_C, Math.max(LOWEST_C, base + (event.code === "KeyZ" ? -12 : 12)));
      return label();
    }
    const place = CODES.indexOf(event.code);
    if (place < 0 || held.has(event.code)) return;
    held.set(event.code, base + place);
    onKey(base + place, event.shiftKey ? LOUD_VELOCITY : VELOCITY, event.timeStamp);
  });
  /** @param {string} code @param {number} timeStamp */
  const release = (code, timeStamp) => {
    const pitch = held.get(code);
    if (held.delete(code)) onKey(pitch, 0, timeStamp);
  };
  addEventListener("keyup", (event) => release(event.code, event.timeStamp));
  // The browser says nothing of keys released in another window.
  addEventListener("blur", (event) => [...held.keys()].forEach((code) => release(code, event.timeStamp)));
}
