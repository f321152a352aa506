"""What a model may call that the gateway runs itself."""
