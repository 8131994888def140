// @ts-check
// The page: what is pressed, turned and shown.

import {createKnobs, createPitchClasses} from "./controls.js";
import {createKeyboard, HIGHEST, LOWEST} from "./keyboard.js";
import {playByLetters} from "./letters.js";
import {readMidi, sustained} from "./midi_file.js";
import {createMidiPanel} from "./midi_panel.js";
import {createMoods} from "./moods.js";
import {createMySettings} from "./my_settings.js";
import {midiOfTake, wavOfTake} from "./recording.js";
import {createRoll} from "./roll.js";
import {createSession} from "./session.js";
import {canAskFor, fromQuery, toQuery} from "./settings.js";

/** @type {Object<string, string>} */
const HINTS = {
  alone: "The network plays by itself. Your keys sound, but it does not listen.",
  response: "Play something and pause: it answers.",
  duet: "Play along: it listens, and plays with you.",
  tap: "Tap any keys: you give the rhythm, the network gives the pitches.",
};
/** @type {Object<string, string>} */
const INVITATIONS = {
  alone: "Press Play, or touch the keys.",
  response: "Play something on the keys.",
  duet: "Press Play, or touch the keys.",
  tap: "Tap on the keys.",
};
const PLAY_ICON = "M8 5v14l11-7z", PAUSE_ICON = "M7 5h3.5v14H7zM13.5 5H17v14h-3.5z";
const GOOD_SECONDS = 30;
const WAV_MINUTES = 10;  // At most; 106 MB, all in memory.
// Of a file, at its end: what the network reads before it goes on.
const PRIMER_SECONDS = 30, MOST_PRIMER_NOTES = 2000;

/** @param {string} id */
const find = (id) => /** @type {any} */ (document.getElementById(id));
/** @param {string} line */
const say = (line) => (find("status").textContent = line);
/** @param {string} line */
function tellProblem(line) {
  Object.assign(find("problem"), {textContent: line, hidden: false});
  if (find("status").textContent.startsWith("Loading")) say("");
}

const state = fromQuery(location.search);
/** @type {any} the facts of the model, once it is loaded. */
let info = null;

const roll = createRoll(find("roll"));
const session = createSession(roll, showSound, tellProblem);
const knobs = createKnobs((name, value) => change({...state.settings, [name]: value}));
const moods = createMoods((settings) => change({...state.settings, ...settings}));
const classes = createPitchClasses((value) => change({...state.settings, pitch_class_histogram: value}));
const piano = createKeyboard(find("piano"), LOWEST, HIGHEST, onKey);
let handsLow = 60, hands = createHands();

// Settings.

let addressTimer = 0, settingsTimer = 0;
/** @param {Object<string, any>} settings */
function change(settings) {
  state.settings = settings;
  showSettings();
  // What is drawn already is drawn anew, so a slider that moves sends its positions now and then.
  settingsTimer ||= setTimeout(() => {
    settingsTimer = 0;
    session.set(state.settings);
  }, 100);
}
function showSettings() {
  knobs.show(state.settings, state.mode, info);
  moods.show(state.settings);
  classes.show(state.settings.pitch_class_histogram);
  find("seed").value = state.seed ?? "";
  find("hint").textContent = HINTS[state.mode];
  find("invitation").textContent = INVITATIONS[state.mode];
  for (const input of modeInputs) input.checked = input.value === state.mode;
  // Browsers limit how often an address may be changed.
  clearTimeout(addressTimer);
  addressTimer = setTimeout(writeAddress, 250);
}
function writeAddress() {
  history.replaceState(null, "", `?${toQuery(state)}`.replace(/\?$/, location.pathname));
}
/** @type {HTMLInputElement[]} */
const modeInputs = [...document.querySelectorAll("input[name=mode]")].map((each) => /** @type {any} */ (each));
for (const input of modeInputs) input.onchange = () => setMode(input.value);
/** @param {string} mode */
function setMode(mode) {
  // A link or stored settings may ask for a mode that this network has not.
  state.mode = !info || info.modes.includes(mode) ? mode : "alone";
  session.setMode(state.mode);
  showSettings();
}
createMySettings(
  () => toQuery({...state, seed: null}),
  (query) => {
    const {settings, mode} = fromQuery(query);
    setMode(mode);
    change(settings);
  },
  say,
);

// Playing.

const newSeed = () => crypto.getRandomValues(new Uint32Array(1))[0];
let continuesFile = false;
/**
 * Begins a performance: the one that the seed gives, after a primer.
 * @param {number[][] | null} [primer] start, end, pitch and velocity of notes
 * @param {number | null} [keyTimeStamp] of the key that begins it
 */
async function begin(primer = null, keyTimeStamp = null) {
  continuesFile = primer !== null;
  state.seed ??= newSeed();
  await session.play(state.seed, state.settings, primer, keyTimeStamp);
  for (const id of ["undo", "good", "midi", "wav"]) find(id).disabled = false;
  showSettings();
  showState();
}
function toggle() {
  if (session.state === "playing") session.pause();
  else if (session.state === "paused") session.resume();
  else return begin();
  showState();
}
function showState() {
  const playing = session.state === "playing";
  find("play").setAttribute("aria-label", playing ? "Pause" : "Play");
  find("play").querySelector("path").setAttribute("d", playing ? PAUSE_ICON : PLAY_ICON);
  say(playing ? `Playing, seed ${state.seed}.` : "Paused.");
  showFrame();
}
let frame = 0;
function showFrame() {
  cancelAnimationFrame(frame);
  const playing = session.state === "playing";
  const now = session.position(), seconds = Math.max(0, Math.floor(now));
  const drawn = roll.draw(now), sounding = playing ? drawn : new Map();
  if (sounding.size) find("invitation").hidden = true;
  piano.light(sounding);
  hands.light(sounding);
  const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  if (find("clock").textContent !== clock) find("clock").textContent = clock;
  if (playing) frame = requestAnimationFrame(showFrame);
}
/** @param {number} pitch @param {number} velocity 0: released @param {number} timeStamp */
async function onKey(pitch, velocity, timeStamp) {
  if (velocity && session.state === "paused") toggle();
  if (session.state === "idle") {
    if (!velocity || !info) return;
    // A key begins what is played together.
    if (state.mode === "alone") setMode(info.modes.includes("duet") ? "duet" : "response");
    await begin(null, timeStamp);
  }
  session.key(pitch, velocity, timeStamp);
}
find("play").onclick = toggle;
find("new").onclick = () => {
  state.seed = newSeed();
  begin();
};
find("seed").onchange = () => {
  const written = find("seed").value;
  if (!/^\d{1,15}$/.test(written)) return say("A seed is a whole number of at most 15 digits.");
  state.seed = Number(written);
  begin();
};
find("undo").onclick = () => {
  const seconds = session.undo();
  showFrame();
  say(`Went back ${seconds.toFixed(1)} s.`);
};
find("panic").onclick = panic;
function panic() {
  session.panic();
  if (session.state === "playing") toggle();
  say("All is silent.");
}
addEventListener("keydown", (event) => {
  if (event.key === "Escape") panic();
  const operated = "button, input:not([type=range], [type=radio]), select, summary";
  const isOperated = event.target instanceof Element && event.target.matches(operated);
  if (event.key !== " " || isOperated || event.repeat) return;
  event.preventDefault();
  toggle();
});

// Keyboards.

function createHands() {
  find("lower").disabled = handsLow <= 24;
  find("higher").disabled = handsLow >= 84;
  return createKeyboard(find("hands"), handsLow, handsLow + 23, onKey);
}
/** @param {number} semitones */
const shiftHands = (semitones) => () => {
  hands.release();
  handsLow += semitones;
  hands = createHands();
};
find("lower").onclick = shiftHands(-12);
find("higher").onclick = shiftHands(12);
playByLetters(onKey, (texts) => piano.label(texts));

// Keeping.

/** @param {string} name @param {() => Blob | Promise<Blob>} make @param {string} [part] */
async function save(name, make, part = "") {
  try {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await make());
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    say(`Saved ${name}${part}.`);
  } catch (error) {
    say(/** @type {Error} */ (error).message);
  }
}
/** @param {string} ending */
const fileName = (ending) => {
  const stamp = new Date().toISOString().slice(0, 19).replace("T", "_").replaceAll(":", "");
  return `${stamp}.${ending}`;
};
const taken = (seconds = Infinity) => session.recording.take(session.position(), seconds);
/** @param {import("./recording.js").Take} take */
const midiBlob = (take) => new Blob([/** @type {any} */ (midiOfTake(take))], {type: "audio/midi"});
find("midi").onclick = () => save(fileName("mid"), () => midiBlob(taken()));
find("wav").onclick = () => {
  say("Making the sound file.");
  const part = session.position() > 60 * WAV_MINUTES ? `, the last ${WAV_MINUTES} minutes` : "";
  save(fileName("wav"), async () => wavOfTake(taken(60 * WAV_MINUTES), await session.font), part);
};
find("good").onclick = () => save(`good_${fileName("mid")}`, () =>
  midiBlob(session.recording.last(GOOD_SECONDS, session.position())));
find("copy").onclick = async () => {
  clearTimeout(addressTimer);
  writeAddress();
  try {
    await navigator.clipboard.writeText(location.href);
    say(continuesFile
      ? "Link copied: it holds the seed and the settings; choose the MIDI file there again."
      : "Link copied: it plays the same piece with the same settings.");
  } catch {  // Not allowed here.
    say(`Copy this link: ${location.href}`);
  }
};

// A MIDI file to continue.

/** @param {File} file */
async function continueFile(file) {
  try {
    const song = readMidi(new Uint8Array(await file.arrayBuffer()));
    const notes = sustained(song).slice(-MOST_PRIMER_NOTES);
    if (!notes.length) return say(`${file.name} has no notes.`);
    const end = notes.reduce((last, note) => Math.max(last, note.end), 0);
    const from = Math.max(notes[0].start, end - PRIMER_SECONDS);
    const primer = notes
      .filter((note) => note.start >= from)
      .map(({start, end: until, pitch, velocity}) => [start - from, until - from, pitch, velocity]);
    await begin(primer);
    say(`Continuing ${file.name}.`);
  } catch (error) {
    say(`${file.name}: ${/** @type {Error} */ (error).message}`);
  }
}
find("file").onchange = () => find("file").files[0] && continueFile(find("file").files[0]);
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const file = event.dataTransfer?.files[0];
  if (file) continueFile(file);
});

// Start.

createMidiPanel(session, knobs, onKey, say);
setMode(state.mode);
try {
  info = await session.opened;
  showInfo();
} catch (error) {
  tellProblem(`The network cannot be played: ${/** @type {Error} */ (error).message}`);
  find("play").disabled = find("new").disabled = true;
}
/** @param {{name: string, copyright: string}} font */
function showSound({name, copyright}) {
  find("sound").textContent = `Piano: ${copyright || name}`;
}
function showInfo() {
  for (const input of modeInputs) input.disabled = !info.modes.includes(input.value);
  setMode(state.mode);
  const kinds = [["notes_per_second", "density"], ["pitch_class_histogram", "pitch classes"]];
  const trained = kinds.filter(([name]) => info.controls.includes(name)).map(([, text]) => text);
  const biased = kinds.filter(([name]) => info.biases.includes(name)).map(([, text]) => text);
  const lines = [];
  if (trained.length) lines.push(`This network was trained to follow ${trained.join(" and ")}.`);
  if (info.hasGuidance) lines.push("With guidance it follows them more closely.");
  if (biased.length) {
    const subject = trained.length ? "It" : "This network";
    lines.push(`${subject} was not trained to follow ${biased.join(" and ")}: what fits is made more probable.`);
  }
  if (!canAskFor("notes_per_second", info)) {
    lines.push("It cannot be asked for a density: of a mood it plays the scale.");
  }
  find("control-kind").textContent = lines.join(" ");
  find("model").textContent = [info.name, info.description].filter(Boolean).join(" · ");
  say(state.wrong.length ? `Not understood in the link: ${state.wrong.join(", ")}.` : "Ready.");
}
