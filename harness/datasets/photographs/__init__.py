"""What every layout of photographs shares: image files, their pixels, and a dataset whose splits list them."""
