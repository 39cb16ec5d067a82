//! Closed-form maps between two paired point clouds, and their ONNX graphs.
