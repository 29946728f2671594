#!/bin/sh
# Train latent-emoji: text to 64×64 emoji, on Noto's emoji with their names and keywords.
#
#     plugins/zoo-latent/recipes/latent-emoji.sh [FOLDER]
#
# The autoencoder takes about 20 minutes on a busy core, 1,400 steps. The transformer needs more than an hour on two:
# it was stopped after 2,600 of 3,100 steps (--decay-steps 1000), when faces, hearts and flags could be told and most
# things not. The judge read the kind in 57.5% of 200 images then, the colour in 34.5%. The 12,000 steps below have
# not been run.
#
# The autoencoder is not to be hurried: with 8 images a step in place of 16, on two cores of a Zen 3 in float32, it
# had 24.3 dB after 1,200 steps, and green and pink came out brown. Neither eight latent channels, nor a lower rate,
# nor an error of red against green changed that within 800 steps.
#
# Stopped with Ctrl-C or killed, it goes on where it was when run again.
set -eu
cd "$(dirname "$0")/../../.."
PATH="$PWD/.venv/bin:$PATH"
folder=${1:-runs/latent-emoji}

# unpack PACKAGE PART…: these parts of an npm package, into data/npm/PACKAGE/package
unpack() {
    home=data/npm/${1%@*} package=$1
    shift
    [ -d "$home/package" ] && return
    mkdir -p "$home"
    (cd "$home" && tar xzf "$(npm pack --silent "$package")" "$@" && rm ./*.tgz)
}
unpack emoji-datasource-google@16.0.0 package/emoji.json package/img/google/64
unpack emojilib@3.0.12 package/dist
[ -f data/emoji/metadata.jsonl ] || PYTHONPATH=tools python -m emoji.data \
    data/npm/emoji-datasource-google/package data/npm/emojilib/package data/emoji

# Keep freed memory in the process: glibc would return it after each step and page it in at the next.
export MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=34359738368 MALLOC_TOP_PAD_=268435456
export ACCELERATE_USE_CPU=true OMP_NUM_THREADS=1
zoo train autoencoder --data data/emoji --no-labels --mirror -o "$folder/autoencoder" \
    --latent-channels 6 --edges 0.25 --kl 0.0005 --weights float16 \
    --steps 1400 --batch-size 16 --lr 0.002 --warmup 50 --decay-steps 500 --ema 0.99 \
    --precision bf16 --seed 0 --checkpoint-every 200

# Two processes of one thread each waste less time waiting for each other than one process of two threads.
torchrun --standalone --nproc-per-node 2 -m zoo_core train dit \
    --data data/emoji --autoencoder "$folder/autoencoder" -o "$folder/model" \
    --width 192 --layers 6 --text-width 192 --text-layers 2 --weights float16 \
    --steps 12000 --batch-size 64 --lr 0.001 --warmup 100 --decay-steps 3000 --ema 0.998 \
    --precision bf16 --seed 0 --checkpoint-every 100 --sample-every 1000

PYTHONPATH=tools python -m emoji.judge read "$folder/model" data/emoji --sheet "$folder/judged.png"
