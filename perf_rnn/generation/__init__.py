"""Generation: a trained network, sampled event by event, and the notes it plays."""
