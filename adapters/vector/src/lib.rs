//! The vector adapter: precomputed embeddings as an encoder.
