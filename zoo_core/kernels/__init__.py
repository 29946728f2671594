"""Fast implementations that several plugins share; the only modules that call torch's private operators."""
