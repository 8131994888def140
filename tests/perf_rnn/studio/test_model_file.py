import json
import pathlib

import numpy as np
import pytest

from bundles import Bundle, LstmLayer
from bundles.errors import PerfRnnError
from perf_rnn.configs import default_configs, get_config
from perf_rnn.models import Model, load_model
from perf_rnn.studio import model_file

BUNDLES = pathlib.Path(__file__).parents[2] / "testdata" / "magenta_bundles"


def read(data):
    """The header of a model file, and a function from places in it to arrays."""
    start = len(model_file.MAGIC) + 4
    assert data[: len(model_file.MAGIC)] == model_file.MAGIC
    end = start + int.from_bytes(data[start - 4 : start], "little")
    arrays = -(-end // 16) * 16

    def array(place):
        assert place["offset"] % 16 == 0
        count = int(np.prod(place["shape"]))
        values = np.frombuffer(data, place["dtype"], count, arrays + place["offset"])
        values = values.reshape(place["shape"]).astype(np.float32)
        if "scales" in place:
            values = values * array(place["scales"])[:, np.newaxis]
        return values

    return json.loads(data[start:end]), array


def small_model(scale=1.0):
    """A layer of 8 units whose weights are of very different sizes."""
    random = np.random.default_rng(1)
    shapes = {"kernel": (356, 32), "recurrent_kernel": (8, 32)}
    weights = {
        name: (random.normal(size=shape) * 10.0 ** random.uniform(-3, 0, (shape[0], 1))).astype(
            np.float32
        )
        for name, shape in shapes.items()
    }
    layer = LstmLayer(**weights, bias=np.ones(32, np.float32), forget_bias=1.0)
    output = np.full((8, 356), scale, np.float32)
    bundle = Bundle("performance", "", "made here", (layer,), output, np.zeros(356, np.float32))
    return Model(bundle, get_config("performance"))


@pytest.mark.parametrize("key", default_configs)
def test_header_says_what_classes_mean(key):
    model = load_model(BUNDLES / f"{key}.mag", key)
    codec = model.config.codec
    header, _ = read(model_file.encode_model(model))
    assert header["config"] == key
    assert sum(header["head_sizes"]) == model.config.num_classes
    assert len(header["controls"]["default"]) == model.config.control_size
    events = header["events"]
    if codec.whole_notes:
        assert events["heads"][2:4] == ["pitch", "velocity"]
    else:
        place = events["class_kinds"].index(events["kinds"].index("shift"))
        assert codec.event(place + 41).value == events["class_values"][place + 41] == 42
        assert events["class_steps"][place + 41] == 42
        assert sum(map(bool, events["class_steps"])) == codec.max_shift_steps


@pytest.mark.parametrize(("weights", "error"), [("float32", 0), ("float16", 5e-4), ("int8", 1e-2)])
def test_weights(weights, error):
    """A table has a row for each class, with the bias; each weight is close for its row's size."""
    model = small_model()
    (layer,) = model.bundle.layers
    header, array = read(model_file.encode_model(model, weights))
    controls, recurrent = header["layers"][0]["gates"]["kernels"]
    assert controls["shape"] == [0, 32]
    found = array(header["layers"][0]["gates"]["table"])
    wanted = layer.kernel + layer.keras_bias
    assert np.abs(found - wanted).max() <= error * np.abs(wanted).max()
    found, wanted = array(recurrent), layer.recurrent_kernel
    assert np.all(np.abs(found - wanted).max(axis=1) <= error * np.abs(wanted).max(axis=1))


def test_facts():
    facts = model_file.model_facts(load_model("performance_with_dynamics"))
    assert facts["licence"] == "CC BY-NC-SA 4.0"
    assert facts["description"].startswith("Trained on ")
    assert model_file.model_facts(small_model())["licence"] == ""
    header, _ = read(model_file.encode_model(small_model()))
    assert header["description"] == "made here"


def test_what_cannot_be_written_is_refused():
    with pytest.raises(PerfRnnError, match="more than float16 holds; use weights=float32"):
        model_file.encode_model(small_model(scale=1e5))
    assert model_file.encode_model(small_model(scale=1e5), "float32")
    with pytest.raises(PerfRnnError, match="'float8' is none of float16, float32, int8"):
        model_file.encode_model(small_model(), "float8")
