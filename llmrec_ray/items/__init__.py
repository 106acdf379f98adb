"""Live items: changes in by HTTP and by streams, made durable in the item log; rows of them out."""
