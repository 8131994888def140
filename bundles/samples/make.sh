#!/bin/sh
# make.sh CONFIG: plays the samples of a shipped bundle anew, into the folder of its name beside this script.

set -eu
config=$1
cd "$(dirname "$0")"
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
rm -rf "$config"
mkdir "$config"

play() { # NAME STEPS FLAG...
  name=$1 steps=$2
  shift 2
  performance_rnn_generate --config="$config" --output_dir="$new" --num_outputs=1 --num_steps="$steps" "$@"
  mv "$new"/*.mid "$config/$name.mid"
}

for seed in 0 1 2 3 4 5 6 7 8 9; do play "seed_$seed" 3000 --seed="$seed"; done
for temperature in 0.8 0.9 1.0 1.1 1.2 1.5 2.0; do
  play "temperature_$temperature" 3000 --seed=10 --temperature="$temperature"
done
play five_minutes 30000 --seed=0
performance_rnn_render --input="$config" --output_dir="$config" --render=png
