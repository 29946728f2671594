"""A plugin-based zoo of generative models.

The public interface is the names in ``__init__.pyi`` and the modules ``testing`` and ``kernels``; everything
else may change. A name is imported when it is first used, so that ``import zoo_core`` is fast.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
