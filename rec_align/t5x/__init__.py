"""The T5X adaptor: our network and decoders as a T5X model. Importing its modules needs T5X."""
