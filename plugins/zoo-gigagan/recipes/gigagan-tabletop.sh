#!/bin/sh
# Train gigagan-tabletop, the built-in generator: prompts to 64×64 images of things on a tabletop.
#
#     plugins/zoo-gigagan/recipes/gigagan-tabletop.sh [FOLDER]
#
# 75 minutes on two free CPU cores. Run it again after an interruption: it resumes from its last checkpoint.
set -eu
cd "$(dirname "$0")/../../.."
PATH="$PWD/.venv/bin:$PATH"
folder=${1:-runs/gigagan-tabletop}

# Two of the fifteen combinations are held out, to test whether the model generalises to them.
[ -f data/tabletop/metadata.jsonl ] || PYTHONPATH=tools python -m tabletop data/tabletop -n 24000 --seed 0 \
    --without cube:fur --without "teddy bear:brick"

# Keep freed memory in the process: glibc would return it after each step and page it in at the next. This
# halves the time.
export MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=34359738368 MALLOC_TOP_PAD_=268435456
export OMP_WAIT_POLICY=active ACCELERATE_USE_CPU=true
zoo train gigagan \
    --data data/tabletop --mirror -o "$folder" \
    --channels 128,128,64,32,24 --discriminator-channels 128,128,64,32,16 --entries 64,16 --weights float16 \
    --steps 4200 --batch-size 16 --lr 0.0025 --decay-steps 1500 --ema 0.999 --seed 0 \
    --checkpoint-every 250 --sample-every 250
