"""What torch and NVIDIA's libraries say, word by word, and what koed makes of it."""

from __future__ import annotations

import pytest
import torch

from koed.engine.gpt_sovits import failures

OOM, UNSUPPORTED, LOST = "oom", "gpu_unsupported", "device_lost"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("CUDA out of memory. Tried to allocate 20.00 MiB", OOM),
        ("CUDA error: out of memory", OOM),
        ("CUDA driver error: CUDA_ERROR_OUT_OF_MEMORY", OOM),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", OOM),
        ("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`", OOM),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", OOM),
        ("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED", OOM),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED", OOM),
        ("cuFFT error: CUFFT_ALLOC_FAILED", OOM),
        ("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED", OOM),
        ("CUDA error: CURAND_STATUS_ALLOCATION_FAILED", OOM),
        ("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory", OOM),
        ("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if", UNSUPPORTED),
        ("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasGemmEx`", UNSUPPORTED),
        ("CUDA error: CUBLAS_STATUS_ARCH_MISMATCH when calling", UNSUPPORTED),
        ("cuDNN error: CUDNN_STATUS_ARCH_MISMATCH", UNSUPPORTED),
        ("cuDNN error: CUDNN_STATUS_BAD_PARAM_STREAM_MISMATCH", UNSUPPORTED),
        ("cuDNN error: CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH", UNSUPPORTED),
        ("CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling `cublasSgemm`", UNSUPPORTED),
        ("CUDA error: no kernel image is available for execution on the device", UNSUPPORTED),
        ("Unable to find an engine to execute this computation", UNSUPPORTED),
        ("GET was unable to find an engine to execute this computation", UNSUPPORTED),
        ("CUDA error: an illegal memory access was encountered", LOST),
        ("CUDA error: device-side assert triggered", LOST),
        ("CUDA error: unspecified launch failure", LOST),
        ("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`", LOST),
        ("CUDA error: CUBLAS_STATUS_INTERNAL_ERROR when calling `cublasSgemm`", LOST),
        ("CUDA error: CUBLAS_STATUS_MAPPING_ERROR", LOST),
        ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", LOST),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR", LOST),
        ("cuDNN error: CUDNN_STATUS_MAPPING_ERROR", LOST),
        ("cuFFT error: CUFFT_EXEC_FAILED", LOST),
        ("cuFFT error: CUFFT_INTERNAL_ERROR", LOST),
        ("cusolver error: CUSOLVER_STATUS_EXECUTION_FAILED", LOST),
        ("HIP error: an illegal memory access was encountered", LOST),
        ("The size of tensor a (3) must match the size of tensor b (4)", None),
        ("could not create a primitive", None),
        ("a CUDA tensor was expected", None),
    ],
)
def test_every_library_is_understood(words: str, code: str | None) -> None:
    found = failures.told(RuntimeError(words))
    assert (found and found.code) == code
    if found is not None:
        assert words[:100] in found.message


def test_what_is_no_error_of_a_library() -> None:
    found = failures.told(MemoryError())
    assert found is not None
    assert found.code == OOM
    assert failures.told(ValueError("CUDA error: no")) is None
    assert not failures.is_full(ValueError("out of memory"))


def test_an_accelerator_that_fails_without_known_words(monkeypatch: pytest.MonkeyPatch) -> None:
    class Accelerator(RuntimeError):
        """As of torch 2.8."""

    monkeypatch.setattr(torch, "AcceleratorError", Accelerator, raising=False)
    found = failures.told(Accelerator("it is gone"))
    assert found is not None
    assert found.code == LOST
    monkeypatch.delattr(torch, "AcceleratorError")  # 2.6 and 2.7 have none
    assert failures.told(RuntimeError("it is gone")) is None
