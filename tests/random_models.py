"""Tiny models of random weights in the files of Stable Diffusion 2.1 and of CLIP."""

import json

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from tokenizers import pre_tokenizers
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel

WORDS = (
    *("a", "photograph", "of", "and", "other", "object", "background"),
    *("ground", "land", "grass", "tree", "sky", "water"),
    *("dog", "cat", "car", "person", "plane", "bus", "hot", "dining", "table"),
    *("tv", "monitor", "plant"),
)
"""Words of one token each. Every other word has a token for each letter."""


def write_json(path, content):
    """Write a JSON file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")


def write_tokenizer(folder, *, words=WORDS, max_length=77):
    """Write a CLIP tokenizer in the files of SD 2.1, and return the number of its tokens.

    These files have no tokenizer.json, and the padding is `!` (id 0).
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = []
    for word in words:
        letters = [*word[:-1], f"{word[-1]}</w>"]
        merges += [("".join(letters[:i]), letters[i]) for i in range(1, len(letters))]
    merges = list(dict.fromkeys(merges))
    pieces = [*alphabet, *(f"{letter}</w>" for letter in alphabet), *map("".join, merges)]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    write_json(folder / "vocab.json", {piece: i for i, piece in enumerate(dict.fromkeys(pieces))})
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")

    def token(text):
        return {
            "content": text,
            "lstrip": False,
            "normalized": True,
            "rstrip": False,
            "single_word": False,
        }

    names = {
        "bos_token": token("<|startoftext|>"),
        "eos_token": token("<|endoftext|>"),
        "unk_token": token("<|endoftext|>"),
    }
    write_json(folder / "special_tokens_map.json", {**names, "pad_token": "!"})
    typed = {key: {"__type": "AddedToken", **value} for key, value in names.items()}
    # SD 2.1's own files contradict each other on the padding; special_tokens_map.json decides.
    config = {
        **typed,
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": max_length,
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "CLIPTokenizer",
    }
    write_json(folder / "tokenizer_config.json", config)
    return len(dict.fromkeys(pieces))


def write_scheduler(folder):
    """Write the scheduler of SD 2.1-base. Its class is another one than the one that loads it."""
    config = {
        "_class_name": "PNDMScheduler",
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "clip_sample": False,
        "num_train_timesteps": 1000,
        "prediction_type": "epsilon",
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "trained_betas": None,
    }
    write_json(folder / "scheduler_config.json", config)


def spread_attention(unet):
    """Return the UNet with queries and keys so large that its attention is far from uniform."""
    for name, parameter in unet.named_parameters():
        if name.endswith(("to_q.weight", "to_k.weight")):
            torch.nn.init.normal_(parameter, std=1.5 * parameter.shape[1] ** -0.5)
    return unet


def random_unet(*, heads=(2, 4, 4, 4), sample_size=16):
    """A UNet with the kinds of blocks of SD 2.1, few channels and random weights."""
    return spread_attention(
        UNet2DConditionModel(
            sample_size=sample_size,
            block_out_channels=(32, 64, 64, 64),
            attention_head_dim=heads,
            cross_attention_dim=32,
            norm_num_groups=8,
            use_linear_projection=True,
            down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        )
    ).eval()


def write_random_model(folder, **unet):
    """Write a model in diffusers format; `unet` goes to `random_unet`. Return the folder."""
    torch.manual_seed(0)
    vocabulary = write_tokenizer(folder / "tokenizer")
    write_scheduler(folder / "scheduler")
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=32,
            intermediate_size=64,
            projection_dim=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            hidden_act="gelu",
            bos_token_id=0,
            eos_token_id=2,
            pad_token_id=1,
            initializer_range=0.5,
            initializer_factor=10.0,
        )
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
        scaling_factor=0.18215,
    )
    for part, module in (
        ("vae", vae),
        ("text_encoder", text_encoder),
        ("unet", random_unet(**unet)),
    ):
        module.save_pretrained(folder / part, safe_serialization=True)
    return folder


def write_random_clip(folder):
    """Write a CLIP in the files of ViT-B/16 on the hub: 6 blocks, 32 pixels, patches of 8."""
    torch.manual_seed(0)
    vocabulary = write_tokenizer(folder)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    ends = {"bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1}
    clip = CLIPModel(
        CLIPConfig(
            text_config={**sizes, **ends, "vocab_size": vocabulary, "num_hidden_layers": 2},
            vision_config={**sizes, "num_hidden_layers": 6, "image_size": 32, "patch_size": 8},
            projection_dim=16,
        )
    ).eval()
    for name, parameter in clip.named_parameters():  # as in `spread_attention`
        if name.endswith(("q_proj.weight", "k_proj.weight", "embedding.weight")):
            torch.nn.init.normal_(parameter, std=1.5 * parameter[0].numel() ** -0.5)
    clip.save_pretrained(folder, safe_serialization=True)
    means = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}
    write_json(folder / "preprocessor_config.json", means)
    return folder
