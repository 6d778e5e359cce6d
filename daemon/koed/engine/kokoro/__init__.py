"""The natural voice: Kokoro-82M on a processor, through onnxruntime."""
