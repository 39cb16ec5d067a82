//! ONNX graphs as values: build, compose, verify, print, save.
