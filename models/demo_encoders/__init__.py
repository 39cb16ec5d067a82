"""The demo's two encoders: how they are trained and written down. Started by ../make_demo_encoders.py."""
