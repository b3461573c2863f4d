"""Learning from another policy: recorded demonstrations, behavioural cloning through time, DAgger."""
