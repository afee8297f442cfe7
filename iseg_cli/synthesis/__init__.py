"""`iseg synthesize`: datasets of drawn images with masks from the attention that drew them."""
