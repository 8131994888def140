"""Notes as arrays: what they hold, reading MIDI files into them, and transforming them."""
