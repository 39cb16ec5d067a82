//! Finds, verifies, loads and isolates Chiasm plugins.
