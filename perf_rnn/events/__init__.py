"""Events: representations of notes as class indices, their rules, and control signals."""
