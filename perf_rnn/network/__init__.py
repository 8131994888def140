"""The Keras network: its layers, its weights from and to bundles, and its export."""
