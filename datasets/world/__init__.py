"""The built-in world: pictures drawn by rule, so that everything runs with nothing downloaded."""
