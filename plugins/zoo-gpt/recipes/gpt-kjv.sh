#!/bin/sh
# Train gpt-kjv, the built-in language model: the King James Bible without seven books, 3.2M parameters.
#
#     plugins/zoo-gpt/recipes/gpt-kjv.sh [FOLDER]
#
# Takes less than an hour, even on one busy core. After Ctrl-C or a kill, run it again to resume.
set -eu
cd "$(dirname "$0")/../../.."
PATH="$PWD/.venv/bin:$PATH"
folder=${1:-runs/gpt-kjv}

python tools/kjv.py data/kjv

export ACCELERATE_USE_CPU=true
# glibc returns memory after every step and allocates it again, which can take half of the time: make it keep it.
export MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=34359738368 MALLOC_TOP_PAD_=268435456
zoo train gpt --data data/kjv/train -o "$folder" \
    --vocab 3072 --context 256 --layers 6 --width 192 --heads 6 --dropout 0.15 --weights float16 \
    --steps 1000 --batch-size 16 --lr 2e-3 --warmup 100 --weight-decay 0.1 --ema 0.999 \
    --seed 0 --checkpoint-every 200 --sample-every 0

zoo score "$folder" data/kjv/test.txt
