"""Messages of a broker in, the same durable effects out that HTTP has, each message's once."""
