"""Event files for TensorBoard, written with its own protocol buffers and without TensorFlow."""

import itertools
import os
import socket
import struct
import time
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.audio import metadata as audio
from tensorboard.plugins.histogram import metadata as histogram
from tensorboard.plugins.image import metadata as image
from tensorboard.plugins.scalar import metadata as scalar
from tensorboard.util.tensor_util import make_tensor_proto

from perf_rnn.data.tfrecord import RecordWriter

_file_numbers = itertools.count()


class SummaryWriter:
    """Adds an event file to a directory, which TensorBoard shows as a run; a context manager.

    An event file is a TFRecord file of `Event` messages. Each summary is flushed to it at once.
    """

    def __init__(self, directory: str):
        """Makes the directory and the file.

        Raises:
          OSError: they cannot be made.
        """
        os.makedirs(directory, exist_ok=True)
        # TensorBoard reads a directory's files in the order of their names.
        start, number = int(time.time()), next(_file_numbers)
        name = f"events.out.tfevents.{start:010d}.{socket.gethostname()}.{os.getpid()}.{number}"
        self._file = open(os.path.join(directory, name), "xb")  # noqa: SIM115
        self._writer = RecordWriter(self._file)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def __enter__(self) -> "SummaryWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Writes one number."""
        self._add(tag, np.float32(value), scalar.create_summary_metadata("", None), step)

    def histogram(self, tag: str, counts: ArrayLike, edges: ArrayLike, step: int) -> None:
        """Writes how many values lie in each bucket.

        Args:
          tag: what the values are.
          counts: [buckets].
          edges: [buckets + 1], the ends of the buckets.
          step: training steps taken.
        """
        edges = np.asarray(edges, np.float64)
        buckets = np.stack([edges[:-1], edges[1:], np.asarray(counts, np.float64)], axis=1)
        self._add(tag, buckets, histogram.create_summary_metadata(None, None), step)

    def image(self, tag: str, png: bytes, step: int) -> None:
        """Writes a PNG file."""
        width, height = struct.unpack(">II", png[16:24])
        value = [str(width).encode(), str(height).encode(), png]
        self._add(tag, value, image.create_summary_metadata(None, None), step)

    def audio(self, tag: str, wav: bytes, step: int) -> None:
        """Writes a WAV file."""
        is_wav = audio.create_summary_metadata(None, None, audio.Encoding.Value("WAV"))
        self._add(tag, [[wav, b""]], is_wav, step)

    def _add(self, tag: str, value: Any, metadata: SummaryMetadata, step: int) -> None:
        tensor = make_tensor_proto(value)
        summary = Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=metadata)])
        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def _write(self, event: Event) -> None:
        self._writer.write(event.SerializeToString())
        self._file.flush()
