"""Carbon statements: signed accounts of the change of soil carbon, with all that a verifier needs to check them."""
