//! The mean-vector aligner plugin.
