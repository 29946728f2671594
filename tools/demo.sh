#!/bin/sh
# Run every built-in model. The images are contact sheets in out/.
set -eu

show() {
    echo
    echo "\$ $*"
    "$@"
}

show zoo list
show zoo run ddpm-digits --label 0-9 -n 100 --seed 0 --force -o out/ddpm-digits.png
show zoo run consistency-digits --label 0-9 -n 100 --seed 0 --force -o out/consistency-digits.png
show zoo run imagegpt-digits --label 0-9 -n 100 --seed 0 --force -o out/imagegpt-digits.png
show zoo run stylegan2-digits --label 0-9 -n 100 --seed 0 --force -o out/stylegan2-digits.png
show zoo run stylegan2-digits --label 4 --seeds 7,7,7,7,7,7,7,7,7 --force \
    --truncation 0.4,0.55,0.7,0.85,1,1.15,1.3,1.45,1.6 -o out/stylegan2-truncation.png
rm -f out/stylegan2-mixing.png
show zoo mix stylegan2-digits --label 2 --layers 0-3 -o out/stylegan2-mixing.png
rm -f out/gigagan-mixing.png
show zoo mix-prompts gigagan-tabletop "a cube on tabletop" "a ball on tabletop" "a teddy bear on tabletop" \
    --mix denim --mix brick --mix crochet --mix fur -o out/gigagan-mixing.png
show zoo run gigagan-tabletop "a teddy bear made of denim on a table" -n 16 --seed 0 --force -o out/gigagan-tabletop.png
show zoo run gigagan-tabletop-4x --input examples/tabletop-16.png -n 4 --seed 0 --force -o out/gigagan-tabletop-4x.png
show zoo run gpt-kjv "In the beginning" --seed 1 --max-tokens 60
show zoo next gpt-kjv "And the LORD said unto"

cat <<'END'

Done. The images are in out/. Next, try:

  . .venv/bin/activate                                    add the zoo command to your PATH
  zoo run ddpm-digits --label 7 -n 16 --seed 0 -o out/    sixteen sevens, one file each
  zoo run ddpm-digits --label 3 --save-steps gif          a three, with the steps from noise to image
  zoo interpolate stylegan2-digits --seeds 0-9 --label 8 --loop -o interpolation.gif
  zoo replay out/seed0000.png                             reproduce a sample, and compare it with the file
  zoo list --all                                          list all models, installed or not
  zoo show ddpm-cifar10                                   show a model's source, options and citation
END
