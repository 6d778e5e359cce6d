"""Names and shapes of every tensor in s1 and s2 files, as functions of a few sizes.

What a file holds is checked against these before anything is loaded, the networks are built to
these sizes, and `tiny` makes files from them. No torch here, so that `koed models` answers at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from koed.errors import EngineError

Shape = tuple[int, ...]
Shapes = dict[str, Shape]

CODEBOOK = "quantizer.vq.layers.0._codebook"
UNUSED = re.compile(rf"{re.escape(CODEBOOK)}\.(inited|cluster_size|embed_avg)$|seg_1\.")
"""Keys of the tables below that inference can do without."""
UNUSED_LAST = ("num_batches_tracked", "masked_spec_embed")
MAX_NAMED = 6
DILATIONS = (1, 3, 5)
"""Of the convolutions of a generator's block; in no shape."""
EDGE_KERNEL = 7
"""Of a generator's first and last convolution."""


class Known:
    """Shapes of a file; a key that is not there is an error that names it."""

    def __init__(self, shapes: Mapping[str, Shape], what: str) -> None:
        self.shapes = shapes
        self.what = what

    def __call__(self, key: str, axes: int) -> Shape:
        shape = self.shapes.get(key)
        if shape is None or len(shape) != axes or not all(shape):
            problem = "is missing" if shape is None else f"has the shape {list(shape)}"
            raise _unfit("model_incomplete", f"{self.what}: {key} {problem}")
        return shape

    def count(self, pattern: str) -> int:
        """How many different numbers the group of ``pattern`` takes among the keys."""
        return len({match[1] for key in self.shapes if (match := re.match(pattern, key))})

    def check(self, wanted: Mapping[str, Shape]) -> None:
        """Raises EngineError ``model_incomplete`` or ``model_mismatch``, naming the keys."""
        needed = {key: shape for key, shape in wanted.items() if is_needed(key)}
        if missing := [key for key in needed if key not in self.shapes]:
            raise _unfit("model_incomplete", f"{self.what} lacks {listed(missing)}")
        wrong = [
            f"{key} {list(self.shapes[key])} instead of {list(shape)}"
            for key, shape in needed.items()
            if self.shapes[key] != shape
        ]
        if wrong:
            raise _unfit("model_mismatch", f"{self.what} contradicts itself: {listed(wrong)}")


def is_needed(key: str) -> bool:
    """Whether inference reads ``key``."""
    return not UNUSED.match(key) and not key.endswith(UNUSED_LAST)


def listed(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


# --- s1: text to semantic codes ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class S1:
    """Sizes of the autoregressive model; the number of heads is in no shape."""

    layers: int = 24
    width: int = 512
    phones: int = 732
    codes: int = 1025
    """With the end mark, which is the last."""
    bert: int = 1024
    """Features of BERT; no other number is to be had."""

    @property
    def end(self) -> int:
        return self.codes - 1

    @classmethod
    def checked(cls, shapes: Mapping[str, Shape], what: str) -> S1:
        """Of a file, which may lack the ``model.`` of its keys; raises as `Known`."""
        known = Known({f"model.{k.removeprefix('model.')}": v for k, v in shapes.items()}, what)
        table = cls.read(known)
        known.check(table.shapes())
        return table

    @classmethod
    def read(cls, known: Known) -> S1:
        phones, width = known("model.ar_text_embedding.word_embeddings.weight", 2)
        return cls(
            layers=known.count(r"model\.h\.layers\.(\d+)\."),
            width=width,
            phones=phones,
            codes=known("model.ar_predict_layer.weight", 2)[0],
        )

    def shapes(self) -> Shapes:
        c = self.width
        keys: Shapes = {
            **linear("bert_proj", c, self.bert),
            "ar_text_embedding.word_embeddings.weight": (self.phones, c),
            "ar_text_position.alpha": (1,),
            "ar_audio_embedding.word_embeddings.weight": (self.codes, c),
            "ar_audio_position.alpha": (1,),
        }
        for layer in (f"h.layers.{n}" for n in range(self.layers)):
            keys |= {
                f"{layer}.self_attn.in_proj_weight": (3 * c, c),
                f"{layer}.self_attn.in_proj_bias": (3 * c,),
                **linear(f"{layer}.self_attn.out_proj", c, c),
                **linear(f"{layer}.linear1", 4 * c, c),
                **linear(f"{layer}.linear2", c, 4 * c),
                **norm(f"{layer}.norm1", c),
                **norm(f"{layer}.norm2", c),
            }
        keys["ar_predict_layer.weight"] = (self.codes, c)
        return {f"model.{key}": shape for key, shape in keys.items()}


# --- s2: semantic codes to sound -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class S2:
    """Sizes of a sound model of v1, v2 or the Pro family; the defaults are those of v2."""

    phones: int = 732
    bins: int = 704
    """Of the spectrogram that the style encoder looks at; v1 1025."""
    ssl: int = 768
    codes: int = 1024
    width: int = 192
    filter: int = 768
    head: int = 96
    window: int = 4
    kernel: int = 3
    mix: int = 512
    """Where sound, text and style meet."""
    layers: tuple[int, int, int] = (3, 6, 3)
    style: int = 512
    """Width of the style vector; Pro 1024."""
    style_width: int = 128
    style_kernel: int = 5
    speaker: int = 0
    """Width of a speaker embedding; Pro 20480."""
    couplings: int = 4
    flow_width: int = 192
    flow_layers: int = 4
    flow_kernel: int = 5
    dec: int = 512
    """Channels before the first upsampling; ProPlus 768."""
    up_kernels: Shape = (16, 16, 8, 2, 2)
    """ProPlus begins with 20."""
    block_kernels: Shape = (3, 7, 11)

    @classmethod
    def checked(cls, shapes: Mapping[str, Shape], what: str) -> S2:
        """Of a file; raises as `Known`."""
        known = Known(shapes, what)
        table = cls.read(known)
        known.check(table.shapes())
        return table

    @classmethod
    def read(cls, known: Known) -> S2:
        filters, width, kernel = known("enc_p.encoder_text.ffn_layers.0.conv_1.weight", 3)
        relative = known("enc_p.encoder_text.attn_layers.0.emb_rel_k", 3)
        style_width, bins = known("ref_enc.spectral.0.fc.weight", 2)
        flow = known("flow.flows.0.enc.in_layers.0.weight_v", 3)
        codes, ssl = known(f"{CODEBOOK}.embed", 2)
        ups = known.count(r"dec\.ups\.(\d+)\.")
        blocks = known.count(r"dec\.resblocks\.(\d+)\.") // max(ups, 1)
        pro = "sv_emb.weight" in known.shapes
        encoders = ("encoder_ssl", "encoder_text", "encoder2")
        counts = [known.count(rf"enc_p\.{name}\.attn_layers\.(\d+)\.") for name in encoders]
        convs = [f"dec.resblocks.{i}.convs1.0.weight_v" for i in range(blocks)]
        return cls(
            phones=known("enc_p.text_embedding.weight", 2)[0],
            bins=bins,
            ssl=ssl,
            codes=codes,
            width=width,
            filter=filters,
            head=relative[2],
            window=relative[1] // 2,
            kernel=kernel,
            mix=known("enc_p.mrte.c_pre.weight", 3)[0],
            layers=(counts[0], counts[1], counts[2]),
            style=known("ref_enc.fc.fc.weight", 2)[0],
            style_width=style_width,
            style_kernel=known("ref_enc.temporal.0.conv1.conv.weight", 3)[2],
            speaker=known("sv_emb.weight", 2)[1] if pro else 0,
            couplings=known.count(r"flow\.flows\.(\d+)\."),
            flow_width=flow[1],
            flow_layers=known.count(r"flow\.flows\.0\.enc\.in_layers\.(\d+)\."),
            flow_kernel=flow[2],
            dec=known("dec.conv_pre.weight", 3)[0],
            up_kernels=tuple(known(f"dec.ups.{i}.weight_v", 3)[2] for i in range(ups)),
            block_kernels=tuple(known(key, 3)[2] for key in convs),
        )

    def shapes(self) -> Shapes:
        return {
            **self._text_encoder(),
            **self._generator(),
            **self._flow(),
            **self._style(),
            **conv("ssl_proj", self.ssl, self.ssl, 2),
            f"{CODEBOOK}.inited": (1,),
            f"{CODEBOOK}.cluster_size": (self.codes,),
            f"{CODEBOOK}.embed": (self.codes, self.ssl),
            f"{CODEBOOK}.embed_avg": (self.codes, self.ssl),
        }

    def _text_encoder(self) -> Shapes:
        c, mix = self.width, self.mix
        names = ("encoder_ssl", "encoder_text", "encoder2")
        keys = {"text_embedding.weight": (self.phones, c), **conv("ssl_proj", c, self.ssl, 1)}
        for name, layers in zip(names, self.layers, strict=True):
            for n in range(layers):
                keys |= self._attention(f"{name}.attn_layers.{n}")
                keys |= scale(f"{name}.norm_layers_1.{n}", c)
                keys |= scale(f"{name}.norm_layers_2.{n}", c)
                keys |= conv(f"{name}.ffn_layers.{n}.conv_1", self.filter, c, self.kernel)
                keys |= conv(f"{name}.ffn_layers.{n}.conv_2", c, self.filter, self.kernel)
        for part in "qkvo":
            keys |= conv(f"mrte.cross_attention.conv_{part}", mix, mix, 1)
        keys |= conv("mrte.c_pre", mix, c, 1) | conv("mrte.text_pre", mix, c, 1)
        keys |= conv("mrte.c_post", c, mix, 1) | conv("proj", 2 * c, c, 1)
        return {f"enc_p.{key}": shape for key, shape in keys.items()}

    def _attention(self, name: str) -> Shapes:
        table = (1, 2 * self.window + 1, self.head)
        keys: Shapes = {f"{name}.emb_rel_k": table, f"{name}.emb_rel_v": table}
        for part in "qkvo":
            keys |= conv(f"{name}.conv_{part}", self.width, self.width, 1)
        return keys

    def _generator(self) -> Shapes:
        keys = {**conv("dec.conv_pre", self.dec, self.width, EDGE_KERNEL)}
        keys |= conv("dec.cond", self.dec, self.style, 1)
        channels = self.dec
        for stage, kernel in enumerate(self.up_kernels):
            ups, halved = f"dec.ups.{stage}", channels // 2
            keys |= {f"{ups}.bias": (halved,), f"{ups}.weight_g": (channels, 1, 1)}
            keys[f"{ups}.weight_v"] = (channels, halved, kernel)
            channels = halved
            for i, size in enumerate(self.block_kernels, stage * len(self.block_kernels)):
                for part in (f"convs{half}.{n}" for half in (1, 2) for n in range(len(DILATIONS))):
                    keys |= normed(f"dec.resblocks.{i}.{part}", channels, channels, size)
        return keys | {"dec.conv_post.weight": (1, channels, EDGE_KERNEL)}

    def _flow(self) -> Shapes:
        hidden, layers, keys = self.flow_width, self.flow_layers, Shapes()
        for flow in (f"flow.flows.{2 * n}" for n in range(self.couplings)):
            keys |= conv(f"{flow}.pre", hidden, self.width // 2, 1)
            keys |= conv(f"{flow}.post", self.width // 2, hidden, 1)
            keys |= normed(f"{flow}.enc.cond_layer", 2 * hidden * layers, self.style, 1)
            for n in range(layers):
                out = hidden if n == layers - 1 else 2 * hidden
                keys |= normed(f"{flow}.enc.in_layers.{n}", 2 * hidden, hidden, self.flow_kernel)
                keys |= normed(f"{flow}.enc.res_skip_layers.{n}", out, hidden, 1)
        return keys

    def _style(self) -> Shapes:
        c, keys = self.style_width, Shapes()
        keys |= linear("ref_enc.spectral.0.fc", c, self.bins)
        keys |= linear("ref_enc.spectral.3.fc", c, c)
        for n in range(2):
            keys |= conv(f"ref_enc.temporal.{n}.conv1.conv", 2 * c, c, self.style_kernel)
        for part in ("w_qs", "w_ks", "w_vs", "fc"):
            keys |= linear(f"ref_enc.slf_attn.{part}", c, c)
        keys |= linear("ref_enc.fc.fc", self.style, c)
        if self.speaker:
            keys |= linear("sv_emb", self.style, self.speaker)
            keys |= linear("ge_to512", self.mix, self.style)
            keys["prelu.weight"] = (self.style,)
        return keys


# --- layers --------------------------------------------------------------------------------------


def linear(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def conv(name: str, outputs: int, inputs: int, *kernel: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs, *kernel), f"{name}.bias": (outputs,)}


def normed(name: str, outputs: int, inputs: int, kernel: int) -> Shapes:
    """With weight norm."""
    return {
        f"{name}.bias": (outputs,),
        f"{name}.weight_g": (outputs, 1, 1),
        f"{name}.weight_v": (outputs, inputs, kernel),
    }


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def scale(name: str, width: int) -> Shapes:
    return {f"{name}.gamma": (width,), f"{name}.beta": (width,)}


def _unfit(code: str, message: str) -> EngineError:
    return EngineError(code, message, "get the file anew; the whole file is needed")


def parameters(shapes: Mapping[str, Shape]) -> int:
    """Numbers in all of ``shapes``."""
    return sum(math.prod(shape) for shape in shapes.values())
