"""One request in, one typed answer or error out: transport, endpoints, codec, authentication."""
