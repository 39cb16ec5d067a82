//! The cca aligner plugin.
