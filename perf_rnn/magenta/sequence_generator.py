"""The base class of generators of NoteSequences, which loads their model's weights.

Names and behaviour are Magenta 2.1.4's, so that its users' code needs another import only.
"""

from __future__ import annotations

import abc
import dataclasses
import os
from typing import Any

from absl import logging
from note_seq.protobuf import generator_pb2, music_pb2

import bundles
from bundles import Bundle
from bundles.errors import PerfRnnError


class SequenceGeneratorError(PerfRnnError):
    """A generator cannot be made, or cannot do what it is asked for; the message says why."""


class BaseSequenceGenerator(abc.ABC):
    """A model with its weights, from a checkpoint or from a bundle, that makes NoteSequences.

    Weights are loaded by `initialize`, by the first `generate`, or on entering a `with` block.

    Args:
      model: takes the weights, as `PerformanceRnnModel` does: `initialize_with_checkpoint(path)`,
        `initialize_with_bundle(bundle)`, `close()`, and then has them as its `bundle`.
      details: the GeneratorDetails proto of this generator.
      checkpoint: a training run's directory, its `train` directory, or one checkpoint of it. None
        if a bundle is given.
      bundle: a GeneratorBundle proto, from `bundles.read_bundle_file`, or a Bundle, from
        `bundles.read_bundle`. None if a checkpoint is given.

    Raises:
      SequenceGeneratorError: neither or both are given, or the bundle is another generator's.
    """

    def __init__(
        self,
        model: Any,
        details: generator_pb2.GeneratorDetails,
        checkpoint: str | os.PathLike[str] | None,
        bundle: generator_pb2.GeneratorBundle | Bundle | None,
    ):
        if (checkpoint is None) == (bundle is None):
            given = "neither is" if bundle is None else "both are"
            raise SequenceGeneratorError(f"give a checkpoint or a bundle; {given} given")
        if bundle is not None:
            bundle_id = bundle.id if isinstance(bundle, Bundle) else bundle.generator_details.id
            if bundle_id != details.id:
                raise SequenceGeneratorError(
                    f"the bundle is of generator {bundle_id!r}, this is {details.id!r}"
                )
        self._model = model
        self._details = details
        self._checkpoint = None if checkpoint is None else os.path.expanduser(checkpoint)
        self._bundle = bundle
        self._initialized = False

    @property
    def details(self) -> generator_pb2.GeneratorDetails:
        """The id and the description of this generator."""
        return self._details

    @property
    def bundle_details(self) -> generator_pb2.GeneratorBundle.BundleDetails | None:
        """The description of the bundle; None where the weights are a checkpoint's."""
        if isinstance(self._bundle, Bundle):
            description = self._bundle.bundle_description
            return generator_pb2.GeneratorBundle.BundleDetails(description=description)
        return None if self._bundle is None else self._bundle.bundle_details

    def initialize(self) -> None:
        """Loads the weights, if they are not yet.

        Raises:
          SequenceGeneratorError: there is no checkpoint where one should be.
          ValueError: the checkpoint or bundle is damaged, or another model's.
        """
        if self._initialized:
            return
        if self._bundle is not None:
            bundle = self._bundle
            if not isinstance(bundle, Bundle):
                bundle = bundles.bundle_from_proto(bundle)
            self._model.initialize_with_bundle(bundle)
        else:
            self._model.initialize_with_checkpoint(_find_checkpoint(str(self._checkpoint)))
        self._initialized = True

    def close(self) -> None:
        """Frees the weights; `initialize` loads them again."""
        if self._initialized:
            self._model.close()
            self._initialized = False

    def __enter__(self) -> Any:
        self.initialize()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def generate(
        self,
        input_sequence: music_pb2.NoteSequence,
        generator_options: generator_pb2.GeneratorOptions,
    ) -> music_pb2.NoteSequence:
        """Returns `input_sequence` continued as the options say.

        Raises:
          SequenceGeneratorError: the options make no sense, or the weights cannot be found.
        """
        self.initialize()
        return self._generate(input_sequence, generator_options)

    @abc.abstractmethod
    def _generate(
        self,
        input_sequence: music_pb2.NoteSequence,
        generator_options: generator_pb2.GeneratorOptions,
    ) -> music_pb2.NoteSequence:
        """Does what `generate` says; the weights are loaded."""

    def create_bundle_file(
        self, bundle_file: str | os.PathLike[str], bundle_description: str | None = None
    ) -> None:
        """Writes the weights, with this generator's details, as a bundle (.mag).

        Raises:
          SequenceGeneratorError: `bundle_file` or the generator's id is empty.
          OSError: the file cannot be written.
        """
        if not bundle_file:
            raise SequenceGeneratorError("the path of the bundle file to write is empty")
        if not self._details.id:
            raise SequenceGeneratorError("a bundle needs an id, and this generator's is empty")
        for what, text in (
            ("generator", self._details.description),
            ("bundle", bundle_description),
        ):
            if not text:
                logging.warning("%s: written without a description of the %s.", bundle_file, what)
        self.initialize()
        bundle = dataclasses.replace(
            self._model.bundle,
            id=self._details.id,
            description=self._details.description,
            bundle_description=bundle_description or "",
        )
        bundles.write_bundle(os.path.expanduser(bundle_file), bundle)


def _find_checkpoint(path: str) -> str:
    """Returns the checkpoint that a path means: itself, or the newest one of a directory."""
    from perf_rnn.training.checkpoints import list_checkpoints

    if os.path.isdir(path):
        for directory in (os.path.join(path, "train"), path):
            if found := list_checkpoints(directory):
                return found[-1]
        raise SequenceGeneratorError(f"{path}: no checkpoint in this directory")
    if not os.path.exists(path):
        raise SequenceGeneratorError(f"{path}: there is no such checkpoint")
    return path
