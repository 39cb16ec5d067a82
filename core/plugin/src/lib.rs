//! What a Chiasm plugin author imports: safe traits, tensors, services, export_plugin!.
