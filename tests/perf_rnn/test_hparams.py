import pytest

from perf_rnn.hparams import HParams


def test_defaults_are_magentas():
    assert HParams().to_dict() == {
        "batch_size": 64,
        "rnn_layer_sizes": [512, 512, 512],
        "dropout_keep_prob": 1.0,
        "clip_norm": 3.0,
        "learning_rate": 0.001,
        "attn_length": 0,
        "residual_connections": False,
        "use_cudnn": False,
        "warmup_steps": 0,
        "decay_steps": 0,
    }


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("batch_size=32", "batch_size", 32),
        ("batch_size=32,", "batch_size", 32),
        (" rnn_layer_sizes = [256, 128] ,batch_size=2", "rnn_layer_sizes", (256, 128)),
        ("rnn_layer_sizes=[7]", "rnn_layer_sizes", (7,)),
        ("learning_rate=1", "learning_rate", 1.0),
        ("learning_rate=2e-3", "learning_rate", 0.002),
        ("attn_length=40", "attn_length", 40),
        ("residual_connections=true", "residual_connections", True),
        ("use_cudnn=True", "use_cudnn", True),
        ("use_cudnn=0", "use_cudnn", False),
    ],
)
def test_parse(text, name, value):
    parsed = getattr(HParams().parse(text), name)
    assert parsed == value
    assert type(parsed) is type(value)


def test_parse_leaves_the_original_alone():
    hparams = HParams()
    hparams.parse("batch_size=3")
    assert hparams == HParams()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size=3", "unknown name 'size'"),
        ("batch_size=3,batch_size=4", "batch_size is given twice"),
        ("batch_size=3.5", "batch_size=3.5 is not an integer"),
        ("batch_size=true", "batch_size=true is not an integer"),
        ("batch_size=", "batch_size= is not an integer"),
        ("learning_rate=fast", "learning_rate=fast is not a number"),
        ("rnn_layer_sizes=512", "rnn_layer_sizes=512 is not a list"),
        ("rnn_layer_sizes=[1.5]", r"rnn_layer_sizes=\[1.5\] is not a list"),
        ("use_cudnn=yes", "use_cudnn=yes is not a bool"),
        ("batch_size", "cannot read 'batch_size'"),
        ("batch_size=3;clip_norm=2", "is not an integer"),
        ("batch_size=0", "batch_size=0 is not supported"),
        ("rnn_layer_sizes=[]", "rnn_layer_sizes"),
        ("dropout_keep_prob=0", "dropout_keep_prob=0.0 is not supported"),
        ("attn_length=-1", "attn_length=-1 is not supported"),
        ("warmup_steps=-1", "warmup_steps=-1 is not supported"),
        ("learning_rate=-1", "learning_rate=-1.0 is not supported"),
    ],
)
def test_parse_errors(text, message):
    with pytest.raises(ValueError, match=message):
        HParams().parse(text)


def test_dict_round_trip():
    hparams = HParams().parse("rnn_layer_sizes=[5,6],learning_rate=0.5")
    assert HParams.from_dict(hparams.to_dict()) == hparams
