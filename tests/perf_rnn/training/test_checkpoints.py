import zipfile

import numpy as np
import pytest

from perf_rnn.training.checkpoints import (
    CheckpointError,
    list_checkpoints,
    new_checkpoints,
    read_checkpoint,
    write_checkpoint,
)

ARRAYS = {
    "step": np.array(7),
    "network/lstm/kernel": np.random.default_rng(0).normal(size=(30, 40)).astype(np.float32),
    "random/0": np.array([5, 9], np.uint32),
    "optimizer/iteration": np.array(7, np.int32),
}


@pytest.fixture
def path(tmp_path):
    return write_checkpoint(str(tmp_path), 7, ARRAYS)


def test_round_trip(path, tmp_path):
    assert path == str(tmp_path / "ckpt-7.npz")
    read = read_checkpoint(path, ARRAYS)
    assert list(read) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)
    # Nothing is left beside it, and NumPy reads it too.
    assert [each.name for each in tmp_path.iterdir()] == ["ckpt-7.npz"]
    with np.load(path, allow_pickle=False) as file:
        assert {name: file[name].dtype for name in file.files} == {
            name: np.float32 if "kernel" in name else np.int64 for name in ARRAYS
        }


def test_a_part_can_be_read_in_other_types(path):
    """As by another backend, whose integers are of other types."""
    read = read_checkpoint(path, {"random/0": np.zeros(2, np.int64)})
    assert read["random/0"].tolist() == [5, 9]
    assert read["random/0"].dtype == np.int64


def test_numbers_of_half_the_size(tmp_path):
    weights = np.array([0.5, 2.0], np.float16)
    path = write_checkpoint(str(tmp_path), 1, {"step": np.array(np.nan, "f2"), "w": weights})
    assert read_checkpoint(path, {"w": np.zeros(2, np.float32)})["w"].tolist() == [0.5, 2.0]
    with pytest.raises(CheckpointError, match=r"step is float16 \[\], not \[\]"):
        read_checkpoint(path, {"step": np.array(7)})


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("network/lstm/kernel", np.zeros((30, 41), np.float32)),
        ("network/lstm/kernel", np.zeros((30, 40), np.int64)),
        ("network/lstm/bias", np.zeros(3, np.float32)),
    ],
)
def test_of_another_network(path, name, like):
    with pytest.raises(CheckpointError, match=rf"ckpt-7\.npz: damaged, or another.*{name}"):
        read_checkpoint(path, {name: like})


def test_damaged_anywhere(path):
    """Whatever byte is changed: it is reported, or was none of the arrays'."""
    with open(path, "rb") as file:
        whole = file.read()
    reported = 0
    places = np.random.default_rng(1).choice(len(whole), 200, replace=False)
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        with open(path, "wb") as file:
            file.write(damaged)
        try:
            read = read_checkpoint(path, ARRAYS)
        except CheckpointError:
            reported += 1
        else:
            for name, array in ARRAYS.items():
                np.testing.assert_array_equal(read[name], array)
    assert reported > 150


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_truncated(path, length):
    with open(path, "rb") as file:
        whole = file.read()
    with open(path, "wb") as file:
        file.write(whole[:length])
    with pytest.raises(CheckpointError, match=r"ckpt-7\.npz: damaged"):
        read_checkpoint(path, ARRAYS)


def npy(dtype="<f4", shape="(30, 40)", data=b""):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    "content",
    [
        npy("|O", data=b"\x80\x04N."),  # A pickle.
        npy(shape="(1000000, 1000000)"),
        npy(data=bytes(4799)),
        npy(data=bytes(4801)),
        npy(shape="(__import__('os'),)"),
        b"\x93NUMPY\x03\x00" + bytes(100),
        b"",
    ],
)
def test_foreign_arrays(path, content):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("network/lstm/kernel.npy", content)
    with pytest.raises(CheckpointError, match="damaged, or another network's"):
        read_checkpoint(path, {"network/lstm/kernel": ARRAYS["network/lstm/kernel"]})


def test_compressed_arrays_are_refused(path):
    """They could be far larger than the file."""
    np.savez_compressed(path, step=ARRAYS["step"])
    with pytest.raises(CheckpointError, match="step is compressed"):
        read_checkpoint(path, {"step": ARRAYS["step"]})


def test_checkpoints_are_listed_by_their_steps(tmp_path):
    assert list_checkpoints(str(tmp_path / "nowhere")) == []
    for name in ("ckpt-10.npz", "ckpt-9.npz", ".0123456789abcdef.npz", "model.npz", "ckpt-x.npz"):
        (tmp_path / name).touch()
    assert list_checkpoints(str(tmp_path)) == [
        str(tmp_path / name) for name in ("ckpt-9.npz", "ckpt-10.npz")
    ]
    # TensorFlow's checkpoints are an error where there are no others.
    (tmp_path / "checkpoint").touch()
    assert len(list_checkpoints(str(tmp_path))) == 2


def test_new_checkpoints_are_waited_for(tmp_path, monkeypatch):
    waits = []

    def wait(seconds):
        waits.append(seconds)
        write_checkpoint(str(tmp_path), 10 * len(waits), ARRAYS)

    monkeypatch.setattr("time.sleep", wait)
    found = new_checkpoints(str(tmp_path), seconds=3)
    assert next(found).endswith("ckpt-10.npz")
    write_checkpoint(str(tmp_path), 12, ARRAYS)
    write_checkpoint(str(tmp_path), 13, ARRAYS)
    assert next(found).endswith("ckpt-13.npz")
    assert waits == [3]
    assert next(found).endswith("ckpt-20.npz")
