"""A service's own database: the port, its adapters, the tables that every service has."""
