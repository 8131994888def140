#!/bin/sh
# train.sh NAME DATASETS WORK: trains a shipped bundle as its card says, into WORK/NAME.mag. DATASETS has the
# folders asap and maestro. WORK keeps data and runs; interrupted, the same command continues from there.

set -eu
if [ $# != 3 ]; then
  sed -n '2,3s/^# //p' "$0" >&2
  exit 2
fi
made=$1 config=$1 datasets=$2 work=$3
layers=[512,512,512]
dynamics=performance_with_dynamics optional=optional_multiconditioned_performance_with_dynamics
bundles=$(dirname "$0")
asap="912 piano performances of the ASAP dataset (Foscarin et al., 2020; CC BY-NC-SA 4.0)"
maestro="607 of MAESTRO v3.0.0 (Hawthorne et al., 2019; CC BY-NC-SA 4.0)"

# Runs a command that SIGINT or SIGTERM to this script ends too, once it has saved its state.
interruptible() {
  "$@" &
  child=$!
  trap 'kill "$child"; wait "$child"; exit 130' INT TERM
  wait "$child"
  trap - INT TERM
}

# A training run that starts from the weights of a bundle, or from none (""), and the bundle that it ends with.
run() { # NAME SEED STEPS BUNDLE HPARAMS FLAG...
  name=$1 seed=$2 steps=$3 start=$4 hparams=$5
  shift 5
  interruptible performance_rnn_train --config="$config" --run_dir="$work/$name" --seed="$seed" --num_training_steps="$steps" \
    ${start:+--warm_start_bundle_file="$start"} \
    --sequence_example_file="$data/training_performances.tfrecord" \
    --eval_sequence_example_file="$data/eval_performances.tfrecord" --num_eval_examples=150 \
    --hparams="rnn_layer_sizes=$layers,$hparams" --window=128 "$@"
  performance_rnn_generate --run_dir="$work/$name" --save_generator_bundle --overwrite --bundle_file="$work/$name.mag" \
    --bundle_description="$description"
}

# The mean of the weights of networks with a common ancestor. Those without controls take over the last one's rows for
# them.
average() { # MADE WEIGHT,... BUNDLE...
  python3 - "$@" <<'PYTHON'
import dataclasses, sys
import numpy as np
import bundles

made, weights, *paths = sys.argv[1:]
networks = [bundles.read_bundle(path) for path in paths]
rows = networks[-1].layers[0].kernel

def with_controls(network):
    first = network.layers[0]
    kernel = np.concatenate([rows[: len(rows) - len(first.kernel)], first.kernel])
    return [dataclasses.replace(first, kernel=kernel), *network.layers[1:]]

def mean(arrays):
    numbers = [float(weight) for weight in weights.split(",")]
    return np.average(list(arrays), axis=0, weights=numbers).astype(np.float32)

layers = tuple(
    dataclasses.replace(same[0], kernel=mean(l.kernel for l in same), bias=mean(l.bias for l in same))
    for same in zip(*map(with_controls, networks))
)
bundles.write_bundle(made, dataclasses.replace(
    networks[-1],
    layers=layers,
    output_kernel=mean(network.output_kernel for network in networks),
    output_bias=mean(network.output_bias for network in networks),
))
PYTHON
}

# The network with conditioning disabled for good: a bundle without controls, otherwise like the second one.
without_controls() { # MADE CONDITIONED LIKE
  python3 - "$@" <<'PYTHON'
import dataclasses, sys
import bundles

made, *paths = sys.argv[1:]
conditioned, like = (bundles.read_bundle(path) for path in paths)
first, *others = conditioned.layers
num_controls = len(first.kernel) - len(like.layers[0].kernel)
free = dataclasses.replace(first, kernel=first.kernel[num_controls:], bias=first.bias + first.kernel[0])
bundles.write_bundle(made, dataclasses.replace(
    like,
    layers=(free, *others),
    output_kernel=conditioned.output_kernel,
    output_bias=conditioned.output_bias,
))
PYTHON
}

# The network with the weights of a conditioned one's controls, which plays as before with conditioning disabled.
with_controls() { # MADE NETWORK CONDITIONED
  python3 - "$@" <<'PYTHON'
import dataclasses, sys
import numpy as np
import bundles

made, *paths = sys.argv[1:]
network, conditioned = (bundles.read_bundle(path) for path in paths)
first, *others = network.layers
rows = conditioned.layers[0].kernel[: -len(first.kernel)]
first = dataclasses.replace(first, kernel=np.concatenate([rows, first.kernel]), bias=first.bias - rows[0])
bundles.write_bundle(made, dataclasses.replace(
    conditioned,
    layers=(first, *others),
    output_kernel=network.output_kernel,
    output_bias=network.output_bias,
))
PYTHON
}

# Trains another bundle first, if it is not there.
needs() { # NAME
  if ! [ -e "$work/$1.mag" ]; then
    interruptible sh "$0" "$1" "$datasets" "$work"
  fi
}

# Multiplies the weights of the controls, but for those of the flag that disables them, the first.
follow_more_closely() { # MADE BUNDLE
  python3 - "$@" <<'PYTHON'
import dataclasses, sys
import bundles
from perf_rnn.models import load_model

made, path = sys.argv[1:]
bundle, num_controls = bundles.read_bundle(path), load_model(path).config.control_size
kernel = bundle.layers[0].kernel.copy()
kernel[1:num_controls] *= 1.3
first = dataclasses.replace(bundle.layers[0], kernel=kernel)
bundles.write_bundle(made, dataclasses.replace(bundle, layers=(first, *bundle.layers[1:])))
PYTHON
}

use_data() { # NAME INPUT SPLIT FLAG...
  data=$work/${config}_$1 input=$2 split=$bundles/$3
  shift 3
  if ! [ -e "$data/training_performances.tfrecord" ] || ! [ -e "$data/eval_performances.tfrecord" ]; then
    interruptible performance_rnn_create_dataset --config="$config" --input="$input" --output_dir="$data" \
      --split_csv="$split" --overwrite "$@"
  fi
}
use_asap() {
  description="Trained on $asap, augmented."
  use_data data "$datasets/asap" asap_split.csv
}
use_asap_and_maestro() {
  description="Trained on $asap and $maestro, augmented."
  use_data asap_maestro "$datasets" asap_maestro_split.csv --eval_splits=validation
}

case $made in
  "$dynamics")
    use_asap
    run dynamics_1 0 1865 "" batch_size=64,learning_rate=0.0025,warmup_steps=200
    run dynamics_2 1 1000 "$work/dynamics_1.mag" batch_size=64,learning_rate=0.0025,warmup_steps=50,decay_steps=950
    run dynamics_3 2 2700 "$work/dynamics_2.mag" batch_size=64,learning_rate=0.0025,warmup_steps=100,decay_steps=2600
    run dynamics_4 3 2800 "$work/dynamics_3.mag" batch_size=64,learning_rate=0.002,warmup_steps=100,decay_steps=2700
    use_asap_and_maestro
    run dynamics_5 11 2000 "$work/dynamics_4.mag" batch_size=128,learning_rate=0.002,warmup_steps=100,decay_steps=1900
    run dynamics_6 12 671 "$work/dynamics_5.mag" batch_size=128,learning_rate=0.002,warmup_steps=100
    run dynamics_7 13 300 "$work/dynamics_6.mag" batch_size=128,learning_rate=0.002,warmup_steps=20,decay_steps=280
    needs optional_5
    without_controls "$work/free.mag" "$work/optional_5.mag" "$work/dynamics_7.mag"
    average "$work/dynamics_mean.mag" 1,1,1 "$work/dynamics_7.mag" "$work/free.mag" "$work/dynamics_5.mag"
    run dynamics_8 15 1700 "$work/dynamics_mean.mag" \
      batch_size=128,learning_rate=0.002,warmup_steps=60,decay_steps=1640
    run "$made" 21 4276 "$work/dynamics_8.mag" \
      batch_size=1024,learning_rate=0.003,warmup_steps=300,decay_steps=3976,dropout_keep_prob=0.9
    ;;
  "${dynamics}_large")
    needs "$dynamics"
    config=$dynamics layers=[1024,1024,1024]
    use_asap_and_maestro
    run "$made" 21 6676 "$work/$dynamics.mag" \
      batch_size=1024,learning_rate=0.002,warmup_steps=200,decay_steps=6476,dropout_keep_prob=0.75
    ;;
  performance)
    needs "$dynamics"
    use_asap_and_maestro
    run "$made" 22 620 "$work/$dynamics.mag" \
      batch_size=128,learning_rate=0.0015,warmup_steps=40,decay_steps=580,dropout_keep_prob=0.9
    ;;
  optional_5) # Of the third bundle's recipe, what the first bundle's needs; after dynamics_7.
    config=$optional
    use_asap
    # Weights of new controls start at zero: learning them takes many steps at a high rate.
    run optional_1 1 1500 "$work/dynamics_4.mag" batch_size=32,learning_rate=0.004,warmup_steps=50
    run optional_2 2 1300 "$work/optional_1.mag" batch_size=64,learning_rate=0.0025,warmup_steps=50,decay_steps=1250
    use_asap_and_maestro
    run optional_3 1 529 "$work/dynamics_7.mag" \
      batch_size=64,learning_rate=0.003,warmup_steps=50,decay_steps=950 --control_jumps
    average "$work/optional_mean.mag" 1,1,2 "$work/dynamics_7.mag" "$work/optional_2.mag" "$work/optional_3.mag"
    run optional_4 2 260 "$work/optional_mean.mag" \
      batch_size=64,learning_rate=0.0015,warmup_steps=20,decay_steps=240 --control_jumps
    follow_more_closely "$work/optional_5.mag" "$work/optional_4.mag"
    ;;
  "$optional")
    needs "$dynamics"
    needs optional_5
    use_asap_and_maestro
    with_controls "$work/optional_start.mag" "$work/$dynamics.mag" "$work/optional_5.mag"
    run optional_6 23 350 "$work/optional_start.mag" \
      batch_size=128,learning_rate=0.002,warmup_steps=20,decay_steps=330,dropout_keep_prob=0.9 --control_jumps
    follow_more_closely "$work/$made.mag" "$work/optional_6.mag"
    ;;
  *)
    echo "train.sh: there is no recipe for $made" >&2
    exit 2
    ;;
esac
