"""As `s1_s2_keys`, for the files that all versions share: HuBERT, BERT and the speaker network."""

from __future__ import annotations

from dataclasses import dataclass

from koed.engine.gpt_sovits.checkpoints.s1_s2_keys import Known, Shape, Shapes, conv, linear, norm


@dataclass(frozen=True, slots=True)
class Hubert:
    """Sizes of chinese-hubert-base; keys as `plain` spells them."""

    width: int = 768
    filter: int = 3072
    layers: int = 12
    convs: Shape = (512,) * 7
    kernels: Shape = (10, 3, 3, 3, 3, 2, 2)
    positions: int = 128
    groups: int = 16

    @classmethod
    def read(cls, known: Known) -> Hubert:
        count = known.count(r"feature_extractor\.conv_layers\.(\d+)\.")
        convs = [
            known(f"feature_extractor.conv_layers.{n}.conv.weight", 3) for n in range(max(count, 1))
        ]
        filters, width = known("encoder.layers.0.feed_forward.intermediate_dense.weight", 2)
        inner = known("encoder.pos_conv_embed.conv.weight_v", 3)
        return cls(
            width=width,
            filter=filters,
            layers=known.count(r"encoder\.layers\.(\d+)\."),
            convs=tuple(shape[0] for shape in convs),
            kernels=tuple(shape[2] for shape in convs),
            positions=inner[2],
            groups=width // inner[1],
        )

    def shapes(self) -> Shapes:
        c, keys, before = self.width, Shapes(), 1
        keys["masked_spec_embed"] = (c,)
        for n, (after, kernel) in enumerate(zip(self.convs, self.kernels, strict=True)):
            keys[f"feature_extractor.conv_layers.{n}.conv.weight"] = (after, before, kernel)
            before = after
        keys |= norm("feature_extractor.conv_layers.0.layer_norm", self.convs[0])
        keys |= norm("feature_projection.layer_norm", before)
        keys |= linear("feature_projection.projection", c, before)
        keys["encoder.pos_conv_embed.conv.bias"] = (c,)
        keys["encoder.pos_conv_embed.conv.weight_g"] = (1, 1, self.positions)
        keys["encoder.pos_conv_embed.conv.weight_v"] = (c, c // self.groups, self.positions)
        keys |= norm("encoder.layer_norm", c)
        for layer in (f"encoder.layers.{n}" for n in range(self.layers)):
            for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
                keys |= linear(f"{layer}.attention.{part}", c, c)
            keys |= norm(f"{layer}.layer_norm", c) | norm(f"{layer}.final_layer_norm", c)
            keys |= linear(f"{layer}.feed_forward.intermediate_dense", self.filter, c)
            keys |= linear(f"{layer}.feed_forward.output_dense", c, self.filter)
        return keys


@dataclass(frozen=True, slots=True)
class Bert:
    """Sizes of chinese-roberta-wwm-ext-large; keys as `plain` spells them."""

    width: int = 1024
    filter: int = 4096
    layers: int = 24
    words: int = 21128
    positions: int = 512

    @classmethod
    def read(cls, known: Known) -> Bert:
        words, width = known("embeddings.word_embeddings.weight", 2)
        return cls(
            width=width,
            filter=known("encoder.layer.0.intermediate.dense.weight", 2)[0],
            layers=known.count(r"encoder\.layer\.(\d+)\."),
            words=words,
            positions=known("embeddings.position_embeddings.weight", 2)[0],
        )

    def shapes(self) -> Shapes:
        c = self.width
        keys: Shapes = {
            "embeddings.word_embeddings.weight": (self.words, c),
            "embeddings.position_embeddings.weight": (self.positions, c),
            "embeddings.token_type_embeddings.weight": (2, c),
            **norm("embeddings.LayerNorm", c),
        }
        for layer in (f"encoder.layer.{n}" for n in range(self.layers)):
            for part in ("self.query", "self.key", "self.value", "output.dense"):
                keys |= linear(f"{layer}.attention.{part}", c, c)
            keys |= norm(f"{layer}.attention.output.LayerNorm", c)
            keys |= linear(f"{layer}.intermediate.dense", self.filter, c)
            keys |= linear(f"{layer}.output.dense", c, self.filter)
            keys |= norm(f"{layer}.output.LayerNorm", c)
        return keys


@dataclass(frozen=True, slots=True)
class SpeakerKeys:
    """ERes2NetV2 w24 s4 ep4: all sizes follow from the first convolution's channels."""

    base: int = 64

    @classmethod
    def read(cls, known: Known) -> SpeakerKeys:
        return cls(known("conv1.weight", 4)[0])

    @property
    def embedding(self) -> int:
        """Channels times ten bands: 20480 in the official file."""
        return 320 * self.base

    def shapes(self) -> Shapes:
        keys = {"conv1.weight": (self.base, 1, 3, 3), **batch_norm("bn1", self.base)}
        before = self.base
        for number, blocks in enumerate((3, 4, 6, 3), 1):
            for n in range(blocks):
                planes = self.base << (number - 1)
                keys |= _block(f"layer{number}.{n}", before, planes, number > 2)
                before = 4 * planes
        keys["layer3_ds.weight"] = (before, before // 2, 3, 3)
        keys |= _fusion("fuse34", before)
        return keys | linear("seg_1", 192, 2 * self.embedding)


def plain(key: str, prefix: str) -> str:
    """``key`` of a HuBERT or BERT file without ``prefix``, in one of its several spellings."""
    key = key.removeprefix(prefix)
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        if key.endswith(old):
            return key.removesuffix(old) + new
    return key


# --- layers of the speaker network ---


def batch_norm(name: str, width: int) -> Shapes:
    parts = ("weight", "bias", "running_mean", "running_var")
    counted: Shapes = {f"{name}.num_batches_tracked": ()}
    return {f"{name}.{part}": (width,) for part in parts} | counted


def _block(name: str, before: int, planes: int, fuses: bool) -> Shapes:
    """A residual block of ERes2NetV2 with four chained convolutions."""
    width, after = planes * 24 // 64, 4 * planes
    keys: Shapes = {f"{name}.conv1.weight": (4 * width, before, 1, 1)}
    keys |= batch_norm(f"{name}.bn1", 4 * width)
    for n in range(4):
        keys[f"{name}.convs.{n}.weight"] = (width, width, 3, 3)
        keys |= batch_norm(f"{name}.bns.{n}", width)
    keys[f"{name}.conv3.weight"] = (after, 4 * width, 1, 1)
    keys |= batch_norm(f"{name}.bn3", after)
    if name.endswith(".0"):
        keys[f"{name}.shortcut.0.weight"] = (after, before, 1, 1)
        keys |= batch_norm(f"{name}.shortcut.1", after)
    if fuses:
        for n in range(3):
            keys |= _fusion(f"{name}.fuse_models.{n}", width)
    return keys


def _fusion(name: str, channels: int) -> Shapes:
    inner = channels // 4
    return {
        **conv(f"{name}.local_att.0", inner, 2 * channels, 1, 1),
        **batch_norm(f"{name}.local_att.1", inner),
        **conv(f"{name}.local_att.3", channels, inner, 1, 1),
        **batch_norm(f"{name}.local_att.4", channels),
    }
