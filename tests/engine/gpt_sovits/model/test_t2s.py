"""The AR model: recorded numbers, the cache, the loop, rows that join and leave, its refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from koed.engine.gpt_sovits.checkpoints.s1_s2_keys import S1
from koed.engine.gpt_sovits.decoding.cuda_graph import CAPTURING, DeviceBatch, spans
from koed.engine.gpt_sovits.decoding.decode import FEWEST_CODES, Prompt, Utterance
from koed.engine.gpt_sovits.model.linear import Exact, Half, Int8, make_linear, packs
from koed.engine.gpt_sovits.model.sampling import Sampling, seeded
from koed.engine.gpt_sovits.model.t2s import T2S
from koed.errors import EngineError
from tests.engine.gpt_sovits import tape
from tests.parity import ar, sampling
from tests.parity.case import Case
from tests.parity.weights import fill
from tools.parity import official

DATA = Path(__file__).parents[3] / "parity" / "data"
CPU = torch.device("cpu")
CODES = 1025


@pytest.mark.parametrize("case", [*ar.cases(DATA), *sampling.cases(DATA)], ids=lambda c: c.name)
def test_recorded_numbers(case: Case) -> None:
    result = case.run()
    assert result.worst
    assert not result.failed


# -- a small model: same layout, no meaning ------------------------------------------------------


HEADS = 2


def weights(layers: int = 3, end_gain: float = 1.0) -> dict[str, Tensor]:
    shapes = S1(layers, width=32, phones=40, codes=CODES).shapes()
    made = {key: torch.from_numpy(fill(key, shape)) for key, shape in shapes.items()}
    made["model.ar_predict_layer.weight"][-1] *= end_gain
    return made


def prompt(number: int, most: int = 40, codes: int = 9, **options: Any) -> Prompt:
    rng = torch.Generator().manual_seed(number)
    phones = torch.randint(0, 40, (5 + 3 * number,), generator=rng)
    reference = torch.randint(0, CODES - 1, (codes,), generator=rng)
    bert = torch.randn(1024, len(phones), generator=rng) if number % 2 else None
    return Prompt(phones, reference, bert, Sampling(**options), most)


def spoken(model: T2S, number: int, **options: Any) -> tuple[list[int], str | None]:
    utterance = Utterance(model, prompt(number, **options), seeded(number, CODES, CPU))
    return list(utterance), utterance.ending


def drain(batch: DeviceBatch, into: dict[Any, list[Any]]) -> None:
    for said in batch.step():
        into.setdefault(said.key, []).extend([] if said.code is None else [said.code])
        into[said.key] += [said.ending] if said.ending else []


@pytest.fixture(scope="module")
def model() -> T2S:
    return T2S(weights(end_gain=2.0), HEADS)


# -- loading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 12])
def test_size_follows_the_shapes(layers: int) -> None:
    model = T2S(weights(layers), HEADS)
    assert len(model.layers) == layers
    assert spoken(model, 1, most=3)[0]


def test_keys_without_prefix_and_halves_load() -> None:
    halves = {k.removeprefix("model."): v.half() for k, v in weights().items()}
    assert spoken(T2S(halves, HEADS), 1, most=3)[0]


def test_what_is_wrong_with_a_file_is_named() -> None:
    broken = weights()
    del broken["model.h.layers.1.linear1.weight"]
    with pytest.raises(EngineError, match=r"lacks .*h\.layers\.1\.linear1\.weight") as caught:
        T2S(broken, HEADS)
    assert caught.value.code == "model_incomplete"
    broken = weights()
    broken["model.ar_audio_embedding.word_embeddings.weight"] = torch.zeros(512, 32)
    broken["model.bert_proj.weight"] = torch.zeros(32, 768)
    with pytest.raises(
        EngineError, match=r"word_embeddings.weight \[512, 32\] instead of"
    ) as caught:
        T2S(broken, HEADS)
    assert "bert_proj.weight [32, 768] instead of [32, 1024]" in str(caught.value)
    with pytest.raises(EngineError, match="ar_text_embedding"):
        T2S({}, HEADS)


# -- the cache -----------------------------------------------------------------------------------


def test_a_step_says_what_a_longer_prefill_says(model: T2S) -> None:
    given = prompt(3, codes=20)
    state = model.new_state(1, 64, poison=True)
    model.prefill(state, 0, given.phones, given.bert, given.codes[:12])
    stepped = [model.step(state, code[None])[0] for code in given.codes[12:]]
    for at, logits in enumerate(stepped):
        whole = model.new_state(1, 64, poison=True)
        want = model.prefill(whole, 0, given.phones, given.bert, given.codes[: 13 + at])
        assert torch.allclose(logits, want, atol=2e-4), at


def test_a_used_state_is_as_good_as_a_new_one(model: T2S) -> None:
    state = model.new_state(1, 128)
    codes = []
    for number in (4, 1):
        codes = list(Utterance(model, prompt(number), seeded(number, CODES, CPU), state))
    assert codes == spoken(model, 1)[0]


def test_the_cache_may_be_full_but_not_overfull(model: T2S) -> None:
    given = prompt(1)
    state = model.new_state(1, given.phones.numel() + given.codes.numel() + 1)
    model.prefill(state, 0, given.phones, given.bert, given.codes)
    model.step(state, torch.tensor([3]))
    with pytest.raises(EngineError, match="no more fit"):
        model.step(state, torch.tensor([3]))


# -- the loop ------------------------------------------------------------------------------------


def test_stops_at_any_code(model: T2S) -> None:
    utterance = Utterance(model, prompt(2), seeded(2, CODES, CPU))
    loop = iter(utterance)
    first = [next(loop) for _ in range(3)]
    loop.close()  # type: ignore[attr-defined]
    assert utterance.codes == first == spoken(model, 2)[0][:3]
    assert utterance.ending is None


def test_no_end_before_eleven_codes() -> None:
    eager = T2S(weights(end_gain=1e3), HEADS)
    for number in range(1, 7):
        codes, ending = spoken(eager, number)
        assert len(codes) >= FEWEST_CODES
        assert CODES - 1 not in codes
        if len(codes) == FEWEST_CODES and ending == "end":
            return
    pytest.fail("the end mark never won at the first chance")


def test_a_limit_keeps_all_codes_and_the_quirks_lose_one(model: T2S) -> None:
    utterance = Utterance(model, prompt(2, most=8), seeded(2, CODES, CPU))
    codes = list(utterance)
    assert (len(codes), utterance.ending) == (8, "limit")
    assert official.single_codes(utterance) == codes[1:]
    given, draws = prompt(2, most=8), seeded(2, CODES, CPU)
    assert official.codes_together(model, [given], [draws]) == [codes[:-1]]
    alone = Utterance(model, prompt(2, most=8, codes=0), seeded(2, CODES, CPU))
    assert list(alone) == official.single_codes(alone)


def test_the_seed_decides(model: T2S) -> None:
    one, two = (Utterance(model, prompt(2), seeded(s, CODES, CPU)) for s in (5, 6))
    again = Utterance(model, prompt(2), seeded(5, CODES, CPU))
    codes = list(one)
    assert codes == list(again)
    assert codes != list(two)
    noise = seeded(5, CODES, CPU, block=2)
    late = noise(5).clone()
    assert torch.equal(late, seeded(5, CODES, CPU, block=2)(5))
    assert float(late.min()) > 0


@pytest.mark.parametrize(
    ("phones", "codes", "code"),
    [([], [1], "no_phones"), ([40], [1], "unknown_id"), ([1], [1024], "unknown_id")],
)
def test_refuses_what_it_cannot_say(
    model: T2S, phones: list[int], codes: list[int], code: str
) -> None:
    state = model.new_state(1, 64)
    with pytest.raises(EngineError) as caught:
        model.prefill(state, 0, torch.tensor(phones).long(), None, torch.tensor(codes))
    assert caught.value.code == code


@pytest.mark.parametrize("broken", [{"top_k": 0}, {"top_p": -1.0}, {"temperature": float("nan")}])
def test_refuses_senseless_sampling(broken: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match=next(iter(broken))):
        Sampling(**broken)


# -- rows that join and leave --------------------------------------------------------------------

# Other settings in every row, ends of both kinds, and rows that wait for a place.
ROWS: dict[int, dict[str, Any]] = {
    1: {"top_k": 5},
    2: {"most": 12, "top_p": 0.7},
    3: {"temperature": 0.4, "top_k": None},
    4: {"most": 25, "codes": 0},
    5: {"repetition_penalty": 1.0, "top_k": 100},
    6: {"most": 3},
}


def crowd(model: T2S, batch: DeviceBatch) -> dict[Any, list[Any]]:
    """All rows through ``batch``, as places get free."""
    said: dict[Any, list[Any]] = {}
    waiting = list(ROWS)
    while waiting or len(batch):
        while waiting and len(batch) < 3:
            n = waiting.pop(0)
            batch.join(n, prompt(n, **ROWS[n]), seeded(n, CODES, model.device))
        drain(batch, said)
    return said


def alone(model: T2S) -> dict[Any, list[Any]]:
    return {n: [*(r := spoken(model, n, **options))[0], r[1]] for n, options in ROWS.items()}


@pytest.mark.parametrize("every", [1, 4, 7])
def test_neighbours_do_not_change_a_row(model: T2S, every: int) -> None:
    want = alone(model)
    assert {row[-1] for row in want.values()} == {"end", "limit"}
    batch = DeviceBatch(model, 3, 96, every=every, graphs=False)
    assert crowd(model, batch) == want
    assert crowd(model, batch) == want  # and once more through the same buffers


def scribbles_and_fails(batch: DeviceBatch, span: int) -> None:
    batch.turn(span)  # as the runs before a recording
    raise RuntimeError("CUDA error: operation not permitted when stream is capturing")


def test_a_device_that_cannot_record_says_the_same_without(
    model: T2S, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(DeviceBatch, "_record", scribbles_and_fails)
    batch = DeviceBatch(model, 3, 96, graphs=True)
    batch.warm_up()
    assert crowd(model, batch) == alone(model)
    assert not batch.graphs
    assert not batch.captured
    assert [r.message[:17] for r in caplog.records] == ["no CUDA graphs on"]


class Recording:
    """The twin of a graph: does what was recorded, with the settings in the places of then."""

    made: ClassVar[list[int]] = []

    def __init__(self, batch: DeviceBatch, span: int) -> None:
        assert CAPTURING.locked()
        batch.turn(span)  # as the runs before a recording
        self.batch, self.span, self.knobs = batch, span, batch.knobs
        self.made.append(span)

    def replay(self) -> None:
        now, self.batch.knobs = self.batch.knobs, self.knobs
        self.batch.turn(self.span)
        self.batch.knobs = now


def recorded(batch: DeviceBatch, span: int) -> Recording:
    return Recording(batch, span)


def counted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[None]:
    """A list that grows with every call."""
    calls: list[None] = []
    real = getattr(owner, name)

    def call(*args: Any) -> Any:
        calls.append(None)
        return real(*args)

    monkeypatch.setattr(owner, name, call)
    return calls


def test_all_settings_are_recorded_before_anybody_speaks(
    model: T2S, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DeviceBatch, "_record", recorded)
    batch = DeviceBatch(model, 3, 200, graphs=True)
    batch.warm_up()
    count = len(Recording.made)
    assert count == len(batch.captured) == 2 * len(spans(batch.positions))
    turns = counted(monkeypatch, DeviceBatch, "turn")
    replays = counted(monkeypatch, Recording, "replay")
    assert crowd(model, batch) == alone(model)
    assert len(turns) == len(replays) > 0, "nothing was done without a recording"
    assert len(Recording.made) == count


@pytest.mark.parametrize("words", ["CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED"])
def test_memory_that_runs_out_while_recording_says_nothing_of_the_card(
    model: T2S, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    def full(batch: DeviceBatch, span: int) -> None:
        raise RuntimeError(words)

    batch = DeviceBatch(model, 3, 96, graphs=True)
    with monkeypatch.context() as short:
        short.setattr(DeviceBatch, "_record", full)
        with pytest.raises(RuntimeError, match=words):
            batch.warm_up()
    assert batch.graphs
    assert not CAPTURING.locked()
    monkeypatch.setattr(DeviceBatch, "_record", recorded)
    batch.warm_up()
    assert crowd(model, batch) == alone(model)


def test_spans_reach_to_the_end() -> None:
    assert spans(128) == [128]
    assert spans(384) == [128, 256, 384]
    assert spans(2048) == [128, 256, 384, 512, 1024, 1536, 2048]
    assert spans(640) == [128, 256, 384, 512, 640]


def test_what_is_replayed_says_what_is_said_alone(model: T2S) -> None:
    with tape.recorded():
        batch = DeviceBatch(model, 3, 96, graphs=True)
        batch.warm_up()
        assert crowd(model, batch) == alone(model)
        assert crowd(model, batch) == alone(model)
    assert batch.graphs
    assert all(graph.replays for span, graph in batch.captured.items() if span[0] == 128)


def test_a_row_goes_on_in_the_next_bucket(model: T2S) -> None:
    """Of 128 positions its prompt takes 111."""
    for graphs in (False, True):
        with tape.recorded():
            batch = DeviceBatch(model, 2, 160, graphs=graphs)
            batch.warm_up()
            said: dict[Any, list[Any]] = {}
            batch.join(1, prompt(1), seeded(1, CODES, CPU))
            batch.join(2, prompt(2, codes=100), seeded(8, CODES, CPU))
            while len(batch):
                drain(batch, said)
        want = Utterance(model, prompt(2, codes=100), seeded(8, CODES, CPU))
        assert said[2] == [*want, want.ending]
        assert len(said[2]) > 25
        assert said[1][:-1] == spoken(model, 1)[0]


def test_idle_rows_compute_along_and_stay_where_they_are(model: T2S) -> None:
    batch = DeviceBatch(model, 3, 96, graphs=False)
    batch.join(1, prompt(1), seeded(1, CODES, CPU))
    while len(batch):
        batch.step()
    assert batch.state.filled.tolist() == [0, 0, 0]


def test_leaving_frees_the_row_and_no_other(model: T2S) -> None:
    batch = DeviceBatch(model, 2, 96, graphs=False)
    said: dict[Any, list[Any]] = {}
    for n in (1, 3):
        batch.join(n, prompt(n), seeded(n, CODES, CPU))
    with pytest.raises(EngineError) as caught:
        batch.join(5, prompt(5), seeded(5, CODES, CPU))
    assert caught.value.code == "batch_full"
    drain(batch, said)
    batch.leave(1)
    batch.leave(1)
    batch.join(5, prompt(5), seeded(5, CODES, CPU))
    while len(batch):
        drain(batch, said)
    for n in (3, 5):
        assert said[n][:-1] == spoken(model, n)[0]
    assert said[1] == spoken(model, 1)[0][: len(said[1])]


# -- number formats ------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 60])
@pytest.mark.parametrize(
    ("kind", "halves", "limit"),
    [("fp32", False, 2e-6), ("fp32", True, 2e-6), ("fp16", False, 1e-3), ("int8", False, 3e-2)],
)
def test_packed_linears(kind: Any, halves: bool, limit: float, rows: int) -> None:
    if not packs():
        pytest.skip("this processor has no packed kernels: torch's own linear is used")
    rng = torch.Generator().manual_seed(0)
    weight = torch.randn(96, 512, generator=rng) / 512**0.5
    weight = weight.half().float() if halves else weight
    bias, x = torch.randn(96, generator=rng), torch.randn(rows, 512, generator=rng)
    linear = make_linear(weight, bias, kind)
    assert isinstance(linear, {"fp32": Exact, "fp16": Half, "int8": Int8}[kind])
    want = x.double() @ weight.double().T + bias
    error = float((linear(x) - want).abs().max() / want.abs().max())
    assert error < limit
    if kind == "fp32" and halves:
        assert isinstance(linear, Exact)
        assert linear.low is None  # half the bytes, nothing lost


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_reduced_precision_stays_close(precision: Any) -> None:
    given, logits = prompt(3), {}
    for kind in ("fp32", precision):
        model = T2S(weights(), HEADS, precision=kind)
        state = model.new_state(1, 64)
        model.prefill(state, 0, given.phones, given.bert, given.codes)
        logits[kind] = model.step(state, torch.tensor([7]))
    error = (logits[precision] - logits["fp32"]).abs().max() / logits["fp32"].abs().max()
    assert 0 < float(error) < {"fp16": 1e-2, "int8": 0.1}[precision]


# -- CUDA ----------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_graphs_say_what_the_eager_twin_says() -> None:
    model = T2S(weights(end_gain=2.0), HEADS, device="cuda")
    graphs, eager = (DeviceBatch(model, 3, 96, graphs=on) for on in (True, False))
    graphs.warm_up()
    assert crowd(model, graphs) == crowd(model, eager)
