//! Recipe to plan to run: the whole way from two encoders to one merged graph.
