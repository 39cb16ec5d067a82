//! ONNX Runtime: engine discovery, sessions, devices, batching.
