"""Image backbone `patches`: pixels to one fragment per patch."""
