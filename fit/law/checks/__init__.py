"""What a fit is checked by: the largest scales, held out, and other laws on the same rows."""
