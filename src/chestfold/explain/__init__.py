"""Where a trained network looks: heat maps, their measures, and the pictures of both."""
