"""Builds the fused engine's kernel when the package is installed, where there is a C++ compiler.

UNROLLED_NO_KERNEL=1 leaves it out. UNROLLED_REQUIRE_KERNEL=1 makes a failure end the build, for wheels.
The library has a plain C interface, so a wheel with it fits every Python 3 of one platform.
"""

import contextlib
import importlib.util
import os
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_BUILD = "worker/engines/fused/build.py"
_MADE = "unrolled-kernel-"


class CustomBuildHook(BuildHookInterface[Any]):
    """Compiles into worker/engines/fused/, for wheels and editable installs alike."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the library and name it in `build_data`; a line says where it can't be built."""
        if self.target_name == "sdist":  # it has the sources; the wheel that is made of it gets the library
            return
        build = _load(Path(self.root) / _BUILD)
        reason: Path = build.REASON
        if os.environ.get("UNROLLED_NO_KERNEL") == "1":
            why = "UNROLLED_NO_KERNEL was set; unset it, and install unrolled again"
            self._skip(why, version, reason, build_data)
            return
        try:
            self.app.display_info("the fused engine's kernel is compiled, for one to two minutes, if it has changed")
            build.build_kernel()
        except build.CannotBuildError as error:
            if os.environ.get("UNROLLED_REQUIRE_KERNEL") == "1":
                raise
            self._skip(str(error), version, reason, build_data)
            return
        with contextlib.suppress(OSError):
            reason.unlink(missing_ok=True)
        build_data["artifacts"].append(str(build.LIBRARY.relative_to(self.root)))
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Delete the file that was written for a wheel."""
        del version, artifact_path
        for source in build_data.get("force_include", {}):
            if Path(source).name.startswith(_MADE):
                Path(source).unlink(missing_ok=True)

    def _skip(self, reason: str, version: str, file: Path, build_data: dict[str, Any]) -> None:
        """Go on without the library; pip shows no line of this, so a file keeps the reason for those who miss it.

        It is in the tree for editable installs alone: a wheel is for another environment, with a reason of its own.
        """
        self.app.display_warning(f"fused engine not built: {reason}; the tensorflow engine serves instead")
        name = str(file.relative_to(self.root))
        with contextlib.suppress(OSError):  # where nothing can be written, only the reason is left out
            if version == "editable":
                file.write_text(f"{reason}\n", encoding="utf-8")
                build_data["artifacts"].append(name)
                return
            with tempfile.NamedTemporaryFile("w", prefix=_MADE, delete=False, encoding="utf-8") as made:
                made.write(f"{reason}\n")
            build_data["force_include"][made.name] = name


def _load(path: Path) -> Any:
    """A module from its file: the package itself can't be imported before its dependencies are installed."""
    spec = importlib.util.spec_from_file_location("unrolled_kernel_build", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} can't be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
