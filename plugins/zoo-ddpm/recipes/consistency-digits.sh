#!/bin/sh
# Distill consistency-digits, an embedded model, from ddpm-digits: MNIST's digits in one to four steps.
#
#     plugins/zoo-ddpm/recipes/consistency-digits.sh [FOLDER]
#
# Ten processor minutes; stopped with Ctrl-C or killed, it goes on where it was when run again.
set -eu
cd "$(dirname "$0")/../../.."
PATH="$PWD/.venv/bin:$PATH"
folder=${1:-runs/consistency-digits}

python tools/mnist.py data/mnist

export ACCELERATE_USE_CPU=true OMP_NUM_THREADS=1
zoo train consistency --teacher ddpm-digits --data data/mnist -o "$folder" \
    --student-steps 4 --teacher-steps 12 --teacher-dtype bfloat16 --weights float16 \
    --steps 260 --batch-size 32 --lr 3e-4 --warmup 50 --decay-steps 100 --ema 0.99 \
    --precision bf16 --seed 0 --checkpoint-every 25 --sample-every 0

zoo eval "$folder" --data data/mnist --extractor digits --set label=0-9 --sweep steps=1,2,4 \
    --likelihood 0 -o "$folder/eval"
