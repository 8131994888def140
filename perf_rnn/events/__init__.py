"""Events: the encodings of notes as event indices, and control signals."""
