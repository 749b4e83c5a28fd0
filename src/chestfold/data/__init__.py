"""From files on disk to an index of images and a cache of pixels."""
