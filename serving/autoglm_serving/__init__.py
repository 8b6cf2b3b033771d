"""The model server: ONNX Runtime behind HTTP, without torch."""
