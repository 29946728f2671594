#!/bin/sh
# Train gigagan-tabletop-4x, the built-in upsampler: images of things on a tabletop, 16×16 to 64×64.
#
#     plugins/zoo-gigagan/recipes/gigagan-tabletop-4x.sh [FOLDER]
#
# 20 minutes on two free CPU cores. Run it again after an interruption: it resumes from its last checkpoint.
set -eu
cd "$(dirname "$0")/../../.."
PATH="$PWD/.venv/bin:$PATH"
folder=${1:-runs/gigagan-tabletop-4x}

[ -f data/tabletop/metadata.jsonl ] || PYTHONPATH=tools python -m tabletop data/tabletop -n 24000 --seed 0 \
    --without cube:fur --without "teddy bear:brick"

# Keep freed memory in the process: glibc would return it after each step and page it in at the next. This
# halves the time.
export MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=34359738368 MALLOC_TOP_PAD_=268435456
export OMP_WAIT_POLICY=active ACCELERATE_USE_CPU=true
zoo train gigagan-upsampler \
    --data data/tabletop --mirror -o "$folder" \
    --channels 16 --discriminator-channels 128,128,64,32,16 --weights float16 \
    --steps 2400 --batch-size 8 --lr 0.001 --decay-steps 1000 --ema 0.995 --seed 0 --checkpoint-every 250
