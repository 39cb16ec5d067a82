//! The procrustes aligner plugin.
