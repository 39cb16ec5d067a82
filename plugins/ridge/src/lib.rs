//! The ridge aligner plugin.
