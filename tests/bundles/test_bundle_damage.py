"""Files that are not bundles, or are broken or hostile ones: always a BundleError that says why."""

import dataclasses
import random
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from note_seq.protobuf import generator_pb2

import bundles
from bundles.checkpoint import masked_crc, read_checkpoint, write_checkpoint

FIXTURE = Path(__file__).parents[1] / "testdata" / "magenta_bundles" / "performance.mag"
CELL = "rnn/multi_rnn_cell/cell_{}/basic_lstm_cell"


def float32(*shape):
    return np.full(shape, 0.5, np.float32)


THREE_TO_THREE = bundles.Projection(float32(3, 3), float32(3))


def stack_variables():
    """A checkpoint's variables: 5 inputs, layers of 3 and 2 units, 4 classes."""
    return {
        f"{CELL.format(0)}/kernel": float32(8, 12),
        f"{CELL.format(0)}/bias": float32(12),
        f"{CELL.format(1)}/kernel": float32(5, 8),
        f"{CELL.format(1)}/bias": float32(8),
        "fully_connected/weights": float32(2, 4),
        "fully_connected/biases": float32(4),
    }


def write_proto(path, *checkpoints, generator_id="performance", tail=b""):
    proto = generator_pb2.GeneratorBundle(checkpoint_file=checkpoints)
    proto.generator_details.id = generator_id
    path.write_bytes(proto.SerializeToString() + tail)
    return path


def error_of(path):
    """Returns the one line with which the bundle is refused."""
    with pytest.raises(bundles.BundleError) as caught:
        bundles.read_bundle(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.isprintable()
    return message.removeprefix(str(path))


def error_of_variables(tmp_path, variables):
    path = write_proto(tmp_path / "x.mag", write_checkpoint(variables))
    return error_of(path).removeprefix(": a bundle of 'performance': ")


# Not a bundle


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n <!DOCTYPE html><html><body>404</body></html>", "a web page"),
        (b"<html>" + b" " * 500, "a web page"),
        (b"MThd\x00\x00\x00\x06\x00\x01\x00\x02\x00\xdcMTrk\x00\x00\x00\x00", "a MIDI file"),
        (b"PK\x03\x04" + bytes(60), "a zip archive"),
        (b'{"error": "rate limited"}', "something else, damaged"),
        (random.Random(5).randbytes(2000), "something else, damaged"),
        (bytes(2000), "something else, damaged"),
    ],
)
def test_not_a_bundle(tmp_path, content, message):
    path = tmp_path / "x.mag"
    path.write_bytes(content)
    assert error_of(path).startswith(": not a bundle: ")
    assert message in error_of(path)
    with pytest.raises(bundles.GeneratorBundleParseError):
        bundles.read_bundle_file(path)


def test_missing_file_and_directory(tmp_path):
    missing = tmp_path / "none.mag"
    assert error_of(missing) == ": cannot read the bundle: No such file or directory"
    assert error_of(tmp_path) == ": cannot read the bundle: Is a directory"


def test_a_bundle_whose_details_are_60_bytes_is_no_web_page(tmp_path):
    checkpoint = write_checkpoint(stack_variables())
    path = write_proto(tmp_path / "x.mag", checkpoint, generator_id="p" * 58)
    assert path.read_bytes().startswith(b"\n<")
    assert bundles.read_bundle(path).id == "p" * 58


def test_file_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr("bundles.files.MAX_BUNDLE_BYTES", 1000)
    assert "more than 1000 bytes" in error_of(FIXTURE)


def test_no_checkpoint_or_two(tmp_path):
    checkpoint = write_checkpoint(stack_variables())
    path = tmp_path / "x.mag"
    assert "needs one checkpoint file and has 0" in error_of(write_proto(path))
    assert "one checkpoint file and has 2" in error_of(write_proto(path, checkpoint, checkpoint))


def test_no_id(tmp_path):
    path = write_proto(tmp_path / "x.mag", write_checkpoint(stack_variables()), generator_id="")
    assert ": not a bundle" in error_of(path)


@pytest.mark.parametrize(
    "facts",
    [b"{", b"[1]", b"\xff", b"[" * 100_000, b"9" * 5000, b'{"a": NaN}', b'{"a": 1e999}'],
    ids=lambda facts: facts[:3],
)
def test_extra_facts_that_are_no_json_object(tmp_path, facts):
    size = bytes([len(facts) & 0x7F | 0x80, len(facts) >> 7 & 0x7F | 0x80, len(facts) >> 14])
    path = write_proto(
        tmp_path / "x.mag", write_checkpoint(stack_variables()), tail=b"\xc2\x3e" + size + facts
    )
    assert "extra facts are not" in error_of(path)


# A bundle of something else


def test_variables_missing_and_unexpected(tmp_path):
    variables = stack_variables()
    del variables[f"{CELL.format(1)}/bias"]
    variables["global_step"] = np.array(3, np.int64)
    assert error_of_variables(tmp_path, variables) == (
        "its variables are not those of an LSTM stack: "
        f"missing {CELL.format(1)}/bias; unexpected global_step"
    )


def test_another_models_variables_are_named_briefly(tmp_path):
    variables = {f"decoder/dense_{index}": float32(1) for index in range(9)}
    variables["a\n" * 80] = float32(1)
    message = error_of_variables(tmp_path, variables)
    assert f"missing fully_connected/biases, fully_connected/weights, {CELL.format(0)}" in message
    assert message.endswith("..., decoder/dense_0, decoder/dense_1 and 7 more")
    assert len(message) < 500


def test_a_layer_that_is_missing_in_between(tmp_path):
    variables = stack_variables()
    for role in ("kernel", "bias"):
        variables[f"{CELL.format(2)}/{role}"] = variables.pop(f"{CELL.format(1)}/{role}")
    assert f"unexpected {CELL.format(2)}/bias" in error_of_variables(tmp_path, variables)


# Weights that cannot be


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (f"{CELL.format(0)}/kernel", float32(8, 13), "shape [8, 13]; an LSTM needs [inputs + u"),
        (f"{CELL.format(0)}/kernel", float32(3, 12), "shape [3, 12]; an LSTM needs"),
        (f"{CELL.format(0)}/kernel", float32(96), "shape [96]; an LSTM needs"),
        (f"{CELL.format(0)}/kernel", float32(8, 0), "shape [8, 0]; an LSTM needs"),
        (
            f"{CELL.format(0)}/bias",
            float32(13),
            "a kernel of shape [8, 12] needs a bias of [12], not [13]",
        ),
        (f"{CELL.format(0)}/bias", float32(1, 12), "the bias has shape [1, 12]; it needs 1 axes"),
        (f"{CELL.format(1)}/kernel", float32(6, 8), "layer 1 takes 4 values but layer 0 gives 3"),
        ("fully_connected/weights", float32(3, 4), "the last layer and the output bias ask"),
        ("fully_connected/weights", float32(8), "the output kernel has shape [8]"),
        ("fully_connected/biases", float32(5), "ask for [2, 5]"),
        ("fully_connected/biases", float32(0), "the output bias has shape [0]"),
        ("fully_connected/biases", float32(4).astype(np.float64), "float32 array, not float64"),
        (f"{CELL.format(0)}/kernel", np.ones((8, 12), np.int64), "float32 array, not int64"),
        (
            f"{CELL.format(1)}/bias",
            float32(8) * np.nan,
            f"variable {CELL.format(1)}/kernel or its bias: the bias holds NaN",
        ),
        ("fully_connected/weights", float32(2, 4) * np.inf, "output kernel holds NaN or infinite"),
    ],
)
def test_impossible_weights(tmp_path, name, value, message):
    assert message in error_of_variables(tmp_path, stack_variables() | {name: value})


def test_a_bundle_that_cannot_be_is_never_built(make_bundle):
    layer = bundles.LstmLayer(float32(5, 8), float32(2, 8), float32(8), 1.0)
    with pytest.raises(bundles.BundleError, match="kernel and bias, not 8, 12 and 8"):
        bundles.LstmLayer(float32(5, 8), float32(2, 12), float32(8), 1.0)
    with pytest.raises(bundles.BundleError, match="the forget bias is nan"):
        bundles.LstmLayer(layer.kernel, layer.recurrent_kernel, layer.bias, np.nan)
    with pytest.raises(bundles.BundleError, match="no LSTM layer"):
        bundles.Bundle("x", "", "", (), float32(2, 4), float32(4))
    with pytest.raises(bundles.BundleError, match="no generator id"):
        bundles.Bundle("", "", "", (layer,), float32(2, 4), float32(4))
    with pytest.raises(bundles.BundleError, match=r"heads of \[1, 2\] classes are not 4 classes"):
        make_bundle(head_sizes=(1, 2))
    with pytest.raises(bundles.BundleError, match=r"heads of \[5, -1\] classes are not 4"):
        make_bundle(head_sizes=(5, -1))
    with pytest.raises(bundles.BundleError, match="its index to a network that takes 5 values"):
        make_bundle(index_input=True)


def test_attention_and_residual_connections_that_cannot_be(make_bundle):
    plain = make_bundle((3, 3)).layers
    attention = make_bundle((3, 3), attn_length=4).layers
    residual = make_bundle((3, 3), residual=True).layers

    def error_of(make):
        with pytest.raises(bundles.BundleError) as caught:
            make()
        return str(caught.value)

    def stack(*layers):
        return lambda: make_bundle(layers=layers, output_kernel=float32(3, 4))

    assert "layer 1 has attention" in error_of(stack(residual[0], attention[0]))
    assert "some layers are residual" in error_of(stack(plain[0], residual[1]))
    assert "layer 0 of 3 units lacks an input projection" in error_of(stack(residual[1]))
    assert "layer 1 of 3 units needs no input projection" in error_of(
        stack(residual[0], dataclasses.replace(residual[1], input_projection=THREE_TO_THREE))
    )
    replace = dataclasses.replace
    assert "cannot add its input of 5 values" in error_of(lambda: replace(plain[0], residual=True))
    assert "only a residual layer has an input projection" in error_of(
        lambda: replace(plain[1], input_projection=THREE_TO_THREE)
    )
    assert "needs [2, 3] for its kernel, not [2, 4]" in error_of(
        lambda: replace(residual[0], input_projection=bundles.Projection(float32(2, 4), float32(4)))
    )
    assert "an attention length of 0 is not from 1 to 16,384" in error_of(
        lambda: replace(attention[0].attention, length=0)
    )


# Damaged and forged checkpoints


def seal(checkpoint, block_size):
    """Returns a checkpoint whose first block got the checksum that its content now has."""
    block = checkpoint[: block_size + 1]  # the last byte says how it is packed
    return block + struct.pack("<I", masked_crc(block)) + checkpoint[len(block) + 4 :]


def first_block_size(checkpoint):
    """Finds the size that fits the checksum after it; small checkpoints have one data block."""
    # The empty metaindex block, of 8 + 5 bytes, follows the data block.
    end = checkpoint.index(b"\x00\x00\x00\x00\x01\x00\x00\x00\x00\xc0\xf2\xa1\xb0")
    return end - 5


def test_sealing_an_unchanged_checkpoint_changes_nothing():
    checkpoint = write_checkpoint(stack_variables())
    assert seal(checkpoint, first_block_size(checkpoint)) == checkpoint


def test_a_small_file_that_claims_gigabytes(tmp_path):
    variables = {
        f"{CELL.format(0)}/kernel": float32(128, 128),
        f"{CELL.format(0)}/bias": float32(128),
        "fully_connected/weights": float32(32, 4),
        "fully_connected/biases": float32(4),
    }
    checkpoint = write_checkpoint(variables)
    size = first_block_size(checkpoint)
    # The kernel's shape as a proto: two axes of 128 -> of 16,383, the most in as many bytes.
    axis, larger = b"\x12\x03\x08\x80\x01", b"\x12\x03\x08\xff\x7f"
    assert checkpoint.count(axis * 2) == 1
    forged = seal(checkpoint.replace(axis * 2, larger * 2), size)
    message = error_of(write_proto(tmp_path / "x.mag", forged))
    assert re.search(r"its checkpoint of 67,\d\d\d bytes claims 1,073,6\d\d,\d\d\d bytes", message)


def test_flipped_byte_in_the_weights(tmp_path):
    checkpoint = bytearray(write_checkpoint(stack_variables()))
    checkpoint[first_block_size(checkpoint) - 40] ^= 1
    message = error_of(write_proto(tmp_path / "x.mag", bytes(checkpoint)))
    assert "its checkpoint is damaged: " in message


def test_not_a_checkpoint(tmp_path):
    for data in (b"", b"<html>", write_checkpoint(stack_variables())[:-1]):
        assert "not a whole V1 checkpoint" in error_of(write_proto(tmp_path / "x.mag", data))


def loads(path):
    """Returns whether the bundle loads; anything but a clean refusal fails the test."""
    try:
        return bundles.read_bundle(path).num_parameters > 0
    except bundles.BundleError:
        error_of(path)
        return False


def test_cut_flipped_and_spliced_files_load_or_are_refused(tmp_path):
    rng = random.Random(20)
    path = tmp_path / "x.mag"
    write_proto(path, write_checkpoint(stack_variables()), tail=b"\xc2\x3e\x07" + b'{"a":1}')
    good = path.read_bytes()
    refused = 0
    for _ in range(150):
        data = bytearray(good)
        start, end = sorted(rng.choices(range(len(data)), k=2))
        kind = rng.choice(["cut", "flip", "splice"])
        if kind == "cut":
            del data[start:]
        elif kind == "flip":
            for _ in range(rng.randint(1, 4)):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        else:
            data[start:end] = rng.randbytes(rng.randint(0, 50))
        path.write_bytes(data)
        refused += not loads(path)
    assert refused > 130


def test_forged_blocks_with_good_checksums_load_or_are_refused(tmp_path):
    rng = random.Random(21)
    good = write_checkpoint(stack_variables())
    size = first_block_size(good)
    refused = 0
    for _ in range(200):
        data = bytearray(good)
        # Half of them in the list of names, types and shapes at the start.
        reach = rng.choice([350, size])
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(reach)] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
        refused += not loads(write_proto(tmp_path / "x.mag", seal(bytes(data), size)))
    assert refused > 150


def test_read_checkpoint_reports_what_the_reader_found():
    with pytest.raises(bundles.BundleError, match="its checkpoint is damaged: "):
        read_checkpoint(bytes(100) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb")
