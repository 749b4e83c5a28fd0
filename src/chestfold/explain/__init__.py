"""Where a trained network looks: heat maps, their measures and checks, and images of them."""
