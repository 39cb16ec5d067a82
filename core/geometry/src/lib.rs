//! Measures of two point clouds and of the retrieval between them.
