"""3 x 3 convolutions on CPUs with a quarter of the products, by Winograd's F(4 x 4, 3 x 3).

Lavin & Gray 2016 (arXiv 1509.09308). XLA has no such kernel. A kernel built from XLA's operations
is no faster, because the transformed tiles go through memory. Results differ from XLA's in the
sixth digit. `applies` decides for each convolution whether these kernels are used, and
SDE_CT_WINOGRAD=0 in the environment turns them off. Only `models/layers.py` and `models/flops.py`
import this folder.
"""

from sde_ct.models.winograd.compilation import ready
from sde_ct.models.winograd.conv import applies, convolve, direct

__all__ = ["applies", "convolve", "direct", "ready"]
