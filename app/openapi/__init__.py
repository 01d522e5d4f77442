"""The description at /openapi.json: what the routes say of themselves, and the shapes of their answers."""
