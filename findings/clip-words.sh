#!/usr/bin/env bash
# CLIP's tokenizer splits some class names, so the tokens of a prompt are not its words.
#
# Versions: transformers 5.24.0, and the vocabulary that open_clip_torch 3.3.0 ships.
# Guess: each English word of a VOC or COCO class name is one token. A program finds a class's
#   cross-attention map by counting words.
# What happens: "refrigerator", "skateboard" and "motorbike" are one token. "surfboard", "hydrant"
#   and "aeroplane" are two. The length of a word does not tell. A program that counts words takes
#   a wrong map for every class after such a name, without an error. The 80 names of COCO need 97
#   tokens. A prompt has 75 beside its two marks, so the last 19 classes have no map at all.
#   VOC's spelling "diningtable" is "din", "ing", "table": no token is the word "dining".
#
# Output seen:
#> VOC: 20 names, 20 words, 26 tokens: aeroplane = aerop lane, diningtable = din ing table, pottedplant = pot ted plant, tvmonitor = tv monitor
#> COCO: 80 names, 95 words, 97 tokens: fire hydrant = fire hydr ant, surfboard = surf board
#> one token: refrigerator, skateboard, motorbike, snowboard, toothbrush, broccoli, frisbee
#> first COCO class beyond token 75: toilet
#> wall-brick = wall - brick
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install() {
  python3 -m venv "$work/venv" &&
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
      transformers==5.24.0 &&
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
      open_clip_torch==3.3.0
}
install >"$work/log" 2>&1 ||
  { cat "$work/log"; echo "not run: the packages cannot be installed here"; exit 2; }

cat >"$work/run.py" <<'PY'
import gzip
import importlib.metadata
import json
import pathlib

from transformers import CLIPTokenizer

VOC = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike "
    "person pottedplant sheep sofa train tvmonitor"
).split()
COCO = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,"
    "stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,"
    "backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,"
    "baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,"
    "bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,"
    "oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
).split(",")
SHORT = "refrigerator skateboard motorbike snowboard toothbrush broccoli frisbee".split()

# The vocabulary of CLIP: 256 bytes, the same at a word's end, the merges, two marks.
packed = importlib.metadata.distribution("open_clip_torch").locate_file(
    "open_clip/bpe_simple_vocab_16e6.txt.gz"
)
lines = gzip.decompress(pathlib.Path(packed).read_bytes()).decode().split("\n")
merges = lines[1 : 1 + 49408 - 2 * 256 - 2]
visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
letters = [chr(byte) for byte in visible] + [chr(256 + i) for i in range(256 - len(visible))]
tokens = letters + [letter + "</w>" for letter in letters]
tokens += [merge.replace(" ", "") for merge in merges] + ["<|startoftext|>", "<|endoftext|>"]
folder = pathlib.Path("tokenizer")
folder.mkdir()
(folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
(folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
(folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 77}))
tokenizer = CLIPTokenizer.from_pretrained(folder)
# The ids that every user of Stable Diffusion has seen.
assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]


def parts(text):
    return [token.removesuffix("</w>") for token in tokenizer.tokenize(text)]


for title, names in (("VOC", VOC), ("COCO", COCO)):
    words = sum(len(name.split()) for name in names)
    count = sum(len(parts(name)) for name in names)
    split = [f"{name} = {' '.join(parts(name))}" for name in names if parts(name) != name.split()]
    print(f"{title}: {len(names)} names, {words} words, {count} tokens: " + ", ".join(split))
print("one token: " + ", ".join(word for word in SHORT if len(parts(word)) == 1))
ends = [sum(len(parts(name)) for name in COCO[: i + 1]) for i in range(len(COCO))]
print("first COCO class beyond token 75:", next(n for n, end in zip(COCO, ends) if end > 75))
print("wall-brick =", " ".join(parts("wall-brick")))
PY

(cd "$work" && venv/bin/python run.py) >"$work/seen" 2>"$work/log" ||
  { tail -n 5 "$work/log"; echo "changed: the program above ends with an error"; exit 1; }
diff <(sed -n 's/^#> //p' "$0") "$work/seen" ||
  { echo "changed: '<' is the output described, '>' is the output now"; exit 1; }
echo "as described"
