"""The neural voice. The only package of koed that imports torch and transformers."""

from koed.engine.base import EngineSpec

ENGINE = EngineSpec(
    "koed.engine.gpt_sovits.engine:GptSovitsEngine",
    neural=True,
    prepares_beside=True,
    # cuda:N is what nvidia-smi calls N.
    # torch's threads would wait for each other busily, and take the processor from the one that
    # they wait for: with other work on the machine that made them three to ten times slower.
    environment={"OMP_WAIT_POLICY": "PASSIVE", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
    install="pip install 'koed[gpt-sovits]'",
)
