"""The event log: a port in Kafka's terms and its adapters."""
