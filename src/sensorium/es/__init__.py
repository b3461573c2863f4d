"""Evolution strategies and the stage that runs them."""
