#!/bin/sh
# Train imagegpt-digits, the built-in image model: class-conditional MNIST in patches of 2×2, 2.0M parameters.
#
#     plugins/zoo-gpt/recipes/imagegpt-digits.sh [FOLDER]
#
# Takes three minutes on a GPU (H200: 43 steps per second), nine hours on two CPU cores (0.2 steps per second). After
# Ctrl-C or a kill, run it again to resume.
set -eu
cd "$(dirname "$0")/../../.."
PATH="$PWD/.venv/bin:$PATH"
folder=${1:-runs/imagegpt-digits}

python tools/mnist.py data/mnist

# On a CPU, glibc returns memory after every step and allocates it again, which can take half of the time: make it
# keep it.
export MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=34359738368 MALLOC_TOP_PAD_=268435456
zoo train imagegpt --data data/mnist -o "$folder" \
    --colours 256 --patch 2 --layers 6 --width 160 --heads 5 --dropout 0.05 --label-dropout 0.1 --weights float16 \
    --steps 6500 --batch-size 128 --lr 2e-3 --warmup 200 --weight-decay 0.05 --ema 0.999 \
    --seed 0 --checkpoint-every 2000 --sample-every 0

zoo eval "$folder" --data data/mnist --extractor digits --set label=0-9 -o "$folder/eval"
python tools/completions.py "$folder"
