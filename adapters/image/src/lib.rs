//! The image adapter: decode, resize, normalise.
