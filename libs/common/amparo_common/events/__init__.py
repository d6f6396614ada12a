"""Events: types, the registry that encodes and decodes them, their CloudEvents envelope."""
