#!/bin/sh
# Train ddpm-digits, the embedded model: class-conditional MNIST, 28×28, 1.8M parameters.
#
#     plugins/zoo-ddpm/recipes/ddpm-digits.sh [FOLDER]
#
# Seventy minutes on two free CPU cores; stopped with Ctrl-C or killed, it goes on where it was when run again.
set -eu
cd "$(dirname "$0")/../../.."
PATH="$PWD/.venv/bin:$PATH"
folder=${1:-runs/ddpm-digits}

python tools/mnist.py data/mnist

# Two processes of one thread each waste less time waiting for each other than one process of two threads.
export ACCELERATE_USE_CPU=true OMP_NUM_THREADS=1
torchrun --standalone --nproc-per-node 2 -m zoo_core train ddpm \
    --data data/mnist -o "$folder" \
    --channels 32,64,96 --layers 1 --attention 2 --dropout 0 \
    --schedule cosine --prediction v --label-dropout 0.1 --weights float16 \
    --steps 7000 --batch-size 64 --lr 1e-3 --warmup 200 --decay-steps 2600 --ema 0.999 \
    --precision bf16 --seed 0 --checkpoint-every 250 --sample-every 1000

zoo eval "$folder" --data data/mnist --extractor digits --set label=0-9 -o "$folder/eval"
