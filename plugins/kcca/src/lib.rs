//! The kcca aligner plugin.
