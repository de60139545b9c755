"""The towers of open_clip: encoders, their text tokens, and the models behind them."""
