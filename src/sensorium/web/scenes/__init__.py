"""Scenes of the playground: one module each. A scene is a list of controls, a list of panels, and the values of the panels in every frame."""
