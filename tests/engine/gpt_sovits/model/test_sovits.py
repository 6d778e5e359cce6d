"""The sound model: recorded numbers, any part equal to the whole, noise, sizes, what is refused."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from koed.engine.gpt_sovits.decoding.vocoder_graphs import WindowGraphs
from koed.engine.gpt_sovits.model.fastconv import PackedConv, TileConv, packs
from koed.engine.gpt_sovits.model.flow import FlowDims
from koed.engine.gpt_sovits.model.generator import TILES, GeneratorDims, RowConv, Span
from koed.engine.gpt_sovits.model.sovits import SoundModel, frame_noise
from koed.engine.gpt_sovits.model.sovits_dims import Dims
from koed.engine.gpt_sovits.model.style_encoder import Style, blend
from koed.engine.gpt_sovits.model.text_encoder import Encoded, EncoderDims
from koed.errors import EngineError
from tests.engine.gpt_sovits import tape
from tests.parity import sovits, stream, weights
from tests.parity.case import Case, fixtures, snr_db

DATA = Path(__file__).parents[3] / "parity" / "data"
CASES = [*sovits.cases(DATA), *stream.cases(DATA)]

SMALL = Dims(
    codes=32, bins=20, style_width=8, style_kernel=5, style=12, speaker=0,
    encoder=EncoderDims(
        phones=10, ssl=16, width=8, filter=12, head=4, window=4, kernel=3, style=12,
        layers=(1, 2, 1),
    ),
    flow=FlowDims(width=8, hidden=8, kernel=5, layers=4, couplings=4, style=12),
    generator=GeneratorDims(
        width=8, style=12, channels=(32, 16, 8, 4, 4, 4), rates=(10, 8, 2, 2, 2),
        up_kernels=(16, 16, 8, 2, 2), block_kernels=(3, 7, 11), dilations=(1, 3, 5),
        edge_kernels=(7, 7),
    ),
)  # fmt: skip
"""Official strides, kernels and depths of what limits context; everything else small."""
PLUS_KERNELS = (20, 16, 8, 2, 2)
NOISE_OF_SEED_1 = [0.431832, 0.860965, -1.522723]


def small(dims: Dims = SMALL, device: str = "cpu") -> SoundModel:
    with torch.device("meta"):
        model = SoundModel(dims)
    state = {
        key: torch.from_numpy(weights.fill(key, tuple(value.shape)))
        for key, value in model.state_dict().items()
    }
    model.load_state_dict(state, assign=True)
    return model.requires_grad_(False).eval().to(device)


def said(model: SoundModel, codes: int = 60, phones: int = 15) -> tuple[Encoded, Style]:
    draw = torch.Generator().manual_seed(5)
    style = model.style([torch.rand(1, 1025, 40, generator=draw) * 4])
    ids = torch.randint(0, model.dims.codes, (codes,), generator=draw)
    texts = torch.randint(0, model.dims.encoder.phones, (phones,), generator=draw)
    return model.encode(ids, texts, style), style


def whole(model: SoundModel, encoded: Encoded, style: Style, seed: int) -> Tensor:
    return model.decode(encoded, model.noise(seed, Span(0, encoded.frames)), style)


def assert_close(got: Tensor, want: Tensor, limit: float) -> None:
    assert got.shape == want.shape
    assert float((got - want).abs().max()) <= limit * float(want.abs().max())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_recorded_numbers_hold(case: Case) -> None:
    assert case.run().failed == []


def test_fixtures_cover_every_version() -> None:
    assert {meta["model"] for _, _, meta in fixtures(DATA, "sovits")} == {
        "v1", "v2", "v2Pro", "v2ProPlus",
    }  # fmt: skip


@pytest.mark.parametrize("kernel", [7, 11])
@pytest.mark.parametrize("dilation", [1, 3, 5])
@pytest.mark.parametrize("length", [1, 17, 18, 19, 200])
def test_tiles_convolve_as_the_plain_way_does(kernel: int, dilation: int, length: int) -> None:
    plain = RowConv(6, 5, kernel, dilation).requires_grad_(False)
    for name, value in plain.named_parameters():
        value.copy_(torch.from_numpy(weights.fill(name, tuple(value.shape))))
    assert plain.bias is not None
    x = torch.randn(2, 6, 1, length, generator=torch.Generator().manual_seed(2))
    for n, dtype, limit in ((TILES[kernel], torch.float32, 1e-5), (16, torch.bfloat16, 4e-2)):
        fast = TileConv(plain.weight, plain.bias, dilation, n, dtype)
        assert_close(fast(x.to(dtype)).float(), plain(x), limit)


@pytest.mark.parametrize(("kernel", "dilation", "bias"), [(3, 5, True), (7, 1, False)])
@pytest.mark.parametrize("length", [1, 40])
def test_packed_convolutions_are_the_plain_ones(
    kernel: int, dilation: int, bias: bool, length: int
) -> None:
    assert packs()
    plain = RowConv(16, 16, kernel, dilation, bias).requires_grad_(False)
    for name, value in plain.named_parameters():
        value.copy_(torch.from_numpy(weights.fill(name, tuple(value.shape))))
    x = torch.randn(1, 16, 1, length, generator=torch.Generator().manual_seed(2))
    x = x.contiguous(memory_format=torch.channels_last)
    limits = {torch.float32: 1e-5}
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():  # the product asks for more than that
        limits[torch.bfloat16] = 3e-2
    for dtype, limit in limits.items():
        fast = PackedConv(
            plain.weight.to(dtype),
            plain.bias if plain.bias is None else plain.bias.to(dtype),
            dilation,
            64,
        )
        hot = x.to(dtype)
        assert_close(fast(hot).float(), plain(x), limit)
        assert_close(fast.activated(hot, 0.1).float(), plain.activated(x, 0.1), limit)
        assert_close(fast.onto(x, hot), plain.onto(x, x), limit)
        assert_close(fast.onto(hot, hot).float(), plain.onto(x, x), limit)


def test_a_generator_in_pieces_is_the_same_sound() -> None:
    plain, pieces = small(), small()
    pieces.dec.block = 700
    assert len(Span(3, 90).pieces(40)) == 3
    encoded, style = said(plain)
    for first, frames in ((0, 200), (5, 3), (20, 30)):
        got = pieces.decode_window(encoded, first, frames, style, seed=3)
        assert_close(got, plain.decode_window(encoded, first, frames, style, seed=3), 1e-5)


def test_a_sound_that_cores_share_is_the_same_sound() -> None:
    plain, shared = small(), small()
    shared.dec.block = 700
    encoded, style = said(plain)
    torch.set_num_threads(3)  # the fixture takes it back
    cores = {}
    for first, frames in ((0, 200), (0, 40), (20, 30), (100, 20), (5, 7)):
        plan = shared.dec.plan(Span(first, min(first + frames, encoded.frames)), encoded.frames)
        cores[frames] = len(shared.dec._shares(plan))
        got = shared.decode_window(encoded, first, frames, style, seed=3)
        assert_close(got, plain.decode_window(encoded, first, frames, style, seed=3), 1e-5)
    assert cores == {200: 3, 40: 3, 30: 3, 20: 3, 7: 1}
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("up_kernels", [SMALL.generator.up_kernels, PLUS_KERNELS])
def test_chunks_of_any_size_join_to_the_whole(up_kernels: tuple[int, ...]) -> None:
    generator = dataclasses.replace(SMALL.generator, up_kernels=up_kernels)
    model = small(dataclasses.replace(SMALL, generator=generator))
    encoded, style = said(model)
    want = whole(model, encoded, style, seed=3)
    sizes = random.Random(1)
    for largest in (3, 12, 40, 200):
        chunks, at = [], 0
        while at < encoded.frames:
            frames = sizes.randint(1, largest)
            chunks.append(model.decode_window(encoded, at, frames, style, seed=3))
            at += frames
        assert_close(torch.cat(chunks), want, 1e-5)


def test_chunks_of_the_full_size_model_join_to_the_whole() -> None:
    model = SoundModel.from_state(weights.state_dict(DATA, "s2_v2"))
    encoded, style = said(model, codes=20)
    ends = [0, 3, 12, 31, 40]
    chunks = [
        model.decode_window(encoded, a, b - a, style, seed=8) for a, b in itertools.pairwise(ends)
    ]
    assert_close(torch.cat(chunks), whole(model, encoded, style, seed=8), 1e-5)


def test_the_generator_takes_the_context_it_needs_and_no_more() -> None:
    model = small()
    z = torch.randn(1, 8, 60, generator=torch.Generator().manual_seed(1)).requires_grad_()
    plan = model.dec.plan(Span(25, 30), 60)
    sound = model.dec(z, torch.zeros(1, 12, 1))
    sound[:, plan.samples.lo : plan.samples.hi].sum().backward()
    assert z.grad is not None
    touched = z.grad[0].abs().sum(0).nonzero()[:, 0]
    assert (int(touched[0]), int(touched[-1]) + 1) == (plan.frames.lo, plan.frames.hi)
    assert (plan.frames, model.dec.reach) == (Span(14, 41), 11)


def test_the_flow_takes_the_context_it_needs_and_no_more() -> None:
    model = small()
    z = torch.randn(1, 8, 90, generator=torch.Generator().manual_seed(1)).requires_grad_()
    model.flow(z, torch.zeros(1, 12, 1))[..., 45].sum().backward()
    assert z.grad is not None
    touched = z.grad[0].abs().sum(0).nonzero()[:, 0]
    assert (int(touched[0]), int(touched[-1])) == (45 - 32, 45 + 32)
    assert model.flow.reach == 32


def test_another_seed_gives_another_sound_and_the_same_one_the_same() -> None:
    model = small()
    encoded, style = said(model)
    first, again, other = (model.decode_window(encoded, 10, 20, style, s) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)


def test_noise_belongs_to_the_frame() -> None:
    everything = frame_noise(11, 0, 400)
    for first, frames in ((0, 1), (63, 2), (64, 64), (100, 250), (399, 1)):
        part = frame_noise(11, first, frames)
        assert torch.equal(part, everything[:, first : first + frames])
    assert abs(float(everything.mean())) < 0.02
    assert abs(float(everything.std()) - 1) < 0.02
    assert not torch.equal(everything[:, :64], everything[:, 64:128])
    assert torch.equal(frame_noise(-1, 0, 3), frame_noise(2**64 - 1, 0, 3))
    assert frame_noise(0, 5, 0).shape == (192, 0)


def test_noise_is_the_same_on_every_machine() -> None:
    assert frame_noise(1, 64, 1)[:3, 0].tolist() == pytest.approx(NOISE_OF_SEED_1, abs=1e-6)


def test_speed_changes_the_number_of_frames() -> None:
    model = small()
    style = said(model)[1]
    codes, phones = torch.arange(20), torch.arange(8)
    frames = {s: model.encode(codes, phones, style, s).frames for s in (1.0, 0.7, 1.3)}
    assert frames == {1.0: 40, 0.7: 58, 1.3: 31}
    assert model.synthesize(codes, phones, style, speed=1.3).shape == (31 * 640,)


@pytest.mark.parametrize(("codes", "phones"), [(1, 1), (2, 1), (1, 5), (3, 3)])
def test_utterances_shorter_than_the_attention_window(codes: int, phones: int) -> None:
    model = small()
    encoded, style = said(model, codes, phones)
    sound = whole(model, encoded, style, seed=0)
    assert sound.shape == (codes * 2 * 640,)
    assert sound.isfinite().all()
    assert encoded.attention.shape == (codes * 2, phones)
    assert encoded.attention.sum(1).tolist() == pytest.approx([1.0] * codes * 2, abs=1e-5)


def test_several_references_blend_by_weight() -> None:
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 6.0]])
    assert blend([a, b], None).tolist() == [[2.0, 4.0]]
    assert blend([a, b], [3, 1]).tolist() == [[1.5, 3.0]]
    for weights_ in ([1.0], [0.0, 0.0], [2.0, -1.0], [float("nan"), 1.0]):
        with pytest.raises(ValueError, match="references"):
            blend([a, b], weights_)
    with pytest.raises(ValueError, match="at least one"):
        blend([], None)


def test_a_pro_model_wants_a_speaker_for_every_reference() -> None:
    pro = small(dataclasses.replace(SMALL, speaker=6))
    spec, speaker = torch.rand(1, 1025, 30), torch.rand(1, 6)
    assert pro.needs_speaker
    assert pro.style([spec, spec], [speaker, speaker]).ge512.shape == (1, 12, 1)
    with pytest.raises(ValueError, match="2 references, 1 speaker"):
        pro.style([spec, spec], [speaker])


def test_the_full_size_model_takes_tiles_when_asked() -> None:
    state = weights.state_dict(DATA, "s2_v2")
    plain = SoundModel.from_state(state, fast=False)
    tiles = {
        kind: sum(isinstance(part, TileConv) for part in model.dec.modules())
        for kind, model in {
            "plain": plain,
            "fast": SoundModel.from_state(state),
            "half": SoundModel.from_state(state, generator_dtype=torch.bfloat16),
        }.items()
    }
    assert tiles == {"plain": 0, "fast": 3 * 2 * 6, "half": 3 * 2 * 6}


def test_half_precision_stays_near() -> None:
    path, arrays, meta = next(f for f in fixtures(DATA, "sovits") if f[2]["model"] == "v2")
    state = {key: value.half() for key, value in weights.state_dict(DATA, "s2_v2").items()}
    model = SoundModel.from_state(state, generator_dtype=torch.bfloat16)
    style = model.style([sovits.tensor(rule) for rule in meta["refs"]])
    codes, phones = (torch.from_numpy(arrays[name]).long() for name in ("codes", "phones"))
    encoded = model.encode(codes, phones, style, meta["speed"])
    wave = model.decode(encoded, torch.zeros_like(encoded.m[0]), style)
    assert wave.dtype == torch.float32
    assert snr_db(wave.numpy(), arrays["wave"]) >= 39, path


Change = Callable[[dict[str, Tensor]], object]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s.pop("flow.flows.2.pre.bias"), r"lacks flow\.flows\.2\.pre\.bias"),
        (lambda s: s.pop("dec.ups.1.weight_g"), r"lacks dec\.ups\.1\.weight_g"),
        (lambda s: s.pop("enc_p.text_embedding.weight"), "text_embedding.weight is missing"),
        (lambda s: s.pop("quantizer.vq.layers.0._codebook.embed"), "codebook.embed is missing"),
        (lambda s: s.update({"enc_p.proj.bias": torch.zeros(5)}), r"proj\.bias \[5\] instead of"),
        (lambda s: s.update({"sv_emb.weight": torch.zeros(512, 9)}), r"lacks sv_emb\.bias"),
        (lambda s: s.clear(), "is missing"),
    ],
)
def test_what_is_missing_is_named(change: Change, named: str) -> None:
    state = dict(weights.state_dict(DATA, "s2_v2"))
    change(state)
    with pytest.raises(EngineError, match=named) as caught:
        SoundModel.from_state(state)
    assert caught.value.code in ("model_incomplete", "model_mismatch")


def test_training_leftovers_are_ignored_and_wrong_rates_are_not() -> None:
    state = dict(weights.state_dict(DATA, "s2_v2"))
    state["enc_q.pre.weight"] = torch.zeros(3)
    SoundModel.from_state(state)
    with pytest.raises(EngineError, match="upsampling rate"):
        SoundModel.from_state(state, upsample_rates=(10, 8, 2, 2))
    with pytest.raises(EngineError, match=r"ups\.3: kernel 2 does not go with .* 4"):
        SoundModel.from_state(state, upsample_rates=(10, 8, 2, 4, 2))


def check_fixed_windows(model: SoundModel, limit: float) -> None:
    encoded, style = said(model, codes=80)
    want = whole(model, encoded, style, seed=4)
    graphs = WindowGraphs(model, lengths=(100, 128))
    graphs.warm_up()
    for first, frames in ((0, 14), (14, 10), (60, 42), (150, 30), (0, 160), (20, 100)):
        got = graphs.decode_window(encoded, first, frames, style, seed=4)
        assert_close(got, want[first * 640 : (first + frames) * 640], limit)


def test_windows_of_fixed_length_are_the_same_sound() -> None:
    check_fixed_windows(small(), 1e-5)


def test_a_window_of_a_graph_outlives_the_next_replay() -> None:
    model = small()
    encoded, style = said(model, codes=80)
    with tape.recorded():
        graphs = WindowGraphs(model, lengths=(100,), graphs=True)
        graphs.warm_up()
        first = graphs.decode_window(encoded, 0, 14, style, seed=4)
        kept = first.clone()
        graphs.decode_window(encoded, 60, 14, style, seed=4)
    assert torch.equal(first, kept)


def test_a_device_that_cannot_record_makes_the_same_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = WindowGraphs._capture

    def fails_at_the_second(windows: WindowGraphs, length: int) -> Any:
        if windows._windows:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        return capture(windows, length)

    monkeypatch.setattr(WindowGraphs, "_capture", fails_at_the_second)
    check_fixed_windows(small(), 1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_graphs_are_the_same_sound() -> None:
    check_fixed_windows(small(device="cuda"), 1e-4)
