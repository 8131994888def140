"""Performance RNN: an LSTM that plays polyphonic piano with expressive timing and dynamics."""

__version__ = "0.1.0"
