#!/bin/sh
# make.sh NAME: plays the samples of a shipped bundle anew, into the folder of its name beside this script.

set -eu
bundle=${1-}
samples=$(dirname "$0")
if ! [ -e "$samples/../$bundle.mag" ]; then
  echo "make.sh: give the name of a shipped bundle, such as performance" >&2
  exit 2
fi
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
trap 'exit 130' INT TERM
mkdir "$new/$bundle"

play() { # NAME STEPS FLAG...
  name=$1 steps=$2
  shift 2
  perf_rnn play --bundle_file="$bundle" --output_dir="$new/played" --num_outputs=1 --num_steps="$steps" "$@"
  mv "$new"/played/*.mid "$new/$bundle/$name.mid"
}

for seed in 0 1 2 3 4 5 6 7 8 9; do play "seed_$seed" 3000 --seed="$seed"; done
for temperature in 0.8 0.9 1.0 1.1 1.2 1.5 2.0; do
  play "temperature_$temperature" 3000 --seed=10 --temperature="$temperature"
done
play five_minutes 30000 --seed=0
perf_rnn render --input="$new/$bundle" --output_dir="$new/$bundle" --render=png
rm -rf "${samples:?}/$bundle"
mv "$new/$bundle" "$samples"
