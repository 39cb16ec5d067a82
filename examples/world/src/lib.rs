//! The demo's procedural world: scenes of coloured shapes, and captions of them.
