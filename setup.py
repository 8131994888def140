"""Packaging of perf_rnn, pipelines and bundles."""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "perf_rnn" / "__init__.py").read_text())

TOOLS = (
    "pipelines.tools.convert_dir_to_note_sequences",
    "pipelines.tools.performance_rnn_create_dataset",
    "perf_rnn.tools.performance_rnn_train",
    "perf_rnn.tools.performance_rnn_generate",
    "perf_rnn.tools.performance_rnn_render",
    "perf_rnn.tools.performance_rnn_statistics",
    "perf_rnn.tools.performance_rnn_bundle",
    "perf_rnn.tools.performance_rnn_evaluate",
)

setuptools.setup(
    name="perf_rnn",
    version=VERSION[1],
    description="Performance RNN: an LSTM that plays piano with expressive timing and dynamics",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Code: Apache-2.0. Weights in bundles/*.mag, trained on ASAP: CC BY-NC-SA 4.0.",
    license_files=["LICENSE", "bundles/README.md"],
    keywords="music generation, MIDI, piano, LSTM, Performance RNN, Magenta",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: Apache Software License",
        "License :: Free for non-commercial use",
        "Programming Language :: Python :: 3",
        "Topic :: Multimedia :: Sound/Audio :: MIDI",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    python_requires=">=3.10,<3.14",
    packages=setuptools.find_packages(include=["perf_rnn*", "pipelines*", "bundles*"]),
    package_data={"bundles": ["*.mag", "README.md"], "perf_rnn": ["rendering/web/*"]},
    install_requires=[
        "absl-py>=1.4",
        # note_seq imports pydub, which imports audioop; Python 3.13 no longer has it.
        "audioop-lts; python_version >= '3.13'",
        "google-crc32c>=1.5",
        "keras>=3.10",
        "matplotlib>=3.8",
        # There is no wheel for Linux on other processors; FluidSynth stands in there.
        "midirenderer>=0.1.3; sys_platform != 'linux' or platform_machine == 'x86_64'",
        "note-seq>=0.0.5",
        "numpy>=1.26",
        "pretty_midi>=0.2.11",
        "protobuf>=4.25",
        "symusic>=0.5",
        "tensorboard>=2.18",
        "tensorflow>=2.18",
        "threadpoolctl>=3.1",
        "tqdm>=4.60",
    ],
    extras_require={
        "beam": ["apache-beam>=2.60"],
        "dev": [
            "apache-beam",
            "hypothesis",
            "ipykernel",
            "mypy",
            "nbclient",
            "pytest",
            "ruff",
            "scipy",
            "types-tqdm",
        ],
    },
    entry_points={
        "console_scripts": [
            f"{tool.rpartition('.')[2]} = {tool}:console_entry_point" for tool in TOOLS
        ]
    },
)
