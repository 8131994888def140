"""Picture: a sequence as a piano roll, PNG.

Time runs from left to right; a piece of more than 45 s is broken into rows, like the systems of a
score. There are at most twelve, so an hour is an overview, and no picture is larger or slower than
that. Colour is velocity. Notes struck within the primer are grey, on a shaded ground.
"""

import dataclasses
import io
import math
import warnings
from typing import Any

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from perf_rnn.notes.arrays import NoteArrays, as_arrays

DPI = 100
# All in pixels.
WIDTH, LEFT, ROW_WIDTH = 1600, 85, 1390
TOP, BOTTOM, GAP, PEDAL_HEIGHT = 75, 65, 35, 16
# About how high a row is: a pitch takes whole pixels, so that all notes are of one height.
SINGLE_ROW_HEIGHT, FEWEST_PIXELS_SINGLE_ROW = 500, 5
ROW_HEIGHT, FEWEST_PIXELS = 250, 3

ONE_ROW_SECONDS = 45.0
# Longer pieces get the first of these that makes no more than MAX_ROWS.
ROW_SECONDS = (30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
MAX_ROWS = 12
TICK_SECONDS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
MAX_TICKS = 16
# Times in anything longer are written as hours, minutes and seconds.
LONGEST_IN_SECONDS = 600

NOTE_NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
FEWEST_PITCHES = 30

_BLACK_KEYS = (1, 3, 6, 8, 10)
_PEDAL, _PEDAL_DOWN = 64, 64
_INK, _GRID = "#24292f", "#c9ced6"
_PRIMER_GROUND, _PRIMER_END, _PEDAL_COLOR = "#e6eef8", "#4a6fa5", "#8fb0bd"
# From soft, light, to loud, dark; both ends stand out from white.
_GENERATED_COLORS = ListedColormap(matplotlib.colormaps["inferno_r"](np.linspace(0.12, 0.9, 256)))
_PRIMER_COLORS = ListedColormap(matplotlib.colormaps["Greys"](np.linspace(0.3, 0.9, 256)))
_VELOCITIES = Normalize(1, 127)


def note_name(pitch: int) -> str:
    """Returns a MIDI pitch's name, middle C being C4.

    >>> note_name(60), note_name(21), note_name(70)
    ('C4', 'A0', 'B♭4')
    """
    return f"{NOTE_NAMES[pitch % 12]}{pitch // 12 - 1}"


def to_png(music: Any, primer_seconds: float = 0.0, title: str = "") -> bytes:
    """Returns a picture of music as the bytes of a PNG file, 1600 pixels wide.

    Without notes it is an empty roll that says so.

    Args:
      music: NoteArrays, or a NoteSequence not quantised relative to a tempo.
      primer_seconds: how much of its beginning was given, not generated.
      title: a line above the picture.

    Raises:
      ValueError: the sequence is quantised relative to its tempo.
    """
    roll = _Roll(as_arrays(music), primer_seconds)
    height = TOP + BOTTOM + roll.num_rows * (roll.row_height + GAP) - GAP
    figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    for row in range(roll.num_rows):
        y = height - TOP - roll.row_height - row * (roll.row_height + GAP)
        box = (LEFT / WIDTH, y / height, ROW_WIDTH / WIDTH, roll.row_height / height)
        axes = figure.add_axes(box)
        axes.set_xlim(row * roll.row_seconds, (row + 1) * roll.row_seconds)
        axes.set_ylim(roll.lowest - 0.5 - roll.pedal_pitches, roll.highest + 0.5)
        _draw_ground(axes, roll)
        for in_primer in (True, False):
            axes.add_collection(_notes(axes, roll, in_primer), autolim=False)
        _draw_pedal(axes, roll)
        _draw_scales(axes, roll)
    _write_facts(figure, roll, title)
    file = io.BytesIO()
    with warnings.catch_warnings():
        # A letter of the title that the font does not have is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure.savefig(file, format="png", dpi=DPI)
    return file.getvalue()


@dataclasses.dataclass
class _Roll:
    """What is drawn, and how large.

    Attributes:
      notes: the piece.
      primer_seconds: length of its primer.
      seconds: its length.
      row_seconds, row_height: of one row, in seconds and pixels.
      num_rows: how many there are.
      lowest, highest: pitches at the edges.
      pixels_per_pitch, pixels_per_second: how large they are.
      pedal: (start, duration) in seconds of every time for which a sustain pedal is down.
      pedal_pitches: how high the strip for the pedal is, in pitches.
    """

    notes: NoteArrays
    primer_seconds: float

    def __post_init__(self) -> None:
        notes = self.notes
        self.seconds = max(notes.total_time, notes.end_time.max(initial=0.0), 0.1)
        self.pedal = pedal_spans(notes, self.seconds)
        self.row_seconds = self.seconds
        if self.seconds > ONE_ROW_SECONDS:
            fitting = (s for s in ROW_SECONDS if self.seconds <= s * MAX_ROWS)
            self.row_seconds = next(fitting, self.seconds / MAX_ROWS)
        self.num_rows = max(1, math.ceil(self.seconds / self.row_seconds - 1e-9))
        low, high = (notes.pitch.min(), notes.pitch.max()) if notes.num_notes else (60, 60)
        missing = max(0, FEWEST_PITCHES - int(high - low + 5))
        self.lowest = max(0, int(low) - 2 - missing // 2)
        self.highest = min(127, int(high) + 2 + (missing + 1) // 2)
        num_pitches = self.highest - self.lowest + 1
        if self.num_rows == 1:
            pixels = max(FEWEST_PIXELS_SINGLE_ROW, SINGLE_ROW_HEIGHT // num_pitches)
        else:
            pixels = max(FEWEST_PIXELS, ROW_HEIGHT // num_pitches)
        self.pixels_per_pitch = pixels
        self.pixels_per_second = ROW_WIDTH / self.row_seconds
        pedal_height = PEDAL_HEIGHT if self.pedal else 0
        self.pedal_pitches = pedal_height / pixels
        self.row_height = num_pitches * pixels + pedal_height

    def show_time(self, seconds: float, unit: str = "") -> str:
        """Returns a time as the picture writes it."""
        if self.seconds <= LONGEST_IN_SECONDS:
            return f"{seconds:g}{unit}"
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _draw_ground(axes: Axes, roll: _Roll) -> None:
    """Draws what lies under the notes: black keys, octaves, the primer."""
    left, right = axes.get_xlim()
    right = min(right, roll.seconds)
    bottom, top = axes.get_ylim()
    pitches = range(roll.lowest, roll.highest + 1)
    if roll.primer_seconds > left:
        end = min(roll.primer_seconds, right)
        axes.fill_between([left, end], bottom, top, color=_PRIMER_GROUND, lw=0, zorder=0.2)
        axes.axvline(roll.primer_seconds, color=_PRIMER_END, lw=1.2, ls=(0, (4, 2)), zorder=4)
    for pitch in pitches:
        if pitch % 12 in _BLACK_KEYS and roll.pixels_per_pitch >= 5:
            key = (pitch - 0.5, pitch + 0.5)
            axes.fill_between([left, right], *key, color="black", alpha=0.045, lw=0, zorder=0.3)
        if pitch % 12 == 0:
            axes.plot([left, right], [pitch - 0.5] * 2, color=_GRID, lw=0.8, zorder=1)


def _notes(axes: Axes, roll: _Roll, in_primer: bool) -> PolyCollection:
    """Returns the notes of one row as rectangles, either those struck in the primer or the rest."""
    notes = roll.notes
    left, right = axes.get_xlim()
    # A note is at least two pixels wide and high, so that it is seen.
    start = notes.start_time
    end = np.maximum(notes.end_time, start + 2 / roll.pixels_per_second)
    half = max(0.42, 1 / roll.pixels_per_pitch)
    chosen = (start < roll.primer_seconds - 1e-6) == in_primer
    shown = np.flatnonzero(chosen & (start < right) & (end > left))
    # Where notes cover one another, the louder one is seen.
    shown = shown[np.argsort(notes.velocity[shown], kind="stable")]
    x0, x1 = start[shown], end[shown]
    y0, y1 = notes.pitch[shown] - half, notes.pitch[shown] + half
    corners = [np.stack(corner, -1) for corner in ((x0, y0), (x0, y1), (x1, y1), (x1, y0))]
    # A white edge parts notes that follow at once, where there is room for it.
    has_edges = roll.pixels_per_pitch >= 5 and roll.pixels_per_second >= 20
    return PolyCollection(
        list(np.stack(corners, 1)),
        array=notes.velocity[shown],
        cmap=_PRIMER_COLORS if in_primer else _GENERATED_COLORS,
        norm=_VELOCITIES,
        edgecolors="white" if has_edges else "none",
        linewidths=0.4 if has_edges else 0,
        zorder=3,
    )


def _draw_pedal(axes: Axes, roll: _Roll) -> None:
    """Draws a strip under the notes where the sustain pedal is down."""
    bottom = axes.get_ylim()[0]
    strip = (bottom + roll.pedal_pitches * 0.2, roll.pedal_pitches * 0.5)
    axes.broken_barh(roll.pedal, strip, color=_PEDAL_COLOR, lw=0, zorder=3)


def pedal_spans(notes: NoteArrays, seconds: float) -> list[tuple[float, float]]:
    """Returns (start, duration) of every time for which a sustain pedal is down.

    >>> from perf_rnn.notes.arrays import NoteArrays
    >>> zeros = [0, 0, 0]
    >>> pedal_spans(NoteArrays(control_time=[1.0, 2.5, 4.0], control_number=[64, 64, 64],
    ...                         control_value=[127, 0, 64], control_instrument=zeros,
    ...                         control_program=zeros, control_is_drum=zeros), 5.0)
    [(1.0, 1.5), (4.0, 1.0)]
    """
    rows = np.flatnonzero(notes.control_number == _PEDAL)
    rows = rows[np.argsort(notes.control_time[rows], kind="stable")]
    spans: list[tuple[float, float]] = []
    down_since: dict[int, float] = {}
    for row in rows:
        instrument, time = int(notes.control_instrument[row]), float(notes.control_time[row])
        if notes.control_value[row] >= _PEDAL_DOWN:
            down_since.setdefault(instrument, time)
        elif instrument in down_since:
            start = down_since.pop(instrument)
            spans.append((start, time - start))
    spans += [(start, seconds - start) for start in down_since.values()]
    return [(start, duration) for start, duration in spans if duration > 0 and start < seconds]


def _draw_scales(axes: Axes, roll: _Roll) -> None:
    """Names pitches, as many as there is room for, and times."""
    pixels = roll.pixels_per_pitch
    named = (0, 2, 4, 5, 7, 9, 11) if pixels >= 12 else (0, 4, 7) if pixels >= 7 else (0,)
    pitches = [p for p in range(roll.lowest, roll.highest + 1) if p % 12 in named]
    ticks, labels = list(map(float, pitches)), list(map(note_name, pitches))
    if roll.pedal:
        ticks.append(axes.get_ylim()[0] + roll.pedal_pitches * 0.45)
        labels.append("pedal")
    axes.set_yticks(ticks, labels)
    step = next((s for s in TICK_SECONDS if roll.row_seconds <= s * MAX_TICKS), roll.row_seconds)
    axes.xaxis.set_major_locator(ticker.MultipleLocator(step))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda time, _: roll.show_time(time)))
    axes.tick_params(axis="both", colors=_INK, labelsize=8, length=3)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)


def _write_facts(figure: Figure, roll: _Roll, title: str) -> None:
    """Writes the title, what the picture shows, and what the colours mean."""
    facts = [f"{roll.notes.num_notes:,} notes", roll.show_time(round(roll.seconds, 1), " s")]
    if roll.primer_seconds > 0:
        facts.insert(0, f"primer: the first {roll.primer_seconds:g} s, in grey")
    if roll.num_rows > 1:
        facts.append(f"{roll.show_time(roll.row_seconds, ' s')} a row")
    first, last = figure.axes[0], figure.axes[-1]
    box = first.get_position()
    top = 1 - 45 / (figure.get_size_inches()[1] * DPI)
    # Names of files are text, never mathematics; they may hold bytes that are not UTF-8.
    text: dict[str, Any] = {"color": _INK, "parse_math": False}
    title = " ".join(title.encode(errors="replace").decode().split())
    figure.text(box.x0, top, title, fontsize=12, weight="bold", **text)
    figure.text(box.x1, top, " · ".join(facts), fontsize=10, ha="right", **text)
    in_seconds = roll.seconds <= LONGEST_IN_SECONDS
    last.set_xlabel("time (seconds)" if in_seconds else "time (h:mm:ss)", color=_INK)
    if not roll.notes.num_notes:
        first.text(0.5, 0.5, "no notes", transform=first.transAxes, ha="center", **text)
    bar = figure.colorbar(
        ScalarMappable(_VELOCITIES, _GENERATED_COLORS),
        cax=figure.add_axes((box.x1 + 0.015, box.y0, 0.008, box.height)),
        ticks=[1, 32, 64, 96, 127],
    )
    bar.set_label("velocity", fontsize=9, color=_INK)
    bar.ax.tick_params(labelsize=8, colors=_INK, length=2)
    bar.outline.set_visible(False)
