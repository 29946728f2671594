#!/bin/sh
# Make the images of README and docs with the built-in models. Each file records how it was made (zoo replay).
set -eu
out=docs/images
zoo run ddpm-digits --label 0-9 -n 40 --seed 0 --force -o $out/ddpm-digits.png
zoo run consistency-digits --label 0-9 -n 30 --seed 0 --steps 2 --force -o $out/consistency-digits.png
zoo run imagegpt-digits --label 0-9 -n 40 --seed 0 --force -o $out/imagegpt-digits.png
zoo run stylegan2-digits --label 0-9 -n 40 --seed 0 --force -o $out/stylegan2-digits.png
zoo run stylegan2-digits --label 4 --seeds 7,7,7,7,7,7,7,7,7 --force \
    --truncation 0.4,0.55,0.7,0.85,1,1.15,1.3,1.45,1.6 -o $out/stylegan2-truncation.png
for object in cube ball "teddy bear"; do
    for material in denim brick crochet fur; do echo "a $material $object on tabletop"; done
done | zoo run gigagan-tabletop --prompts - --seed 0 --force -o $out/gigagan-tabletop.png

# Examples on the models' cards.
for model in zoo-ddpm/ddpm-digits zoo-ddpm/consistency-digits zoo-gpt/imagegpt-digits zoo-stylegan/stylegan2-digits; do
    plugin=${model%/*} package=$(echo "${model%/*}" | tr - _)
    zoo run "${model#*/}" --label 0-7 -n 8 --seed 0 --force -o "plugins/$plugin/$package/examples/${model#*/}.png"
done
printf "a %s on tabletop\n" "denim cube" "crochet ball" "teddy bear" "brick teddy bear" "fur cube" "fur ball" "plain cube" \
    "denim teddy bear" |
    zoo run gigagan-tabletop --prompts - --seed 0 --force -o plugins/zoo-gigagan/zoo_gigagan/examples/gigagan-tabletop.png
