"""Music files in folders and zip archives: finding, reading and naming them."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import os
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from absl import logging

from bundles.errors import PerfRnnError
from bundles.regular_files import open_regular
from perf_rnn.notes import midi
from perf_rnn.notes.arrays import NoteArrays

# What the names of MIDI files end in, in lower case.
_PLAIN_SUFFIXES = (".mid", ".midi", ".smf", ".kar", ".rmi")
MIDI_SUFFIXES = (*_PLAIN_SUFFIXES, *(f"{suffix}.gz" for suffix in _PLAIN_SUFFIXES))
ARCHIVE_SUFFIX = ".zip"
# Names of music files in other formats end in these; a warning counts those that are not read.
_OTHER_SUFFIXES = (
    *(".xml", ".musicxml", ".mxl", ".abc", ".mei", ".krn", ".ly", ".mscz", ".mscx", ".sib", ".mus"),
    *(".musx", ".cap", ".capx", ".gp", ".gp3", ".gp4", ".gp5", ".gpx", ".nwc", ".ptb"),
)

# The header before a member of an archive: the sizes of its name and of its extra field.
_LOCAL_HEADER = struct.Struct("<26xHH")


@dataclasses.dataclass(frozen=True)
class MusicFile:
    """A file of a collection, in a folder or a zip archive.

    Attributes:
      path: where it is, or where the archive is.
      name: its path in the collection, with forward slashes.
      collection_name: name of the folder or archive.
      member: what the archive says about it, None in a folder.
    """

    path: str
    name: str
    collection_name: str
    member: zipfile.ZipInfo | None = None

    def content(self, limit: int) -> bytes:
        """Reads and unpacks it; `limit` is the largest size allowed, in bytes.

        Raises:
          PerfRnnError: it is no regular file, cannot be unpacked, or is too large.
          OSError: it cannot be read.
        """
        with open_regular(self.path) as file:
            try:
                if self.member is None:
                    data = file.read(limit + 1)
                else:
                    data = _read_member(file, self.member, limit)
                if data.startswith(b"\x1f\x8b"):
                    data = _inflate(data, zlib.MAX_WBITS | 16, limit)
                if len(data) > limit:
                    raise PerfRnnError(f"more than {limit} bytes")
                return data
            except PerfRnnError as error:
                raise PerfRnnError(f"{self}: {error}") from None

    def notes(self) -> NoteArrays:
        """Reads it as MIDI.

        Raises:
          PerfRnnError: it is no MIDI file, or a damaged or too large one.
          OSError: it cannot be read.
        """
        content = self.content(midi.MAX_BYTES)
        try:
            notes = midi.parse_midi(content)
        except PerfRnnError as error:
            raise PerfRnnError(f"{self}: {error}") from None
        # File names may hold bytes that are not UTF-8; NoteSequence protos may not.
        name, collection_name = (
            text.encode(errors="backslashreplace").decode()
            for text in (self.name, self.collection_name)
        )
        return notes.replace(
            id=note_sequence_id(name, collection_name, "midi"),
            filename=name,
            collection_name=collection_name,
        )

    def __str__(self) -> str:
        return self.path if self.member is None else f"{self.path}: {self.name}"


def read_midi_file(path: str | os.PathLike[str]) -> NoteArrays:
    """Reads one MIDI file; raises as `MusicFile.notes`."""
    return single_file(path).notes()


def single_file(path: str | os.PathLike[str]) -> MusicFile:
    """A file by itself; its collection is the folder that it is in."""
    folder, name = os.path.split(os.path.abspath(path))
    return MusicFile(os.fspath(path), name, os.path.basename(folder))


def note_sequence_id(name: str, collection_name: str, source_type: str) -> str:
    """Returns the id of a file's sequence, the same wherever the collection lies.

    >>> note_sequence_id('a/b.mid', 'songs', 'midi')
    '/id/midi/songs/51deb17655a5d7bd04b4c26e49b93b370e15e0fe'

    Args:
      name: path in the collection, with forward slashes.
      collection_name: name of the collection.
      source_type: 'midi', 'musicxml' or 'abc'.
    """
    digest = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
    return f"/id/{source_type}/{collection_name}/{digest}"


def is_music(path: str) -> bool:
    """Whether a path is a folder, or by its name a zip archive or MIDI file."""
    return os.path.isdir(path) or path.lower().endswith((*MIDI_SUFFIXES, ARCHIVE_SUFFIX))


def find_music_files(
    path: str, recursive: bool = True, suffixes: tuple[str, ...] = MIDI_SUFFIXES
) -> list[MusicFile]:
    """Returns the music files of a folder or zip archive, sorted by name, or the one file.

    An archive with a single folder at its top is the collection that unpacking it would give.
    A warning counts the music files that are not read.

    Args:
      path: of the folder, archive or file; the name of a single file may have any ending.
      recursive: whether to look into subfolders.
      suffixes: what names end in, in lower case.

    Raises:
      OSError: a folder or the archive cannot be read.
      PerfRnnError: there are no such files, or it is no zip archive.
    """
    if os.path.isdir(path):
        files = _in_folder(os.path.abspath(path), recursive)
    elif path.lower().endswith(ARCHIVE_SUFFIX):
        files = _in_archive(path, recursive)
    else:
        os.stat(path)
        return [single_file(path)]
    found, not_read = [], collections.Counter[str]()
    for file in files:
        if file.name.lower().endswith(suffixes):
            found.append(file)
        elif file.name.lower().endswith(_OTHER_SUFFIXES):
            not_read[os.path.splitext(file.name)[1].lower()] += 1
    if not_read:
        shown = ", ".join(f"{count} {suffix}" for suffix, count in sorted(not_read.items()))
        logging.warning("%s: %d music files are not read: %s", path, not_read.total(), shown)
    if not found:
        hint = "" if recursive else " (--recursive looks into its subdirectories)"
        raise PerfRnnError(f"{path}: no file ends in {', '.join(suffixes)}{hint}")
    return sorted(found, key=lambda file: file.name)


def _in_folder(root: str, recursive: bool) -> Iterator[MusicFile]:
    def fail(error: OSError) -> None:
        raise error

    for folder, subfolders, names in os.walk(root, onerror=fail):
        if not recursive:
            subfolders.clear()
        for name in names:
            path = os.path.join(folder, name)
            in_root = os.path.relpath(path, root).replace(os.sep, "/")
            yield MusicFile(path, in_root, os.path.basename(root))


def _in_archive(path: str, recursive: bool) -> Iterator[MusicFile]:
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            members = {m.filename.replace("\\", "/"): m for m in archive.infolist()}
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise PerfRnnError(f"{path}: not an intact zip archive ({error})") from error
    # Beside each file, archives made by macOS hold another with its attributes.
    names = [name for name in members if name[-1:] != "/" and not name.startswith("__MACOSX/")]
    tops = {name.partition("/")[0] if "/" in name else "" for name in names}
    top = tops.pop() if len(tops) == 1 else ""
    collection_name = top or os.path.splitext(os.path.basename(path))[0]
    for name in names:
        place = pathlib.PureWindowsPath(name)
        if place.anchor or ".." in place.parts:
            logging.warning("%s: not read, since its path leaves the archive: %s", path, name)
            continue
        in_top = name.removeprefix(f"{top}/")
        if recursive or "/" not in in_top:
            yield MusicFile(path, in_top, collection_name, members[name])


def _read_member(file: IO[bytes], member: zipfile.ZipInfo, limit: int) -> bytes:
    """Reads a member of an archive, without the archive's directory, which would be read again."""
    if member.flag_bits & 1:
        raise PerfRnnError("encrypted")
    if max(member.file_size, member.compress_size) > limit:
        raise PerfRnnError(f"more than {limit} bytes")
    file.seek(member.header_offset)
    header = file.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\3\4"):
        raise PerfRnnError("damaged in the archive")
    file.seek(sum(_LOCAL_HEADER.unpack(header)), os.SEEK_CUR)
    content = file.read(member.compress_size)
    if member.compress_type == zipfile.ZIP_DEFLATED:
        content = _inflate(content, -zlib.MAX_WBITS, limit)
    elif member.compress_type != zipfile.ZIP_STORED:
        raise PerfRnnError(f"compressed by method {member.compress_type}; zip it with deflate")
    if zlib.crc32(content) != member.CRC:
        raise PerfRnnError("damaged in the archive (wrong checksum)")
    return content


def _inflate(data: bytes, window_bits: int, limit: int) -> bytes:
    """Unpacks data compressed with deflate, to at most `limit` bytes."""
    unpacker = zlib.decompressobj(window_bits)
    try:
        content = unpacker.decompress(data, limit + 1)
    except zlib.error as error:
        raise PerfRnnError(f"damaged, not unpacked ({error})") from error
    if len(content) > limit:
        raise PerfRnnError(f"unpacks to more than {limit} bytes")
    if not unpacker.eof:
        raise PerfRnnError("cut off, not unpacked")
    return content
