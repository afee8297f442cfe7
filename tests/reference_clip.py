"""CLIP's image transformer and TagCLIP's first steps in float64 NumPy, one image at a time.

Written from the definitions: weights come from a state dict by name, and nothing is taken from
`iseg_cli.clip`.
"""

import math

import numpy as np
import reference


class VisionReference:
    """The image transformer of a CLIP of transformers, whose sides fit its own position table."""

    def __init__(self, model):
        self.config = model.config.vision_config
        self.weights = {
            name.removeprefix("vision_model."): value.detach().double().numpy()
            for name, value in model.state_dict().items()
            if name.startswith(("vision_model.", "visual_projection"))
        }

    def read(self, pixels):
        """Return features of patches, each by itself in the last block, and each block's attention.

        Args:
            pixels: [3, height, width], of the size that the model was trained on.

        Returns:
            Points [patches, channels] and, as trained, attention [blocks, patches, patches], the
            mean over heads without the class token.
        """
        hidden = self._enter(pixels)
        blocks, attention = self.config.num_hidden_layers, []
        for number in range(blocks):
            weights, values = self._attend(number, hidden)
            attention.append(np.mean(weights, axis=0)[1:, 1:])
            if number == blocks - 1:
                weights = np.broadcast_to(np.eye(len(hidden)), weights.shape)
            hidden = self._leave(number, hidden, weights, values)
        patches = self._norm("post_layernorm", hidden[1:])
        return patches @ self.weights["visual_projection.weight"].T, np.stack(attention)

    def _enter(self, pixels):
        patch = self.config.patch_size
        kernel = self.weights["embeddings.patch_embedding.weight"]
        tokens = [self.weights["embeddings.class_embedding"]]
        for y in range(0, pixels.shape[1], patch):
            for x in range(0, pixels.shape[2], patch):
                cut = pixels[:, y : y + patch, x : x + patch]
                tokens.append((kernel * cut).sum(axis=(1, 2, 3)))
        positions = self.weights["embeddings.position_embedding.weight"]
        return self._norm("pre_layrnorm", np.stack(tokens) + positions)

    def _attend(self, number, hidden):
        """Softmax of queries times keys, [heads, tokens, tokens], and values [heads, tokens, d]."""
        normed = self._norm(f"encoder.layers.{number}.layer_norm1", hidden)
        heads = self.config.num_attention_heads
        query, key, value = (
            self._linear(f"encoder.layers.{number}.self_attn.{name}_proj", normed)
            .reshape(len(hidden), heads, -1)
            .transpose(1, 0, 2)
            for name in "qkv"
        )
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return weights / weights.sum(axis=-1, keepdims=True), value

    def _leave(self, number, hidden, weights, values):
        mixed = (weights @ values).transpose(1, 0, 2).reshape(len(hidden), -1)
        hidden = hidden + self._linear(f"encoder.layers.{number}.self_attn.out_proj", mixed)
        inner = self._norm(f"encoder.layers.{number}.layer_norm2", hidden)
        inner = self._linear(f"encoder.layers.{number}.mlp.fc1", inner)
        inner = inner / (1 + np.exp(-1.702 * inner))
        return hidden + self._linear(f"encoder.layers.{number}.mlp.fc2", inner)

    def _linear(self, name, values):
        return values @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, name, values):
        centred = values - values.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.config.layer_norm_eps)
        return centred / spread * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def patch_scores(vision, pixels, texts, *, scale, averaged, min_agreeing):
    """Refined scores [patches, classes] of one image; every block of the CLIP is asked."""
    points, attention = vision.read(pixels)
    coarse = reference.class_probabilities(points, texts, scale)
    trusted = reference.trusted_attention(attention, averaged, min_agreeing)
    rows = pixels.shape[1] // vision.config.patch_size
    return reference.refine_scores(coarse, trusted, rows)
