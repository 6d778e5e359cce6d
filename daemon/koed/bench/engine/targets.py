"""What `koed bench engine` is held to: on a processor ratios against `naive` of the same run and
one time, on a GPU (of the H200's class) rates and times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """Of the table."""

    name: str
    threads: str
    measured: float
    limit: float
    at_most: bool = False

    @property
    def reached(self) -> bool:
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit

    def told(self) -> str:
        bound = f"at {'most' if self.at_most else 'least'} {self.limit:g}"
        missed = "" if self.reached else "  <- missed"
        return f"{self.name:52} {self.threads:>3} thr. {self.measured:>7.3g}  {bound}{missed}"


def rows(measured: Mapping[str, Mapping[str, Any]]) -> Iterator[Row]:
    """``measured``: for each number of threads what `bench.run` found with it, on a processor."""
    for threads, found in measured.items():
        text, sound = found["text"], found["decoder"]
        slow, most = text["naive"]["tokens_s"], max(text["naive"]["tokens_s"], key=int)

        def rate(name: str, count: str, text: Any = text, slow: Any = slow) -> float:
            return round(float(text[name]["tokens_s"][count] / slow[count]), 2)

        def sooner(name: str, sound: Any = sound) -> float:
            return round(float(sound["naive"]["s_per_s"] / sound[name]["s_per_s"]), 2)

        yield Row("text model, 1 row, fp32: times naive", threads, rate("fp32", "1"), 1.3)
        yield Row("text model, 1 row, int8: times naive", threads, rate("int8", "1"), 3.0)
        yield Row(f"text model, {most} rows, fp32: times naive", threads, rate("fp32", most), 1.5)
        yield Row(f"text model, {most} rows, int8: times naive", threads, rate("int8", most), 1.5)
        yield Row("decoder v2, fp32: times naive", threads, sooner("fp32"), 1.1)
        yield Row("decoder v2, bf16: times naive", threads, sooner("bf16"), 1.8)
        if int(threads) > 1:  # it is asked for with two
            streaming = found["streaming"]
            name = f"streaming: wall time per second of speech, {streaming['precision']}, s"
            yield Row(name, threads, streaming["s_per_s"], 0.6, at_most=True)


def rows_of_a_gpu(results: Mapping[str, Any]) -> Iterator[Row]:
    """``results`` of `bench.run` on a GPU."""
    ((threads, found),) = results["threads"].items()
    ours = [text for name, text in found["text"].items() if name != "naive"]
    rate = max(text["tokens_s"]["1"] for text in ours)
    yield Row("text model, 1 row: codes/s", threads, rate, 1500.0)
    first_ms = min(speech["first_chunk_p99_ms"] for speech in results["speech"].values())
    yield Row("text to first chunk, p99 ms", threads, first_ms, 30.0, at_most=True)
    together = results["together"]
    name = f"{together['lines']} lines at once: s for a second of each"
    yield Row(name, threads, together["s_per_s"], 1.0, at_most=True)


def as_json(judged: list[Row]) -> list[dict[str, Any]]:
    return [
        {
            "name": row.name,
            "threads": int(row.threads),
            "measured": row.measured,
            "at_most" if row.at_most else "at_least": row.limit,
            "reached": row.reached,
        }
        for row in judged
    ]
