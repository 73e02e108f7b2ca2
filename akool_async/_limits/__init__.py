"""What a session may do: operations running at AKOOL, requests a second, POSTs under way, credits, waits."""
