"""How each upstream speaks: pure encoders and decoders over one thin transport."""
