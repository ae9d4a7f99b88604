"""Builds the fused engine's kernel when the package is installed, where there is a C++ compiler.

UNROLLED_NO_KERNEL=1 leaves it out. UNROLLED_REQUIRE_KERNEL=1 makes a failure end the build, for wheels.
The library has a plain C interface, so a wheel with it fits every Python 3 of one platform.
"""

import contextlib
import importlib.util
import os
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_BUILD = "worker/engines/fused/build.py"


class CustomBuildHook(BuildHookInterface[Any]):
    """Compiles into worker/engines/fused/, for wheels and editable installs alike."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the library and name it in `build_data`; a line says where it can't be built."""
        del version
        if self.target_name == "sdist":  # it has the sources; the wheel that is made of it gets the library
            return
        build = _load(Path(self.root) / _BUILD)
        reason: Path = build.REASON
        if os.environ.get("UNROLLED_NO_KERNEL") == "1":
            self._skip("UNROLLED_NO_KERNEL was set; unset it, and install unrolled again", reason, build_data)
            return
        try:
            self.app.display_info("the fused engine's kernel is compiled, for one to two minutes, if it has changed")
            build.build_kernel()
        except build.CannotBuildError as error:
            if os.environ.get("UNROLLED_REQUIRE_KERNEL") == "1":
                raise
            self._skip(str(error), reason, build_data)
            return
        with contextlib.suppress(OSError):
            reason.unlink(missing_ok=True)
        build_data["artifacts"].append(str(build.LIBRARY.relative_to(self.root)))
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"

    def _skip(self, reason: str, file: Path, build_data: dict[str, Any]) -> None:
        """Go on without the library; pip shows no line of this, so a file keeps the reason for those who miss it."""
        self.app.display_warning(f"fused engine not built: {reason}; the tensorflow engine serves instead")
        with contextlib.suppress(OSError):  # where the tree can't be written, only the reason is left out
            file.write_text(f"{reason}\n", encoding="utf-8")
            build_data["artifacts"].append(str(file.relative_to(self.root)))


def _load(path: Path) -> Any:
    """A module from its file: the package itself can't be imported before its dependencies are installed."""
    spec = importlib.util.spec_from_file_location("unrolled_kernel_build", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} can't be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
