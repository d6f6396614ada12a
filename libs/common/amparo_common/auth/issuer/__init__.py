"""The built-in issuer: OpenID Connect for one machine, with real keys and tokens shaped as Keycloak shapes them."""
