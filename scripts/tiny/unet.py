"""The model: a narrow UNet with Stable Diffusion 2.1's blocks, and its text encoder."""

from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPTokenizer

from tiny.text import WIDTH, build_text_encoder

SHARPNESS = 6.0  # c^2 of the similarity start


def build_scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise schedule; the model predicts v."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
    )


def build_unet() -> UNet2DConditionModel:
    """A fresh UNet of 5.5 M weights with two changed starts: see `start_similarity`."""
    unet = UNet2DConditionModel(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        down_block_types=(*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
        up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
        block_out_channels=(32, 64, 96, 96),
        layers_per_block=2,
        attention_head_dim=(2, 4, 6, 6),
        cross_attention_dim=WIDTH,
        norm_num_groups=8,
        use_linear_projection=True,
    )
    unet.set_attn_processor(AttnProcessor())  # on a CPU faster than fused attention at L = 16
    start_similarity(unet)
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if ".attn2.to_" in name and "to_out" not in name:
                parameter.mul_(3**0.5)  # unit variance of queries, keys and values
    return unet


def start_similarity(unet: UNet2DConditionModel) -> None:
    """Make the self-attention that the product reads a kernel of similarity, and freeze it.

    Queries and keys of that one layer are the same rotation of its input. Trained freely it
    spreads out until it says nothing about objects. This is a choice of ours, not supervision.
    """
    layer = unet.up_blocks[3].attentions[1].transformer_blocks[0].attn1
    size = layer.to_q.weight.shape[0]
    rotation, _ = torch.linalg.qr(torch.randn(size, size))
    with torch.no_grad():
        for matrix in (layer.to_q.weight, layer.to_k.weight):
            matrix.copy_(SHARPNESS**0.5 * rotation)
            matrix.requires_grad_(False)


def set_sharpness(unet: UNet2DConditionModel, sharpness: float) -> None:
    """Scale the frozen kernel to c^2 = `sharpness`: its logits grow in proportion to it."""
    layer = unet.up_blocks[3].attentions[1].transformer_blocks[0].attn1
    with torch.no_grad():
        for matrix in (layer.to_q.weight, layer.to_k.weight):
            present = matrix.square().sum() / len(matrix)  # of a rotation times c: c^2
            matrix.mul_((sharpness / present) ** 0.5)


def load_parts(model: "Model", folder: Path) -> None:
    """Take the weights of an exported model; its kernel comes back to the sharpness of training."""
    for part, name in (
        (model.unet, "unet/diffusion_pytorch_model"),
        (model.text, "text_encoder/model"),
    ):
        part.load_state_dict(load_file(folder / f"{name}.safetensors"))
    set_sharpness(model.unet, SHARPNESS)


class Model(nn.Module):
    """UNet and text encoder as one module, for one optimiser and one checkpoint."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.unet = build_unet()
        self.text = build_text_encoder(tokenizer)

    def forward(self, noisy: Tensor, times: Tensor, ids: Tensor) -> Tensor:
        """Predicted v."""
        words = self.text(ids).last_hidden_state
        output: Tensor = self.unet(noisy, times, encoder_hidden_states=words, return_dict=False)[0]
        return output
