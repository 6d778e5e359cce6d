"""Reference audio and its networks: recorded numbers, bad files, spellings, sizes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from koed.engine.gpt_sovits.model import bert, features, hubert, loading, speaker_encoder
from koed.engine.gpt_sovits.model.linear import packs
from koed.errors import EngineError
from koed.g2p.vocabulary import read_vocabulary
from koed.testing import tiny
from tests.parity import features as recorded
from tests.parity.case import Case

DATA = Path(__file__).parents[3] / "parity" / "data"

TINY_HUBERT: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
    "conv_dim": [16] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
TINY_BERT: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2,
    "intermediate_size": 48,
}  # fmt: skip
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"你好世界今天気很，。！？a"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    yield
    torch.set_num_threads(before)


# --- recorded numbers ------------------------------------------------------------------------


CASES = list(recorded.cases(DATA))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_recorded_numbers(case: Case) -> None:
    result = case.run()
    assert result.worst
    assert not result.failed


def test_there_are_recorded_numbers_of_each_kind() -> None:
    assert {case.name.split("/")[0] for case in CASES} == {"spec", "ssl", "sv", "bert"}


def test_networks_load_transformers_late() -> None:
    code = (
        "import sys, koed.engine.gpt_sovits.model.bert, koed.engine.gpt_sovits.model.hubert,"
        " koed.engine.gpt_sovits.model.speaker_encoder\n"
        "print({'transformers', 'soundfile', 'soxr', 'torchaudio'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- files -----------------------------------------------------------------------------------


def tone(seconds: float, rate_hz: int, channels: int = 1) -> np.ndarray:
    wave = 0.4 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate_hz)) / rate_hz)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def file_of(samples: np.ndarray, rate_hz: int, form: str = "WAV", **options: str) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate_hz, format=form, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("WAV", {"subtype": "PCM_16"}),
        ("WAV", {"subtype": "PCM_24"}),
        ("WAV", {"subtype": "FLOAT"}),
        ("FLAC", {}),
        ("OGG", {"subtype": "VORBIS"}),
        ("MP3", {}),
    ],
)
def test_reads_every_common_format(form: str, options: dict[str, str], tmp_path: Path) -> None:
    content = file_of(tone(4.0, 48_000, channels=2), 48_000, form, **options)
    (tmp_path / "reference.any").write_bytes(content)
    for source in (content, tmp_path / "reference.any"):
        recording = features.read(source)
        assert recording.rate_hz == 48_000
        assert recording.samples.ndim == 1
        assert recording.duration_s == pytest.approx(4.0, abs=0.1)
        assert np.abs(recording.samples).max() == pytest.approx(0.4, abs=0.05)


def with_nan() -> np.ndarray:
    samples = tone(4.0, 32_000)
    samples[1000:1010] = np.nan
    return samples


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (file_of(tone(0.0, 32_000), 32_000), "reference_empty"),
        (file_of(tone(0.1, 32_000), 32_000), "reference_short"),
        (file_of(tone(60.0, 16_000), 16_000), "reference_long"),
        (file_of(tone(4.0, 8_000), 8_000), "reference_rate"),
        (file_of(tone(4.0, 48_000, channels=6), 48_000), "reference_channels"),
        (file_of(with_nan(), 32_000, subtype="FLOAT"), "reference_damaged"),
        (file_of(tone(4.0, 32_000), 32_000, "FLAC")[:60], "reference_unreadable"),
        (file_of(tone(4.0, 32_000), 32_000)[:2_000], "reference_short"),
        (b"", "reference_unreadable"),
        (b"RIFF\xff\xff\xff\xffWAVE", "reference_unreadable"),
        (b"<html>404</html>" * 99, "reference_unreadable"),
        (Path("/no/such/file.wav"), "reference_unreadable"),
    ],
)
def test_refuses_what_is_no_reference(content: bytes | Path, code: str) -> None:
    with pytest.raises(EngineError) as caught:
        features.read(content)
    assert caught.value.code == code
    assert caught.value.hint


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(2.9, "reference_short"), (3.0, None), (10.0, None), (10.1, "reference_long")],
)
def test_a_prompt_lasts_three_to_ten_seconds(seconds: float, code: str | None) -> None:
    recording = features.read(file_of(tone(seconds, 24_000), 24_000))
    if code is None:
        features.check_prompt(recording)
        return
    with pytest.raises(EngineError, match="lasts") as caught:
        features.check_prompt(recording)
    assert caught.value.code == code


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 32_000, 44_100, 44_099, 96_000, 192_000])
def test_a_tone_stays_the_same_tone(rate_hz: int) -> None:
    recording = features.read(file_of(tone(3.0, rate_hz), rate_hz))
    styled = features.for_style(recording)
    for wave, to_hz in (
        (styled, 32_000),
        (features.for_speaker(styled), 16_000),
        (features.for_prompt(recording), 16_000),
    ):
        assert wave.dtype == torch.float32
        assert len(wave) == 3 * to_hz
        inner = slice(to_hz // 2, -to_hz // 2)
        # 16 bit and the filters' ripple, no more.
        np.testing.assert_allclose(wave[inner], tone(3.0, to_hz)[inner, 0], atol=2e-3)


def test_what_is_too_loud_is_brought_down_by_half_at_most() -> None:
    shape = tone(3.0, 32_000)[:, 0] / 0.4
    for peak, heard in ((0.9, 0.9), (1.5, 1.0), (3.0, 1.5)):
        wave = features.for_style(features.Recording(shape * np.float32(peak), 32_000))
        assert float(wave.abs().max()) == pytest.approx(heard, rel=1e-3)


def test_a_spectrum_shows_the_tone_where_it_is() -> None:
    spectrogram = features.spectrogram(torch.from_numpy(tone(1.0, 32_000)[:, 0]))
    assert spectrogram.shape == (1, 1025, 50)
    assert spectrogram[0, :, 25].argmax() == round(440 / (32_000 / 2048))


def test_silence_has_the_floor_of_the_filter_bank() -> None:
    energies = features.fbank(torch.zeros(16_000))
    assert energies.shape == (98, 80)
    assert energies.unique().tolist() == pytest.approx([np.log(np.finfo(np.float32).eps)])


def test_without_soundfile_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(EngineError) as caught:
        features.read(b"")
    assert caught.value.code == "library_missing"


def test_twins_equal_torchaudio() -> None:
    """Where it imports; elsewhere that nothing needs it."""
    library = features.torchaudio()
    wave = torch.randn(20_000)
    if library is None:
        assert torch.equal(features.fbank(wave), features.fbank_twin(wave))
        assert torch.equal(
            features.resample(wave, 44_100, 32_000), features.resample_twin(wave, 441, 320)
        )
        return
    torch.testing.assert_close(features.fbank(wave), features.fbank_twin(wave), atol=1e-4, rtol=0)
    for old, new in ((441, 320), (3, 2), (3, 4), (2, 1)):
        theirs = library.transforms.Resample(old, new)(wave)
        torch.testing.assert_close(
            theirs, features.resample_twin(wave, old, new), atol=1e-6, rtol=0
        )


def test_a_torchaudio_that_cannot_load_is_as_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "torchaudio"
    broken.mkdir()
    (broken / "__init__.py").write_text('raise OSError("libcudart.so: cannot open")')
    for name in [n for n in sys.modules if n.split(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert features.torchaudio.__wrapped__() is None


# --- spellings of weights --------------------------------------------------------------------


def random_state(network: nn.Module) -> dict[str, Tensor]:
    return {k: 0.2 * torch.randn(v.shape) for k, v in network.state_dict().items()}


def hubert_state() -> dict[str, Tensor]:
    from transformers import HubertConfig, HubertModel

    return random_state(HubertModel(HubertConfig(**TINY_HUBERT)))


def bert_state() -> dict[str, Tensor]:
    from transformers import BertConfig, BertModel

    return random_state(BertModel(BertConfig(**TINY_BERT), add_pooling_layer=False))


def respelled(state: dict[str, Tensor], *changes: tuple[str, str]) -> dict[str, Tensor]:
    out = {}
    for key, value in state.items():
        for old, new in changes:
            key = key.replace(old, new)
        out[key] = value
    return out


def test_hubert_in_every_spelling() -> None:
    state = hubert_state()
    assert any(k.endswith("original0") for k in state)
    wave = torch.from_numpy(tone(0.5, 16_000)[:, 0])
    want = hubert.Hubert(state, TINY_HUBERT)(wave)
    assert want.shape == (1, 32, 24)
    old = respelled(
        state,
        ("parametrizations.weight.original0", "weight_g"),
        ("parametrizations.weight.original1", "weight_v"),
    )
    assert torch.equal(hubert.Hubert(old, TINY_HUBERT)(wave), want)
    headed = {f"hubert.{k}": v for k, v in old.items()} | {"lm_head.weight": torch.ones(3)}
    assert torch.equal(hubert.Hubert(headed, TINY_HUBERT)(wave), want)
    half = {k: v.half() for k, v in headed.items()}
    got = hubert.Hubert(half, TINY_HUBERT)(wave)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, want, atol=0.05, rtol=0)


def test_hubert_equals_the_library_with_weight_norm() -> None:
    from transformers import HubertConfig, HubertModel

    state = hubert_state()
    whole = HubertModel(HubertConfig(**TINY_HUBERT)).eval()
    whole.load_state_dict(state)
    wave = torch.randn(8_000)
    with torch.inference_mode():
        want = whole(wave[None]).last_hidden_state.transpose(1, 2)
    torch.testing.assert_close(hubert.Hubert(state, TINY_HUBERT)(wave), want, atol=1e-5, rtol=0)


def test_weights_that_do_not_fit_are_named() -> None:
    state = hubert_state()
    missing = {k: v for k, v in state.items() if k != "encoder.layers.1.layer_norm.bias"}
    with pytest.raises(EngineError, match=r"encoder\.layers\.1\.layer_norm\.bias") as caught:
        hubert.Hubert(missing, TINY_HUBERT)
    assert caught.value.code == "model_incomplete"
    with pytest.raises(EngineError, match=r"\[32\] instead of \[768\]") as caught:
        hubert.Hubert(state, {**TINY_HUBERT, "hidden_size": 768})
    assert caught.value.code == "model_mismatch"
    half = {k: v for k, v in state.items() if not k.endswith("original0")}
    with pytest.raises(EngineError, match="pos_conv_embed"):
        hubert.Hubert(half, TINY_HUBERT)
    for wrong in ({"hidden_size": "large"}, {"num_attention_heads": 5}):
        with pytest.raises(EngineError) as caught:
            hubert.Hubert(state, {**TINY_HUBERT, **wrong})
        assert caught.value.code == "model_damaged"


def test_model_folders(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        loading.read_folder(tmp_path)
    assert caught.value.code == "model_missing"
    state = {"a.weight": torch.randn(2, 3)}
    torch.save(state, tmp_path / "pytorch_model.bin")
    assert torch.equal(loading.read_folder(tmp_path)[1]["a.weight"], state["a.weight"])
    save_file({"a.weight": state["a.weight"] + 1}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"hidden_size": 4}')
    config, read = loading.read_folder(tmp_path)
    assert config == {"hidden_size": 4}
    assert torch.equal(read["a.weight"], state["a.weight"] + 1)
    for name in ("config.json", "model.safetensors"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(EngineError) as caught:
            loading.read_folder(tmp_path)
        assert caught.value.code in ("model_damaged", "checkpoint_damaged")
        (tmp_path / name).write_bytes(whole)


def test_the_tiny_set_is_heard_and_read(tmp_path: Path) -> None:
    tiny.make(tmp_path)
    recording = features.read(DATA / "waves" / "ref_b.wav")
    ssl = hubert.Hubert.load(tmp_path / tiny.HUBERT)(features.for_prompt(recording))
    assert ssl.shape == (1, 32, 159)
    reads = bert.Bert.load(tmp_path / tiny.BERT)
    assert reads.features([("你好，", [2, 2, 1])])[0].shape == (1024, 5)
    knows = speaker_encoder.Speaker.load(tmp_path / tiny.SPEAKER)
    embedding = knows(features.for_style(recording))
    assert embedding.shape == (1, tiny.SPEAKERS.embedding)
    for numbers in (ssl, embedding):
        assert torch.isfinite(numbers).all()
        assert numbers.std() > 0


# --- codes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [2, 7, 40])
def test_codes_are_the_nearest_entries(frames: int) -> None:
    ssl, codebook = torch.randn(1, 8, frames), 3 * torch.randn(50, 8)
    weight, bias = torch.randn(8, 8, 2), torch.randn(8)
    got = hubert.codes(ssl, weight, bias, codebook)
    want = []
    for t in range(frames // 2):  # an odd frame at the end is dropped
        pair = ssl[0, :, 2 * t : 2 * t + 2]
        point = (weight * pair).sum((1, 2)) + bias
        want.append(int((codebook - point).norm(dim=1).argmin()))
    assert got.tolist() == want
    assert got.dtype == torch.int64


def test_the_pause_behind_a_prompt() -> None:
    wave = torch.ones(48_000)
    assert len(hubert.with_pause(wave)) - 48_000 == 0.3 * 16_000
    assert hubert.with_pause(wave)[48_000:].abs().max() == 0


# --- BERT ------------------------------------------------------------------------------------


def reader() -> bert.Bert:
    return bert.Bert(bert_state(), {t: i for i, t in enumerate(TOKENS)}, TINY_BERT)


def test_bert_is_the_output_before_the_last_two_layers() -> None:
    from transformers import BertConfig, BertModel

    state = bert_state()
    whole = BertModel(BertConfig(**TINY_BERT), add_pooling_layer=False).eval()
    whole.load_state_dict(state)
    old = {
        "bert." + k.replace("LayerNorm.weight", "LayerNorm.gamma"): v for k, v in state.items()
    } | {"cls.predictions.bias": torch.zeros(40), "bert.pooler.dense.bias": torch.zeros(32)}
    ours = bert.Bert(old, {t: i for i, t in enumerate(TOKENS)}, TINY_BERT)
    ids = ours.tokens("你好，世界！")
    with torch.inference_mode():
        marked = torch.tensor([[2, *ids, 3]])
        want = whole(marked, output_hidden_states=True).hidden_states[-3][0, 1:-1]
    torch.testing.assert_close(ours.encode([ids])[0], want, atol=1e-5, rtol=0)


def test_pieces_in_one_pass_equal_pieces_alone() -> None:
    ours = reader()
    pieces = [("你好，世界！", [2, 2, 1, 2, 2, 1]), ("今", [2]), ("", []), ("很" * 40, [2] * 40)]
    together = ours.features(pieces)
    assert [tuple(f.shape) for f in together] == [(32, 10), (32, 2), (32, 0), (32, 80)]
    for piece, feature in zip(pieces, together, strict=True):
        torch.testing.assert_close(ours.features([piece])[0], feature, atol=1e-5, rtol=0)
    first = together[0]
    assert torch.equal(first[:, 0], first[:, 1])  # two phones of one character
    assert not torch.equal(first[:, 1], first[:, 2])
    assert ours.features([]) == []


def test_a_file_of_halves_stays_one_and_loses_nothing() -> None:
    halves = {k: v.half() if v.is_floating_point() else v for k, v in bert_state().items()}
    whole = {k: v.float() if v.is_floating_point() else v for k, v in halves.items()}
    ours, plain = (bert.Bert(s, {t: i for i, t in enumerate(TOKENS)}, TINY_BERT)
                   for s in (halves, whole))  # fmt: skip
    held = [sum(p.numel() for p in b.body.parameters()) for b in (ours, plain)]
    assert held[0] < held[1] or not packs(), "the linear layers are packed"
    pieces = [("你好，世界！", [2, 2, 1, 2, 2, 1]), ("很" * 40, [2] * 40)]
    for got, want in zip(ours.features(pieces), plain.features(pieces), strict=True):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=0)


def test_a_long_text_is_read_in_parts() -> None:
    text = "今天天気很好。" * 220
    got = reader().features([(text, [1] * len(text))])[0]
    assert got.shape == (32, 1540)
    assert torch.isfinite(got).all()


def test_batches_hold_each_text_once_within_bounds() -> None:
    lengths = [3, 510, 1, 200, 510, 510, 0, 77, 510, 510]
    batches = bert._batches(lengths)
    assert sorted(i for batch in batches for i in batch) == list(range(10))
    for batch in batches:
        assert len(batch) * (2 + max(lengths[i] for i in batch)) <= bert.BATCH_TOKENS


def test_tokens_are_those_of_the_library(tmp_path: Path) -> None:
    from transformers import BertTokenizer

    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    theirs = BertTokenizer(str(tmp_path / "vocab.txt"))
    vocabulary = read_vocabulary(tmp_path)
    ours = bert.Bert(bert_state(), vocabulary, TINY_BERT)
    for text in ("你好，世界！", "今天？很好。", "龘好𠀀", "Á，気", "\uf9b4好"):
        want = theirs.convert_tokens_to_ids(theirs.tokenize(text))
        assert ours.tokens(text) == want, text


def test_vocabularies(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        read_vocabulary(tmp_path)
    assert caught.value.code == "model_missing"
    table = {token: i for i, token in enumerate(TOKENS)}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": table}}))
    assert read_vocabulary(tmp_path) == table
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS[:2]), encoding="utf-8")
    with pytest.raises(EngineError, match=r"\[CLS\]"):
        bert.Bert(bert_state(), read_vocabulary(tmp_path), TINY_BERT)


# --- speaker ---------------------------------------------------------------------------------


def test_the_speaker_model_names_what_it_lacks() -> None:
    with torch.device("meta"):
        network = speaker_encoder.Network()
    state = {k: torch.zeros(v.shape) for k, v in network.state_dict().items()}
    with pytest.raises(EngineError, match=r"layer3\.0\.fuse_models\.2\.local_att\.3\.bias"):
        speaker_encoder.Speaker(
            {k: v for k, v in state.items() if "3.0.fuse_models.2.local_att.3" not in k}
        )


def test_norms_are_folded_where_they_stand() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convs = nn.ModuleList([nn.Conv2d(3, 4, 3)])

    pair, norm = Pair(), nn.BatchNorm2d(4).eval()
    for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        assert values is not None
        values.data.uniform_(0.5, 2.0)
    state = {"convs.0.weight": pair.convs[0].weight.detach(), "convs.0.bias": torch.ones(4)}
    state |= {f"bns.0.{k}": v for k, v in norm.state_dict().items()}
    folded = speaker_encoder.without_norms(pair, state)
    x = torch.randn(1, 3, 8, 8)
    with torch.inference_mode():
        want = norm(torch.conv2d(x, state["convs.0.weight"], state["convs.0.bias"]))
        got = torch.conv2d(x, folded["convs.0.weight"], folded["convs.0.bias"])
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
